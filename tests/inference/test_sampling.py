"""roots.inference.sampling: definitions in float64, transformers' warpers, statistics."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from roots.errors import ConfigError, TrainingError
from roots.inference import Sampling, next_token
from roots.inference.sampling import distribution


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_logits(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=generator(seed))


def by_definition(
    logits: list[float], temperature: float, top_k: int, top_p: float
) -> tuple[list[float], list[float]]:
    """One token after the other, the likeliest first, in Python's float64.

    Returns:
        The probability of each token, and how much had been reached before it was looked at.
    """
    weights = [math.exp((x - max(logits)) / temperature) for x in logits]
    order = sorted(range(len(logits)), key=lambda i: -weights[i])
    order = order[: top_k or None]
    total, reached = sum(weights[i] for i in order), 0.0
    kept, before = [0.0] * len(logits), [math.inf] * len(logits)
    for i in order:
        before[i] = reached
        if reached < top_p or top_p == 1:
            kept[i] = weights[i]
        reached += weights[i] / total
    return [weight / sum(kept) for weight in kept], before


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    temperature=st.floats(0.05, 5),
    top_k=st.integers(0, 40),
    top_p=st.floats(0.01, 0.999) | st.just(1.0),
)
def test_the_distribution_is_the_definition_in_float64(
    seed: int, temperature: float, top_k: int, top_p: float
) -> None:
    logits = random_logits(30, seed=seed)
    ours = distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    expected, before = by_definition(logits.tolist(), temperature, top_k, top_p)
    if all(abs(reached - top_p) > 1e-5 for reached in before):
        torch.testing.assert_close(ours, torch.tensor(expected), atol=1e-5, rtol=1e-4)
    else:  # a sum that meets top_p within float32's rounding may fall on either side
        for ours_i, expected_i, reached in zip(ours.tolist(), expected, before, strict=True):
            assert (ours_i > 0) == (expected_i > 0) or abs(reached - top_p) < 1e-5


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [0, 1, 7])
@pytest.mark.parametrize("top_p", [0.2, 0.9, 1.0])
def test_the_distribution_equals_that_of_transformers(
    temperature: float, top_k: int, top_p: float
) -> None:
    logits = random_logits(16, 50)
    ids = torch.zeros(16, 1, dtype=torch.long)
    theirs = TemperatureLogitsWarper(temperature)(ids, logits)
    if top_k:
        theirs = TopKLogitsWarper(top_k)(ids, theirs)
    if top_p < 1:
        theirs = TopPLogitsWarper(top_p)(ids, theirs)
    ours = distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    torch.testing.assert_close(ours, theirs.softmax(-1), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(1, 0, 1), (0.7, 5, 1), (1.3, 0, 0.8)])
def test_drawn_tokens_pass_a_chi_square_test(temperature: float, top_k: int, top_p: float) -> None:
    n, logits = 20_000, random_logits(12, seed=3) / 2
    drawn = next_token(
        logits.expand(n, 12),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generator=generator(),
    )
    expected = n * torch.tensor(by_definition(logits.tolist(), temperature, top_k, top_p)[0])
    counts = torch.bincount(drawn, minlength=12).float()
    possible = expected > 0
    assert counts[~possible].sum() == 0
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum().item()
    freedom = int(possible.sum()) - 1
    assert statistic < freedom + 4 * math.sqrt(2 * freedom)


def test_temperature_zero_takes_the_likeliest_and_needs_no_randomness() -> None:
    logits, source = random_logits(5, 20), generator()
    before = source.get_state()
    chosen = next_token(logits, temperature=0, top_k=3, top_p=0.5, generator=source)
    assert torch.equal(chosen, logits.argmax(-1))
    assert torch.equal(before, source.get_state())


def test_a_tiny_temperature_does_not_overflow_and_is_greedy() -> None:
    logits = random_logits(20) * 1e4
    chosen = next_token(logits, temperature=1e-30, top_k=0, top_p=0.9, generator=generator())
    assert int(chosen) == int(logits.argmax())


def test_a_huge_temperature_makes_all_tokens_equally_likely() -> None:
    probabilities = distribution(random_logits(8), temperature=1e30, top_k=0, top_p=1.0)
    torch.testing.assert_close(probabilities, torch.full((8,), 1 / 8))


def test_the_same_generator_state_gives_the_same_tokens_and_the_global_state_stays() -> None:
    logits, before = random_logits(9, 20), torch.random.get_rng_state()
    first, second = (
        next_token(logits, temperature=1.0, top_k=0, top_p=1.0, generator=generator(7))
        for _ in range(2)
    )
    assert torch.equal(first, second)
    assert torch.equal(before, torch.random.get_rng_state())


def test_one_row_of_logits_gives_one_id_and_bfloat16_is_worked_on_in_float32() -> None:
    logits = random_logits(20).bfloat16()
    chosen = next_token(logits, temperature=0.8, top_k=0, top_p=0.9, generator=generator())
    same = next_token(logits.float(), temperature=0.8, top_k=0, top_p=0.9, generator=generator())
    assert chosen.shape == ()
    assert int(chosen) == int(same)


def test_a_token_that_is_ruled_out_is_never_drawn() -> None:
    logits = torch.tensor([0.0, -math.inf, 0.0]).expand(500, 3)
    drawn = next_token(logits, temperature=5.0, top_k=0, top_p=1.0, generator=generator())
    assert set(drawn.tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("setting", "wrong", "right"),
    [
        ("temperature", -0.5, 0.0),
        ("temperature", math.nan, 0.8),
        ("temperature", math.inf, 0.8),
        ("top_k", -3, 0),
        ("top_p", 0.0, 0.1),
        ("top_p", 1.5, 1.0),
        ("top_p", math.nan, 1.0),
    ],
)
def test_a_setting_out_of_range_is_told_with_its_value(
    setting: str, wrong: float, right: float
) -> None:
    with pytest.raises(ConfigError, match=f"{setting}={wrong:g}"):
        Sampling(**{setting: wrong})
    Sampling(**{setting: right})


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_of_a_diverged_network_are_told(value: float, temperature: float) -> None:
    logits = torch.tensor([0.0, value, 1.0])
    with pytest.raises(TrainingError, match=f"{value}.*earlier checkpoint"):
        next_token(logits, temperature=temperature, top_k=0, top_p=1.0, generator=generator())
