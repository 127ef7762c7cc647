"""NearDuplicates: nearly the same words again, verified by exact Jaccard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.blocks import Block, Reading, mapped, noted, write_parts
from roots.corpus.duplicates.clusters import Clusters
from roots.corpus.duplicates.groups import ALONE, ENDS, Groups, number_groups
from roots.corpus.duplicates.kept import KeptDocuments
from roots.corpus.duplicates.minhash import Banding, band_keys, minhash
from roots.corpus.duplicates.shingles import Hashes, shingles, spread
from roots.corpus.noted_pass import NotedPass, PassNotes
from roots.corpus.splitters import splitter_named
from roots.corpus.stage import OrderedMap
from roots.errors import ConfigError
from roots.records import KEEP, Document, Drop, Verdict

MAX_BANDS = 512
"""Each band has a file that is open; many systems allow 1,024 of them."""

_KEPT = -1
_Decisions = Sequence[tuple[int, float | int]]


class NearDuplicates(NotedPass):
    """Drops a document whose words are nearly those of an earlier document that is kept.

    Two documents are alike when the Jaccard similarity of their shingles (distinct runs of words)
    reaches `threshold`. Candidates are found by MinHash and bands; each is verified by the exact
    similarity, so chance never drops a document. A pair above the threshold is overlooked with the
    probability that `Banding` tells, at most 1 - `recall`.

    Documents are decided in source order, and one falls only for a kept one. So a chain A ~ B ~ C
    whose ends are unlike keeps A and C, where whole clusters (connected components) would lose C
    without anything like it being left. What is kept depends on nothing but the texts, their order
    and the settings. The clusters are written to `near_duplicates.jsonl`.

    Time: about 0.2 µs per word, twice for a document that shares a band with another; about 20 µs
    per comparison of 700 words. A document is compared with the kept ones that share a band with it
    and are of a size that allows the threshold, until one is like it. So many copies of one text
    cost a comparison each; many texts that are a little less alike than that, one per pair.

    Memory on disk: 8 bytes per document and band, for one band twice; 16 bytes per document; at
    most 12 bytes per band that a document shares, and 20 per document that shares one; 8 bytes per
    shingle of those that are kept. For 10^8 documents of 700 words in 20 bands, every fifth of
    which shares half of its bands: 17 + 2 + 2 + 112 GB, and 4 hours of one core. In working memory:
    1 GB to sort, 12 bytes per group of equal keys (10^8 of them: 1.2 GB), 40 bytes per document
    that shares a band (0.8 GB); the files are mapped, which fills memory only as far as nobody else
    needs it.

    A killed build loses the work on at most 65,536 documents, or on one band while these are
    sorted; what it goes on with is read again and compared with its sums.

    Args:
        threshold: The least Jaccard similarity of a near duplicate, above 0 to 1.
        words_per_shingle: Words in a shingle. A shorter text is one shingle.
        words: What is a word: `whitespace`, `unicode`, `lowercase` or package.function of yours.
        recall: The least probability that a pair right at the threshold is found; 0 to below 1.
        bands: Parts of a signature; more find the same pairs with fewer comparisons.
        seed: Another seed overlooks other pairs.

    Raises:
        ConfigError: A setting is out of its range, or `recall` out of reach of `bands`.

    Source:
        Broder, SEQUENCES 1997; Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, ch. 3.
    """

    findings = ("near_duplicates.jsonl",)

    def __init__(
        self,
        *,
        threshold: float = 0.8,
        words_per_shingle: int = 5,
        words: str = "lowercase",
        recall: float = 0.99,
        bands: int = 20,
        seed: int = 1,
    ) -> None:
        _check(threshold, words_per_shingle, recall, bands)
        splitter_named(words)
        self.threshold = threshold
        self.words_per_shingle = words_per_shingle
        self.words = words
        self.recall = recall
        self.bands = bands
        self.seed = seed
        self.banding = Banding.reaching(threshold=threshold, recall=recall, bands=bands)

    def decide_noted(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        notes: PassNotes,
        ordered_map: OrderedMap,
    ) -> Iterator[Verdict]:
        """Streams one verdict per document; the reason of a drop is `near_duplicate`."""
        reading = Reading(documents)
        groups = self._groups(reading, notes, ordered_map)
        with ExitStack() as stack:
            parts = stack.enter_context(notes.parts("decisions", ["decisions", "shingles"]))
            notes.tell(parts)
            kept = KeptDocuments(
                groups=groups,
                shingles=parts.files[1],
                folder=notes.folder,
                threshold=self.threshold,
            )
            stack.enter_context(closing(kept))
            clusters = stack.enter_context(closing(Clusters(notes.folder / "ids")))
            shingles_of = partial(_shingles, self.words, self.words_per_shingle, self.seed)
            deciding = _Deciding(groups, kept, shingles_of, ordered_map)
            for block, decisions in noted(parts, reading.blocks(), deciding.make, deciding.again):
                yield from _verdicts(block, groups, decisions, clusters)
            clusters.write(scratch / self.findings[0], similarities=True)

    def _groups(self, reading: Reading, notes: PassNotes, ordered_map: OrderedMap) -> Groups:
        """Finds which documents share bands, as far as that is not there."""
        paths = [notes.folder / f"keys-{band:02d}" for band in range(self.bands)]
        with notes.parts("groups", [ENDS]) as parts:
            if parts.n:
                notes.tell_of("groups", parts.n, self.bands, "bands")
            if parts.n < self.bands:
                self._write_keys(reading, notes, parts.n, paths, ordered_map)
            return number_groups(paths, parts)

    def _write_keys(
        self,
        reading: Reading,
        notes: PassNotes,
        first: int,
        paths: list[Path],
        ordered_map: OrderedMap,
    ) -> None:
        """Writes the keys of all documents, a file per band from the `first` on."""
        keys_of = partial(_keys, self.words, self.words_per_shingle, self.seed, self.banding)
        with notes.parts("signatures", [path.name for path in paths[first:]]) as parts:
            notes.tell(parts)
            if notes.is_complete(parts):
                return

            def write(block: Block, found: tuple[Hashes, NDArray[np.bool_]]) -> None:
                bands = _alone_when_empty(found, block.first).T[first:]
                for file, band in zip(parts.files, bands, strict=True):
                    file.write(band.tobytes())

            write_parts(parts, reading.blocks(), keys_of, write, ordered_map)


@dataclass(frozen=True)
class _Deciding:
    """Decides about the documents that share a band with another, block by block.

    What is decided about one is the number of a kept document and their similarity, or `_KEPT` and
    the number of its shingles.
    """

    groups: Groups
    kept: KeptDocuments
    shingles_of: Callable[[list[str]], list[Hashes]]
    ordered_map: OrderedMap

    def make(self, blocks: Iterator[Block]) -> Iterator[tuple[Block, _Decisions]]:
        """Decides about blocks."""
        with_groups = ((block, self.groups.of(block.first, block.end)) for block in blocks)
        for (block, groups), sets in mapped(
            with_groups, _sharing_texts, self.shingles_of, self.ordered_map
        ):
            pairs = zip(_sharing(groups), sets, strict=True)
            yield block, [self._decide(block.first + i, groups[i], members) for i, members in pairs]

    def _decide(
        self, number: int, groups: NDArray[np.int64], members: Hashes
    ) -> tuple[int, float | int]:
        match = self.kept.match(groups, members)
        if match is not None:
            return match
        self.kept.keep(number, groups, members)
        return _KEPT, len(members)

    def again(self, block: Block, decisions: _Decisions) -> None:
        """Enters what was kept of a block before."""
        groups = self.groups.of(block.first, block.end)
        for i, (match, n_shingles) in zip(_sharing(groups), decisions, strict=True):
            if match == _KEPT:
                self.kept.keep_again(block.first + i, groups[i], int(n_shingles))


def _sharing(groups: NDArray[np.int64]) -> list[int]:
    """Lists which documents of a block share a band with another."""
    found: list[int] = np.flatnonzero((groups != ALONE).any(axis=1)).tolist()
    return found


def _sharing_texts(item: tuple[Block, NDArray[np.int64]]) -> list[str]:
    block, groups = item
    return [block.documents[i].text for i in _sharing(groups)]


def _verdicts(
    block: Block, groups: Groups, decisions: _Decisions, clusters: Clusters
) -> Iterator[Verdict]:
    sharing = _sharing(groups.of(block.first, block.end))
    decided = dict(zip(sharing, decisions, strict=True))
    for i, document in enumerate(block.documents):
        if i not in decided:
            yield KEEP
            continue
        number, (match, similarity) = block.first + i, decided[i]
        clusters.remember(number, document.id)
        if match == _KEPT:
            yield KEEP
        else:
            clusters.drop(number, match, similarity)
            detail = f"Jaccard {similarity:.4f} with {clusters.id_of(match)}"
            yield Drop("near_duplicate", detail)


def _shingles(words: str, n: int, seed: int, texts: list[str]) -> list[Hashes]:
    return shingles(list(map(splitter_named(words), texts)), n, seed)


def _keys(
    words: str, n: int, seed: int, banding: Banding, texts: list[str]
) -> tuple[Hashes, NDArray[np.bool_]]:
    """Makes the keys of texts, [texts, bands], and tells which have no words."""
    hasher = minhash(banding.bands * banding.rows, seed)
    signatures = np.zeros((len(texts), hasher.places), np.uint64)
    empty = np.zeros(len(texts), bool)
    for i, members in enumerate(_shingles(words, n, seed, texts)):
        if len(members):
            signatures[i] = hasher.signature(members)
        else:
            empty[i] = True
    return band_keys(signatures, banding), empty


def _alone_when_empty(found: tuple[Hashes, NDArray[np.bool_]], first: int) -> Hashes:
    """Gives each document without words keys of its own: nothing is not like nothing."""
    keys, empty = found
    if empty.any():
        numbers = np.flatnonzero(empty).astype(np.uint64) + np.uint64(first)
        keys[empty] = spread(numbers, 0)[:, None]
    return keys


def _check(threshold: float, words_per_shingle: int, recall: float, bands: int) -> None:
    if not 0 < threshold <= 1:
        raise ConfigError(
            f"threshold={threshold} is no Jaccard similarity that near duplicates could reach. Set"
            " it above 0 and at most to 1; 0.8 is usual."
        )
    if not 0 <= recall < 1:
        raise ConfigError(f"recall={recall} must be at least 0 and below 1. Set it to 0.99.")
    if words_per_shingle < 1 or not 1 <= bands <= MAX_BANDS:
        raise ConfigError(
            f"words_per_shingle={words_per_shingle} and bands={bands} must be 1 or more, bands at"
            f" most {MAX_BANDS}, for each has a file that is open. Leave them out for 5 and 20."
        )
