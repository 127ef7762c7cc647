"""The page of a corpus: its data card, drawn."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roots.corpus.card import data_card
from roots.evaluation.canvas import undrawn
from roots.evaluation.corpus_figures import (
    counts_figure,
    document_lengths_figure,
    reasons_figure,
    stages_figure,
)
from roots.evaluation.page import Page
from roots.runs import redact_values

PAGE = "report.html"
_HEAD = ("documents", "tokens", "bytes", "bytes_per_token")
_COUNTS = {
    "languages": ("Languages", "language", "documents that stayed, by language"),
    "licences": ("Licences", "licence", "documents, by the licence that their metadata name"),
    "domains": ("Domains", "domain", "documents, by where their metadata say they were found"),
    "personal": ("Personal data", "kind", "places that were replaced by a placeholder"),
    "rejected": ("Rejected records", "cause", "records that could not become documents"),
}


def report_corpus(folder: str | Path) -> Path:
    """Writes report.html into a folder of shards; gives the page.

    Raises:
        DataError: It is no such folder, or is damaged.
    """
    card = redact_values(data_card(folder))
    name = Path(folder).absolute().name
    page = Page(name, summary(card))
    _splits(page, card)
    _stages(page, card)
    for key, (title, head, words) in _COUNTS.items():
        _counts(page, card[key], title, head, words)
    _duplicates(page, card)
    _texts(page, card)
    _again(page, card, folder)
    return page.save(Path(folder) / PAGE)


def summary(card: Mapping[str, Any]) -> str:
    """Words a corpus in one line: how much, of how much, in which tokens."""
    tokens = sum(split["tokens"] for split in card["splits"].values())
    n_bytes = sum(split["bytes"] for split in card["splits"].values())
    parts = [
        f"{card['documents_kept']:,} of {card['documents_read']:,} documents kept",
        f"{tokens:,} tokens of a vocabulary of {card['vocab_size']:,}",
    ]
    if tokens:
        parts.append(f"{n_bytes / tokens:.2f} bytes per token")
    return " · ".join(parts)


def _splits(page: Page, card: Mapping[str, Any]) -> None:
    page.heading("Splits")
    rows = [[name, *(split[key] for key in _HEAD)] for name, split in card["splits"].items()]
    page.table(["split", *_words(_HEAD)], rows)
    if card["lengths"]["counts"]:
        page.figure(document_lengths_figure(card["lengths"]), "Lengths of the documents")
    if not card["sources"]:
        return
    page.heading("Sources")
    head = ("documents_read", *_HEAD)
    page.table(
        ["source", *_words(head)],
        [[name, *(counts[key] for key in head)] for name, counts in card["sources"].items()],
    )
    told = {k: v["bytes_per_token"] for k, v in card["sources"].items() if v["bytes_per_token"]}
    if len(told) > 1:
        caption = "Fertility of the tokenizer: the more bytes a token has, the better it fits"
        page.figure(counts_figure(told, "bytes per token"), f"{caption}{undrawn(list(told))}")


def _stages(page: Page, card: Mapping[str, Any]) -> None:
    """Adds the books: what came into each part is what went on, and all that was dropped."""
    parts = card["parts"]
    if not parts:
        return
    page.heading("Stages")
    page.figure(stages_figure(parts), "What came into each stage, and what became of it")
    page.table(
        ["stage", "documents in", "kept", "edited", "dropped", "characters in", "kept"],
        [
            [
                part["name"],
                part["documents_in"],
                part["documents_kept"],
                part["documents_edited"],
                sum(part["dropped"].values()),
                part["characters_in"],
                part["characters_kept"],
            ]
            for part in parts
        ],
    )
    reasons = [[p["name"], why, n] for p in parts for why, n in p["dropped"].items()]
    if reasons:
        page.figure(reasons_figure(parts), "Why documents were dropped")
        page.table(["stage", "reason", "documents"], reasons)


def _counts(page: Page, counts: Mapping[str, int], title: str, head: str, words: str) -> None:
    if not counts:
        return
    page.heading(title)
    page.figure(counts_figure(counts, words), f"{title}: {words}{undrawn(list(counts))}")
    if len(counts) > 1:
        page.table([head, words], list(counts.items()))


def _duplicates(page: Page, card: Mapping[str, Any]) -> None:
    if card["clusters"]:
        page.heading("Duplicates")
    for found in card["clusters"]:
        page.text(
            f"{found['file']}: {found['documents_dropped']:,} documents fell for one of"
            f" {found['clusters']:,} that stayed. The largest clusters:"
        )
        rows = [[each["dropped"], each["kept"]] for each in found["largest"]]
        page.table(["dropped", "for the document"], rows)
    if card["contamination"]:
        page.heading("Contamination")
        rows = [
            [name, *(counts.get(key, 0) for key in _FOUND)]
            for name, counts in card["contamination"].items()
            if isinstance(counts, Mapping)
        ]
        page.table(["evaluation set", *_words(_FOUND)], rows)


_FOUND = ("items", "items_too_short", "items_found", "documents_dropped")


def _texts(page: Page, card: Mapping[str, Any]) -> None:
    if card["drops"]:
        page.heading("Examples of drops")
        names = ("part", "reason", "detail", "id", "text")
        rows = [[str(drop.get(name, "")) for name in names] for drop in card["drops"]]
        page.table(["stage", "reason", "found", "document", "begins"], rows)
    if card["samples"]:
        page.heading("Sample documents")
        page.text("Drawn by chance from those that were written; each is shown as it begins.")
        for sample in card["samples"]:
            page.verbatim(str(sample.get("text", "")), str(sample.get("id", "")))


def _again(page: Page, card: Mapping[str, Any], folder: str | Path) -> None:
    page.heading("Recipe")
    recipe = json.dumps(card["recipe"], indent=2, ensure_ascii=False)
    page.verbatim(recipe, "the settings that made the folder")
    page.verbatim(
        f"# fingerprint {card['fingerprint']}\n# written by roots {card['roots_version']}\n"
        f"roots corpus report {shlex.quote(str(folder))}"
    )


def _words(names: tuple[str, ...]) -> list[str]:
    return [name.replace("_", " ") for name in names]
