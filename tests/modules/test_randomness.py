"""The random state of a micro-batch is a function of where the run is."""

from __future__ import annotations

import hashlib

import torch

from roots.modules.randomness import seed_micro_batch

CPU = torch.device("cpu")


def drawn(*place: int) -> torch.Tensor:
    torch.rand(3)  # whatever came before
    seed_micro_batch(*place, CPU)
    return torch.rand(16)


def test_the_same_place_draws_the_same_numbers_and_another_does_not() -> None:
    assert torch.equal(drawn(1, 2, 3), drawn(1, 2, 3))
    others = [drawn(*place) for place in ((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (12, 3, 3))]
    assert len({tuple(numbers.tolist()) for numbers in others}) == 5


def test_it_is_the_state_that_torch_would_set() -> None:
    for step in range(64):  # some seeds have their highest bit set
        digest = hashlib.blake2b(f"1/{step}/5".encode(), digest_size=8).digest()
        torch.manual_seed(int.from_bytes(digest, "little"))
        expected = torch.rand(4)
        seed_micro_batch(1, step, 5, CPU)
        assert torch.equal(torch.rand(4), expected)
