"""Randomness as a function of where a run is, so that no random state is ever saved."""

from __future__ import annotations

import hashlib

import torch


def seed_micro_batch(seed: int, step: int, first_sample: int, device: torch.device) -> None:
    """Sets the random states that a forward pass draws from to a function of the arguments.

    They are those of the host and of the device. `torch.manual_seed` would seed each kind of device
    that this torch knows, and note for each where that was asked: a millisecond per micro-batch.

    Args:
        seed: Of the run.
        step: The optimizer step, from 0.
        first_sample: The number of the micro-batch's first sample.
        device: Where the pass computes.
    """
    number = seed_of(seed, step, first_sample)
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)


def seed_of(*where: object) -> int:
    """Makes a seed that is a function of the arguments, and of nothing else."""
    text = "/".join(map(str, where)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
