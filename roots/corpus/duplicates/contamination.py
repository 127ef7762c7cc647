"""Contamination: documents that hold items of evaluation sets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any, Literal, TextIO

from roots.corpus.duplicates.blocks import Block, Reading, mapped, noted
from roots.corpus.duplicates.evaluation_sets import EvaluationSets, Hit, indexed, loaded
from roots.corpus.noted_pass import NotedPass, PassNotes
from roots.corpus.splitters import splitter_named
from roots.corpus.stage import OrderedMap
from roots.errors import ConfigError, DataError
from roots.records import KEEP, Document, Drop, Verdict
from roots.shards.writer import sha256_of
from roots.sources import Source

Share = Literal["item", "document", "either", "both"]

_SHARES = ("item", "document", "either", "both")


class Contamination(NotedPass):
    """Drops the documents that hold items of evaluation sets, or are parts of them.

    What counts is how much is covered: the share of the distinct n-grams of an item that stand in
    the document, and the share of the document's that stand in the item. A single n-gram in
    common, which is what GPT-3's filter asked for, also flags licence headers and quotations.

    An item of fewer than `n` words is looked for as a whole, word for word; one of fewer than
    `min_words` is not looked for, and the report says how many those are.

    `contamination.jsonl` has a line per dropped document and item; `contamination.json` counts per
    evaluation set its items, those too short, those found, and the documents that were dropped.

    Memory: 24 bytes per n-gram of the evaluation items, in each process.

    Args:
        evaluations: The items of each evaluation set, by its name; an item is a document of the
            source. Questions and answers in fields of their own are two sets.
        n: Words in an n-gram.
        coverage: The share that makes a document contaminated, above 0 to 1.
        covered: Of what: the `item`, the `document`, `either` or `both`.
        min_words: Words of the shortest item to look for, 1 to `n`.
        words: What is a word: `whitespace`, `unicode`, `lowercase` or package.function of yours.

    Raises:
        ConfigError: A setting is out of its range, or there is no evaluation set.

    Source:
        Brown et al. (GPT-3), arXiv:2005.14165, appendix C: 8 to 13 words, without case and
        punctuation; any n-gram in common. Chowdhery et al. (PaLM), arXiv:2204.02311, section 8:
        70 % of an item's 8-grams in the whole training set. Soldaini et al. (Dolma),
        arXiv:2402.00159: any paragraph of 13 tokens or more in common. Lambert et al. (Tülu 3),
        arXiv:2411.15124: 50 % of an item's tokens in 8-grams in common with one document. Ours:
        half of the 13-grams, in one document.
    """

    findings = ("contamination.jsonl", "contamination.json")

    def __init__(
        self,
        *,
        evaluations: dict[str, Source],
        n: int = 13,
        coverage: float = 0.5,
        covered: Share = "either",
        min_words: int = 8,
        words: str = "lowercase",
    ) -> None:
        _check(evaluations, n, coverage, covered, min_words)
        splitter_named(words)
        self.evaluations = evaluations
        self.n = n
        self.coverage = coverage
        self.covered = covered
        self.min_words = min_words
        self.words = words

    def files(self) -> list[Path]:
        """Lists the files of the evaluation sets."""
        return [path for source in self.evaluations.values() for path in source.files()]

    def decide_noted(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        notes: PassNotes,
        ordered_map: OrderedMap,
    ) -> Iterator[Verdict]:
        """Streams one verdict per document, reading them once; the reason is `contaminated`."""
        items = self._items()
        path = _saved(items, notes.folder)
        books = _Books(items)
        hits_of = partial(_hits, path, self.words, self.coverage, self.covered)
        lines, summary = (scratch / name for name in self.findings)
        with (
            notes.parts("decisions", ["decisions"], given=path.name) as parts,
            lines.open("w", encoding="utf-8", errors="surrogatepass") as found,
        ):
            notes.tell(parts)
            make = partial(mapped, texts_of=Block.texts, function=hits_of, ordered_map=ordered_map)
            for block, lists in noted(parts, Reading(documents).blocks(), make):
                for document, hits in zip(block.documents, lists, strict=True):
                    yield _decided(document, [Hit(*hit) for hit in hits], books, found)
        report = json.dumps(books.report(), indent=2, ensure_ascii=False)
        summary.write_text(report + "\n", encoding="utf-8")

    def _items(self) -> EvaluationSets:
        items = indexed(
            {name: source.documents() for name, source in self.evaluations.items()},
            n=self.n,
            min_words=self.min_words,
            words=self.words,
        )
        for name in self.evaluations:
            lengths = items.lengths[[each == name for each in items.names]]
            if not lengths.any():
                raise DataError(
                    f"The evaluation set '{name}' has {len(lengths):,} items, none of which has"
                    f" min_words={self.min_words} words, so nothing would be looked for. Correct"
                    " its source or text_field, lower min_words, or take it off evaluations."
                )
        return items


class _Books:
    """What was found, by evaluation set."""

    def __init__(self, items: EvaluationSets) -> None:
        self.items = items
        self._documents: Counter[str] = Counter()
        self._found: set[int] = set()

    def enter(self, hits: list[Hit]) -> None:
        """Counts a dropped document once for each set that it holds items of."""
        self._documents.update({self.items.names[hit.item] for hit in hits})
        self._found.update(hit.item for hit in hits)

    def line(self, document: Document, hit: Hit) -> dict[str, Any]:
        """Describes what a document holds of an item."""
        return {
            "document": document.id,
            "evaluation": self.items.names[hit.item],
            "item": self.items.ids[hit.item],
            "of_item": round(hit.of_item, 4),
            "of_document": round(hit.of_document, 4),
        }

    def report(self) -> dict[str, dict[str, int]]:
        """Counts per evaluation set."""
        names = self.items.names
        lengths = self.items.lengths.tolist()
        n_items = Counter(names)
        too_short = Counter(names[i] for i, length in enumerate(lengths) if length == 0)
        found = Counter(names[item] for item in self._found)
        return {
            name: {
                "items": n_items[name],
                "items_too_short": too_short[name],
                "items_found": found[name],
                "documents_dropped": self._documents[name],
            }
            for name in n_items
        }


def _decided(document: Document, hits: list[Hit], books: _Books, found: TextIO) -> Verdict:
    if not hits:
        return KEEP
    books.enter(hits)
    lines = [books.line(document, hit) for hit in hits]
    for line in lines:
        found.write(json.dumps(line, ensure_ascii=False) + "\n")
    worst = max(lines, key=lambda line: max(line["of_item"], line["of_document"]))
    return Drop(
        "contaminated",
        f"{worst['of_item']:.0%} of {worst['evaluation']}: {worst['item']},"
        f" {worst['of_document']:.0%} of the document",
    )


def _saved(items: EvaluationSets, folder: Path) -> Path:
    """Writes the items to a file that is named for what it holds: a process reads a name once."""
    path = folder / "items.npz"
    items.save(path)
    return path.replace(path.with_stem(f"items-{sha256_of(path)[:32]}"))


def _hits(
    path: Path, words: str, coverage: float, covered: Share, texts: list[str]
) -> list[list[tuple[int, float, float]]]:
    """Lists which items contaminate each text, as plain values."""
    items, split = loaded(path), splitter_named(words)
    return [
        [astuple(hit) for hit in items.hits(split(text)) if _share(hit, covered) >= coverage]
        for text in texts
    ]


def _share(hit: Hit, covered: Share) -> float:
    if covered == "item":
        return hit.of_item
    if covered == "document":
        return hit.of_document
    shares = hit.of_item, hit.of_document
    return max(shares) if covered == "either" else min(shares)


def _check(
    evaluations: Mapping[str, Source], n: int, coverage: float, covered: str, min_words: int
) -> None:
    if not evaluations:
        raise ConfigError(
            "evaluations is empty, so there is nothing to look for. Name at least one set, or"
            " leave this pass out."
        )
    if not 1 <= min_words <= n:
        raise ConfigError(
            f"min_words={min_words} must lie between 1 and n={n}: what is longer than n is looked"
            " for by its n-grams. Set it to 8."
        )
    if not 0 < coverage <= 1:
        raise ConfigError(f"coverage={coverage} must be above 0 and at most 1. Set it to 0.5.")
    if covered not in _SHARES:
        raise ConfigError(f"covered='{covered}' is none of {', '.join(_SHARES)}. Take one.")
