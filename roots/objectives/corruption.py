"""Corruption for masked language models: a row's tokens in, the hidden ones replaced and labelled.

It is made by numpy where batches are made, on the host: the same numbers for every device, away
from the device's queue, and a generator per row is cheap (torch's takes 5 KiB of state each).

Shape letters: B rows, T tokens in a row, R ids that may replace a token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from roots.batch import IGNORE
from roots.objectives.masking import Masking, choose_words, number_words


class Key(NamedTuple):
    """What the corruption of a row is a function of, beside the row itself.

    Args:
        seed: The run's.
        sample: The row's number in the data.
        epoch: How often the data was read before; a row is hidden anew each time.
    """

    seed: int
    sample: int
    epoch: int

    def generator(self) -> np.random.Generator:
        """Makes the row's own source of chance: Philox, keyed by a hash of the three numbers."""
        numbers = ",".join(str(int(number)) for number in self)
        digest = hashlib.blake2b(numbers.encode(), digest_size=16).digest()
        words = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
        return np.random.Generator(np.random.Philox(key=words))


class Corrupted(NamedTuple):
    """What a masked language model reads, and what it is asked.

    Args:
        input_ids: The tokens, the hidden ones replaced, (B, T).
        labels: The hidden tokens where they stood, `IGNORE` elsewhere, (B, T).
    """

    input_ids: Int64[np.ndarray, "B T"]
    labels: Int64[np.ndarray, "B T"]


def corrupt(
    input_ids: Int64[np.ndarray, "B T"],
    untouched: Bool[np.ndarray, "B T"],
    word_starts: Bool[np.ndarray, "B T"],
    *,
    masking: Masking,
    mask_id: int,
    replacements: Int64[np.ndarray, " R"],
    keys: Sequence[Key],
) -> Corrupted:
    """Hides tokens of each row by the row's own generator.

    What happens to a row depends on its tokens and its key: not on the other rows, nor on how far
    it is padded, so it survives a resume and another number of devices or rows in a batch.

    Args:
        input_ids: The tokens; they are left as they are.
        untouched: The special tokens and the padding, which are neither hidden nor asked for.
        word_starts: The tokens that start a word; what stands behind an untouched token does so in
            any case. Not looked at where the unit is `token`.
        masking: The settings.
        mask_id: The mask token.
        replacements: The ordinary tokens, from which random ones are drawn.
        keys: The key of each row.
    """
    corrupted = Corrupted(input_ids.copy(), np.full_like(input_ids, IGNORE))
    for row, key in enumerate(keys):
        places = np.flatnonzero(~untouched[row])
        if len(places):
            rng = key.generator()
            hidden = _hide(places, word_starts[row], masking, rng)
            labels = input_ids[row].take(hidden.places)
            corrupted.labels[row].put(hidden.places, labels)
            replaced = _replaced(
                labels, hidden.fates, rng, masking=masking, mask_id=mask_id, others=replacements
            )
            corrupted.input_ids[row].put(hidden.places, replaced)
    return corrupted


class _Hidden(NamedTuple):
    """The hidden places of a row, and a number from 0 to 1 that decides what comes there."""

    places: np.ndarray
    fates: np.ndarray


def _hide(
    places: Int64[np.ndarray, " n"],
    word_starts: Bool[np.ndarray, " T"],
    masking: Masking,
    rng: np.random.Generator,
) -> _Hidden:
    if masking.unit == "token":
        words = np.arange(len(places))
    else:
        starts = word_starts[places]
        starts[1:] |= places[1:] - places[:-1] > 1  # an untouched token lies between
        words = number_words(starts)  # n
    blocks = choose_words(masking, int(words[-1]) + 1, rng)[words]  # n
    hidden = blocks >= 0
    if masking.unit == "span":  # as SpanBERT: one fate for a span
        fates = rng.random(blocks.max() + 1)[blocks[hidden]]
    else:  # as BERT, in whole words too: one for each token
        fates = rng.random(np.count_nonzero(hidden))
    return _Hidden(places[hidden], fates)


def _replaced(
    tokens: Int64[np.ndarray, " n"],
    fates: np.ndarray,
    rng: np.random.Generator,
    *,
    masking: Masking,
    mask_id: int,
    others: Int64[np.ndarray, " R"],
) -> Int64[np.ndarray, " n"]:
    replaced = tokens.copy()
    masked = fates < masking.mask_fraction
    replaced[masked] = mask_id
    drawn = ~masked & (fates < masking.mask_fraction + masking.random_fraction)
    n_drawn = np.count_nonzero(drawn)
    if n_drawn:
        replaced[drawn] = others[rng.integers(len(others), size=n_drawn)]
    return replaced
