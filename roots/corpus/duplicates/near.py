"""NearDuplicates: nearly the same words again, verified by exact Jaccard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.blocks import Reading, all_texts, mapped
from roots.corpus.duplicates.clusters import Clusters
from roots.corpus.duplicates.kept import ALONE, KeptDocuments
from roots.corpus.duplicates.minhash import MAX_PLACES, Banding, band_keys, minhash
from roots.corpus.duplicates.shingles import Hashes, shingles, spread
from roots.corpus.splitters import splitter_named
from roots.corpus.stage import OrderedMap, Pass
from roots.errors import ConfigError
from roots.records import KEEP, Document, Drop, Verdict


class NearDuplicates(Pass):
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
    most 12 bytes per band that a document shares; 8 bytes per shingle of the kept documents that
    share one. For 10^8 documents of 700 words in 20 bands, every fifth of which shares half of its
    bands: 17 + 2 + 2 + 112 GB, and 4 hours of one core. In working memory: 1 GB to sort, 12 bytes
    per group of equal keys (10^8 of them: 1.2 GB), 40 bytes per document that shares a band
    (0.8 GB); the files are mapped, which fills memory only as far as nobody else needs it.

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

    def decide(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        ordered_map: OrderedMap = map,
    ) -> Iterator[Verdict]:
        """Streams one verdict per document; the reason of a drop is `near_duplicate`."""
        reading = Reading(documents)
        with ExitStack() as stack:
            name = stack.enter_context(TemporaryDirectory(dir=scratch, prefix=".near-"))
            keys = self._write_keys(reading, Path(name), ordered_map)
            kept = KeptDocuments(keys=keys, folder=Path(name), threshold=self.threshold)
            stack.enter_context(closing(kept))
            clusters = stack.enter_context(closing(Clusters(Path(name) / "ids")))
            shingles_of = partial(_shingles, self.words, self.words_per_shingle, self.seed)
            blocks = _with_groups(reading, kept)
            for block, sets in mapped(blocks, _Block.texts, shingles_of, ordered_map):
                yield from _decided(block, sets, kept, clusters)
            clusters.write(scratch / self.findings[0], similarities=True)

    def _write_keys(self, reading: Reading, folder: Path, ordered_map: OrderedMap) -> list[Path]:
        """Writes the keys of all documents, a file per band."""
        paths = [folder / f"keys-{band:02d}" for band in range(self.bands)]
        keys_of = partial(_keys, self.words, self.words_per_shingle, self.seed, self.banding)
        first = 0
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in paths]
            for block, keys in mapped(reading.blocks(), all_texts, keys_of, ordered_map):
                whole = _alone_when_empty(keys, first)
                for file, band in zip(files, whole.T, strict=True):
                    file.write(band.tobytes())
                first += len(block)
        return paths


@dataclass(frozen=True, slots=True)
class _Block:
    """Documents with the groups that they are in."""

    first: int
    documents: list[Document]
    groups: NDArray[np.int64]

    def texts(self) -> list[str]:
        """Lists the texts of those that share a band with another."""
        shares = (self.groups != ALONE).any(axis=1).tolist()
        pairs = zip(self.documents, shares, strict=True)
        return [document.text for document, candidate in pairs if candidate]


def _with_groups(reading: Reading, kept: KeptDocuments) -> Iterator[_Block]:
    first = 0
    for documents in reading.blocks():
        yield _Block(first, documents, kept.groups(first, first + len(documents)))
        first += len(documents)


def _decided(
    block: _Block, sets: list[Hashes], kept: KeptDocuments, clusters: Clusters
) -> Iterator[Verdict]:
    remaining = iter(sets)
    shares = (block.groups != ALONE).any(axis=1).tolist()
    for i, document in enumerate(block.documents):
        if not shares[i]:
            yield KEEP
            continue
        number, members = block.first + i, next(remaining)
        clusters.remember(number, document.id)
        match = kept.match(block.groups[i], members)
        if match is None:
            kept.keep(number, block.groups[i], members)
            yield KEEP
        else:
            clusters.drop(number, *match)
            detail = f"Jaccard {match[1]:.4f} with {clusters.id_of(match[0])}"
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
    if words_per_shingle < 1 or not 1 <= bands <= MAX_PLACES:
        raise ConfigError(
            f"words_per_shingle={words_per_shingle} and bands={bands} must be 1 or more, bands at"
            f" most {MAX_PLACES:,}. Leave them out for 5 and 20."
        )
