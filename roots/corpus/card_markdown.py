"""The data card as README.md: how the Hugging Face Hub, and any site of git, shows a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from roots.corpus.card import data_card
from roots.corpus.tally import OTHERS
from roots.runs import redact_values

README = "README.md"
_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~$-])")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"),
          (10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"))  # fmt: skip


def write_markdown(folder: Path) -> Path:
    """Writes the card of a folder of shards beside them; gives the file."""
    path = folder / README
    text = markdown(data_card(folder))
    # the id of a document may hold half a character, or a file's name a byte that is none
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    return path


def markdown(card: Mapping[str, Any]) -> str:
    """Words a data card in Markdown, with the front matter that the Hub reads.

    Every text of a document or a file is escaped: it cannot become markup. The values of secret
    environment variables are replaced by their names before.
    """
    card = redact_values(dict(card))
    sections = [
        _front_matter(card),
        "# Data card",
        _opening(card),
        *_tables(card),
        "Written by `roots corpus`; a new build writes it anew. `manifest.json` holds the sha256 of"
        " each file and the whole recipe.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(card: Mapping[str, Any]) -> str:
    found: dict[str, Any] = {}
    for licence, n_documents in card["licences"].items():
        if n_documents == card["documents_kept"] and licence != OTHERS:  # it is that of them all
            found["license"] = licence
    if card["languages"]:
        found["language"] = list(card["languages"])
    size = next((words for most, words in _SIZES if card["documents_kept"] < most), "n>1B")
    found |= {"size_categories": [size], "task_categories": ["text-generation"]}
    return f"---\n{yaml.safe_dump(found, sort_keys=False, allow_unicode=True)}---"


def _opening(card: Mapping[str, Any]) -> str:
    tokens = sum(split["tokens"] for split in card["splits"].values())
    return (
        f"{card['documents_kept']:,} documents of {card['documents_read']:,} that were read,"
        f" {tokens:,} tokens of a vocabulary of {card['vocab_size']:,}, stored as {card['dtype']}."
        f" Fingerprint `{card['fingerprint'][:16]}`, roots {card['roots_version']}."
    )


def _tables(card: Mapping[str, Any]) -> Iterator[str]:
    yield _table("Splits", ("split", *_HEAD), [(k, *_row(v)) for k, v in card["splits"].items()])
    yield _table(
        "Sources",
        ("source", "documents read", *_HEAD),
        [(k, v["documents_read"], *_row(v)) for k, v in card["sources"].items()],
    )
    yield _table(
        "Stages",
        ("stage", "documents in", "kept", "edited", "dropped"),
        [
            (p["name"], p["documents_in"], p["documents_kept"], p["documents_edited"],
             sum(p["dropped"].values()))
            for p in card["parts"]
        ],
    )  # fmt: skip
    yield _table(
        "Dropped, by reason",
        ("stage", "reason", "documents"),
        [(p["name"], why, n) for p in card["parts"] for why, n in p["dropped"].items()],
    )
    for name, head in _COUNTS.items():
        yield _table(head[0], (head[1], head[2]), list(card[name].items()))
    yield _table(
        "Duplicates",
        ("file", "clusters", "documents dropped"),
        [(c["file"], c["clusters"], c["documents_dropped"]) for c in card["clusters"]],
    )
    yield _table(
        "Examples of drops",
        ("stage", "reason", "found", "begins"),
        [(d.get("part"), d.get("reason"), d.get("detail"), str(d.get("text"))[:200])
         for d in card["drops"]],
    )  # fmt: skip
    yield _table(
        "Sample documents",
        ("document", "begins"),
        [(s.get("id"), str(s.get("text"))[:200]) for s in card["samples"]],
    )


_HEAD = ("documents", "tokens", "bytes", "bytes per token")
_COUNTS = {
    "languages": ("Languages", "language", "documents"),
    "licences": ("Licences, as the documents' metadata name them", "licence", "documents"),
    "domains": ("Domains", "domain", "documents"),
    "personal": ("Personal data, replaced by placeholders", "kind", "places"),
    "rejected": ("Records that could not be read", "cause", "records"),
}
"""What the card counts by name: the heading, and those of the columns."""


def _row(counts: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(counts[name.replace(" ", "_")] for name in _HEAD)


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    if not lines:
        return ""
    rule = "|" + "---|" * len(head)
    return "\n".join([f"## {title}\n", f"| {' | '.join(head)} |", rule, *lines])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.2f}"
    return escaped(str(value))


def escaped(text: str) -> str:
    """Writes a text on one line so that Markdown and HTML show it as it is."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(r"\\\1", line).replace("://", ":&#47;&#47;")
