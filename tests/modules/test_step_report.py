"""A step's report gives the device's numbers, bit by bit, and reads them once."""

from __future__ import annotations

from dataclasses import replace

import torch
from waits import counted_waits

from roots.modules.step_report import StepReport


def report(loss: float, norm: float) -> StepReport:
    tensors = [torch.tensor(value) for value in (loss, norm, 2.0)]
    return StepReport(*tensors, learning_rate=1e-3, samples=torch.arange(3), step=7)


def test_the_numbers_are_those_of_the_tensors() -> None:
    step = report(0.1, 1 / 3)
    assert step.numbers == (step.loss.item(), step.grad_norm.item(), 2.0, {})
    assert step.numbers.loss != 0.1  # as float32 has it


def test_what_is_not_finite_stays_so() -> None:
    numbers = report(float("nan"), float("inf")).numbers
    assert numbers.loss != numbers.loss
    assert numbers.grad_norm == float("inf")


def test_other_numbers_are_read_in_the_same_transfer() -> None:
    step = replace(report(1.0, 2.0), others={"a": torch.tensor(3, dtype=torch.int32)})
    with counted_waits() as waits:
        assert step.numbers.others == {"a": 3.0}
    assert len(waits.found) == 1


def test_they_are_read_once() -> None:
    step = report(1.0, 2.0)
    with counted_waits() as waits:
        assert step.numbers is step.numbers
    assert len(waits.found) == 1
