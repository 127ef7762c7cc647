"""Which sample comes at which position: a keyed permutation that is never materialised.

The order of an epoch is a pure function of (seed, epoch), so the only cursor a run needs is the
number of completed steps, and position 10^9 costs as much as position 0.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Int64, UInt64

ROUNDS = 6


def samples_at(
    positions: Int64[np.ndarray, " S"], *, n_samples: int, seed: int
) -> Int64[np.ndarray, " S"]:
    """Gives the samples at positions of an endless stream that shuffles each epoch anew.

    Args:
        positions: Places in the stream, from 0; every `n_samples` of them are one epoch.
        n_samples: Samples in an epoch, at least 1.
        seed: Decides the order.

    Returns:
        For each position a sample from 0 to `n_samples` - 1; each occurs once per epoch.
    """
    epochs, places = np.divmod(positions, n_samples)
    samples = np.empty_like(places)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        samples[here] = permute(places[here], n_samples, key=(seed, int(epoch)))
    return samples


def permute(
    places: Int64[np.ndarray, " S"], n: int, *, key: tuple[int, ...]
) -> Int64[np.ndarray, " S"]:
    """Permutes 0 … n - 1 by a Feistel network on the next power of four, with cycle walking.

    Args:
        places: Numbers from 0 to n - 1.
        n: Size of the permuted range.
        key: Decides the permutation.

    Source:
        Black & Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002, sections 3 and 4;
        the round function is splitmix64's finaliser (Steele et al., OOPSLA 2014), which mixes well
        and is no cipher.
    """
    half = np.uint64(max((n - 1).bit_length() + 1, 2) // 2)  # bits of each of the two halves
    keys = _round_keys(key)
    walked = _encrypt(places.astype(np.uint64), half, keys)
    outside = walked >= n
    while outside.any():
        walked[outside] = _encrypt(walked[outside], half, keys)
        outside = walked >= n
    return walked.astype(np.int64)


def _encrypt(
    numbers: UInt64[np.ndarray, " S"], half: np.uint64, keys: UInt64[np.ndarray, " R"]
) -> UInt64[np.ndarray, " S"]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = numbers >> half, numbers & mask
    for key in keys:
        left, right = right, left ^ (_mix(right + key) & mask)
    return (left << half) | right


def _mix(x: UInt64[np.ndarray, " S"]) -> UInt64[np.ndarray, " S"]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: UInt64[np.ndarray, " S"] = x ^ (x >> np.uint64(31))
    return mixed


def _round_keys(key: tuple[int, ...]) -> UInt64[np.ndarray, " R"]:
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8 * ROUNDS).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)
