"""The signatures: datatrove's MinHash, of the shingles that are verified later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from roots.corpus.duplicates import NearDuplicates
from roots.corpus.duplicates.shingles import Hashes, shingles
from roots.corpus.engines.datatrove_parts import (
    HashConfig,
    MinhashConfig,
    MinhashDedupSignature,
    WordTokenizer,
)
from roots.corpus.engines.engine_folder import EngineFolder
from roots.corpus.splitters import splitter_named


@dataclass(frozen=True)
class Shingling:
    """How a text becomes a set; see `NearDuplicates`."""

    words: str
    words_per_shingle: int
    seed: int

    @classmethod
    def of(cls, near: NearDuplicates) -> Shingling:
        """Takes the settings of a pass."""
        return cls(near.words, near.words_per_shingle, near.seed)

    def __call__(self, text: str) -> Hashes:
        """Makes the set: sorted, distinct, [S]."""
        words = splitter_named(self.words)(text)
        return shingles([words], self.words_per_shingle, self.seed)[0]


def minhash_config(near: NearDuplicates) -> MinhashConfig:
    """Cuts datatrove's signatures as the pass cuts its own, so that they find as many pairs."""
    return MinhashConfig(
        n_grams=near.words_per_shingle,
        num_buckets=near.banding.bands,
        hashes_per_bucket=near.banding.rows,
        seed=near.seed,
        hash_config=HashConfig(precision=64, hash_fc="sha1"),  # of shingles that are hashed already
    )


class ShingleSignatures(MinhashDedupSignature):
    """Writes the signatures of the documents of a task, sorted, a file per bucket.

    Args:
        output: For the files.
        near: The settings.
    """

    name = "roots shingles, MinHash signatures"

    def __init__(self, *, output: EngineFolder, near: NearDuplicates) -> None:
        super().__init__(str(output), config=minhash_config(near), language=_NoWords())
        self.shingling = Shingling.of(near)

    def get_shingles(self, text: str) -> NDArray[Any]:
        """Makes the set of a text, [S, 1]."""
        return self.shingling(text).reshape(-1, 1)


class _NoWords(WordTokenizer):
    """What datatrove wants to have; the shingles are made without it."""

    def word_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    sent_tokenize = span_tokenize = word_tokenize
