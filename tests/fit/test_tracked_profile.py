"""A profile of a run that has less than a profile needs, and trackers that it does not."""

from __future__ import annotations

from typing import Any

import pytest

from roots.fit import compose
from roots.fit.profile import profile_steps


def test_a_tracked_run_of_few_epochs_is_profiled_to_the_last_step(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has 4 steps and 6 are needed; trackers have no run directory to look into."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    length = {"trainer.max_steps": 0, "trainer.max_epochs": 0.12}
    tracked = {"trainer.wandb": True, "trainer.trackio": True, "trainer.tensorboard": True}
    composed = compose(config, {**length, **tracked})
    composed.trainer.settle(composed.data)
    assert composed.trainer.max_steps == 4
    measured = profile_steps(composed, steps=2, warmup_steps=1)
    assert measured.profiled_seconds > 0
    assert composed.trainer.global_step == 6
    assert composed.trainer.run is None
