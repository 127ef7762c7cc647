"""A fit that is interrupted leaves a module that can be used, and says how to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tiny_masked import masked_config

from roots.callbacks.stop_signals import Interrupted
from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.compose import Composed, resumed


class Raises(L.Callback):
    """Raises in the middle of a step, as a stop button does that is pressed twice.

    Args:
        step: The step, counted from 1.
        error: What.
    """

    def __init__(self, *, step: int, error: BaseException) -> None:
        self.step = step
        self.error = error

    def on_before_optimizer_step(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step - 1:
            raise self.error


def interrupted(config: dict, step: int) -> tuple[Composed, Interrupted]:
    composed = compose(config)
    composed.trainer.callbacks.insert(0, Raises(step=step, error=KeyboardInterrupt()))
    with pytest.raises(Interrupted) as stopped:
        composed.fit()
    return composed, stopped.value


def test_after_a_keyboard_interrupt_the_module_writes_with_the_weights_of_its_last_step(
    config: dict,
) -> None:
    composed, _ = interrupted(config, step=3)
    other = compose(config, {"trainer.max_steps": 6})
    other.trainer.callbacks.insert(0, Raises(step=3, error=ValueError("stop")))
    with pytest.raises(ValueError, match="stop"):
        other.fit()
    weights = composed.model.trainable.state_dict()
    for name, tensor in other.model.trainable.state_dict().items():
        assert torch.equal(weights[name], tensor)
    text = composed.generate("the cat", max_tokens=12, seed=3)
    assert text
    assert text == other.generate("the cat", max_tokens=12, seed=3)


def test_it_says_from_which_checkpoint_to_go_on_and_that_works(config: dict) -> None:
    composed, stopped = interrupted(config, step=5)
    run = composed.trainer.run
    assert run is not None
    assert stopped.exit_code == 130
    assert str(stopped) == (
        "Stopped at once, in the step after 4. Go on from the newest checkpoint, step 3, with:"
        f" roots fit --resume {run.path}"
    )
    on, _ = resumed(str(run.path), {}, [])
    assert on.fit().last().step == 6


def test_another_exit_is_left_as_it_is(config: dict) -> None:
    composed = compose(config)
    composed.trainer.callbacks.insert(0, Raises(step=2, error=SystemExit(7)))
    with pytest.raises(SystemExit) as ended:
        composed.fit()
    assert ended.value.code == 7


def test_a_run_without_a_network_and_one_that_does_not_write_say_so(
    config: dict, masked_shards: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"no network yet. Call its fit\(\)"):
        compose(config).generate("the")
    masked = compose(masked_config(masked_shards, tmp_path / "runs", max_steps=3))
    masked.fit()
    with pytest.raises(ConfigError, match="MaskedLM does not continue texts"):
        masked.generate("the")
