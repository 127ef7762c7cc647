"""Ranks of tests: their answers, their deaths, and the shapes that are checked in them."""

from __future__ import annotations

import os

import pytest
from ranks import run_ranks


def test_answers_come_by_rank() -> None:
    assert run_ranks(_own_rank) == [0, 1]


def _own_rank() -> int:
    return int(os.environ["RANK"])


def test_a_dead_rank_is_told_by_its_exit_code() -> None:
    with pytest.raises(AssertionError, match=r"exit codes by rank: \{1: 7\}"):
        run_ranks(_die_on_one)


def _die_on_one() -> None:
    if os.environ["RANK"] == "1":
        os._exit(7)


def test_shapes_are_checked_in_ranks() -> None:
    with pytest.raises(AssertionError, match="TypeCheckError"):
        run_ranks(_wrong_type, ranks=1)


def _wrong_type() -> None:
    from roots.data.growing import Growing

    Growing(first=2, full=8, steps=4).size(1.5)  # type: ignore[arg-type]
