"""The n-grams of the evaluation items, and whom they belong to.

A file of arrays, so that each worker process reads it once and nothing large is sent around.

Letters:
    G distinct n-grams of all items    I items    P pairs of an n-gram and an item that holds it
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.shingles import Hashes, distinct, hashes_of, n_grams
from roots.corpus.splitters import splitter_named
from roots.corpus.survey import readable
from roots.records import Document

_FILTER_BITS = 22


@dataclass(frozen=True, slots=True)
class Hit:
    """An item of which a document holds something.

    Args:
        item: Number of the item.
        of_item: Share of the item's distinct n-grams that the document holds, 0 to 1.
        of_document: Share of the document's distinct n-grams that the item holds, 0 to 1.
    """

    item: int
    of_item: float
    of_document: float


class EvaluationSets:
    """Finds the items that a document holds.

    Args:
        names: Name of the evaluation set of each item, [I].
        ids: Id of each item, [I].
        lengths: Words in the n-grams of each item; 0 when it is too short to be looked for, [I].
        counts: Distinct n-grams of each item, [I].
        grams: Hashes of the n-grams, sorted, [G].
        ends: Where the owners of each n-gram end, [G].
        owners: Items that hold it, n-gram by n-gram, [P].
    """

    def __init__(
        self,
        *,
        names: list[str],
        ids: list[str],
        lengths: NDArray[np.int64],
        counts: NDArray[np.int64],
        grams: Hashes,
        ends: NDArray[np.int64],
        owners: NDArray[np.int64],
    ) -> None:
        self.names, self.ids = names, ids
        self.lengths, self.counts = lengths, counts
        self._grams, self._ends, self._owners = grams, ends, owners
        self._used = [int(n) for n in np.unique(lengths) if n > 0]
        self._seen = np.zeros(2**_FILTER_BITS, bool)
        self._seen[_slot(grams)] = True

    def hits(self, words: list[str]) -> list[Hit]:
        """Lists the items of which these words hold an n-gram, in order."""
        hashes = hashes_of(words)
        found = [hit for n in self._used for hit in self._hits(hashes, n)]
        return sorted(found, key=lambda hit: hit.item)

    def _hits(self, words: Hashes, n: int) -> list[Hit]:
        grams = n_grams(words, n, seed=n)
        possible = distinct(grams[self._seen[_slot(grams)]])
        places = np.minimum(np.searchsorted(self._grams, possible), len(self._grams) - 1)
        places = places[self._grams[places] == possible]
        if not len(places):
            return []
        n_document = len(distinct(grams))
        owners = np.concatenate([self._owned(place) for place in places.tolist()])
        items, hits = np.unique(owners, return_counts=True)
        return [
            Hit(item, hit / int(self.counts[item]), hit / n_document)
            for item, hit in zip(items.tolist(), hits.tolist(), strict=True)
        ]

    def _owned(self, place: int) -> NDArray[np.int64]:
        start = int(self._ends[place - 1]) if place else 0
        return self._owners[start : int(self._ends[place])]

    def save(self, path: Path) -> None:
        """Writes everything to a `.npz` file."""
        texts = json.dumps([self.names, self.ids]).encode()
        np.savez(
            path,
            texts=np.frombuffer(texts, np.uint8),
            lengths=self.lengths,
            counts=self.counts,
            grams=self._grams,
            ends=self._ends,
            owners=self._owners,
        )

    @classmethod
    def load(cls, path: Path) -> EvaluationSets:
        """Reads what `save` wrote."""
        with np.load(path) as file:
            arrays = dict(file)
        names, ids = json.loads(arrays.pop("texts").tobytes())
        return cls(names=names, ids=ids, **arrays)


def indexed(
    sets: Mapping[str, Iterable[Document]], *, n: int, min_words: int, words: str
) -> EvaluationSets:
    """Takes the n-grams of all items.

    An item of fewer than `n` words is one n-gram of all its words; one of fewer than `min_words`
    has none.

    Args:
        sets: The items of each evaluation set.
        n: Words in an n-gram.
        min_words: Words of the shortest item to look for.
        words: What is a word: `whitespace`, `unicode`, `lowercase` or package.function of yours.
    """
    split = splitter_named(words)
    names: list[str] = []
    ids: list[str] = []
    lengths: list[int] = []
    members: list[Hashes] = []
    for name, documents in sets.items():
        for document in documents:
            hashes = hashes_of(split(document.text))
            length = min(n, len(hashes)) if len(hashes) >= min_words else 0
            names.append(name)
            ids.append(readable(document.id))
            lengths.append(length)
            members.append(distinct(n_grams(hashes, length, length)) if length else hashes[:0])
    return _joined(names, ids, lengths, members)


def _joined(
    names: list[str], ids: list[str], lengths: list[int], members: list[Hashes]
) -> EvaluationSets:
    counts = np.array([len(each) for each in members], np.int64)
    grams = np.concatenate([np.empty(0, np.uint64), *members])
    owners = np.repeat(np.arange(len(members)), counts)
    order = np.argsort(grams, kind="stable")
    grams = grams[order]
    last = np.ones(len(grams), bool)
    last[:-1] = grams[1:] != grams[:-1]
    return EvaluationSets(
        names=names,
        ids=ids,
        lengths=np.array(lengths, np.int64),
        counts=counts,
        grams=grams[last],
        ends=np.flatnonzero(last) + 1,
        owners=owners[order],
    )


@lru_cache(maxsize=2)
def loaded(path: Path) -> EvaluationSets:
    """Reads a file once in a process."""
    return EvaluationSets.load(path)


def _slot(grams: Hashes) -> NDArray[np.int64]:
    """Where an n-gram is marked as one of some item's: what is not marked need not be looked up."""
    return (grams >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)
