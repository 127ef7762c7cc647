"""What a loss spike is, and what happens then."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from callbacks.test_stability import SpoilsGradients, skipped_here
from ranks import run_ranks

from roots.callbacks import LossSpikes
from roots.callbacks.loss_spikes import is_spike
from roots.errors import ConfigError, TrainingError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.runs import read_metrics

SPIKES = {"class_path": "roots.callbacks.LossSpikes", "init_args": {"window": 3, "threshold": 4}}


class OtherLoss(SpoilsGradients):
    """Adds to the loss of some steps, on one rank; the gradients stay as they are."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        super().on_train_batch_start(trainer, module, batch, index)
        if self.handle is not None:
            self.handle.remove()
            network = module.trainable
            self.handle = network.register_forward_hook(
                lambda _, __, score: score._replace(loss=score.loss + 500)
            )


def test_a_spike_is_what_the_definition_says() -> None:
    generator = torch.Generator().manual_seed(1)
    losses = (3 + 0.1 * torch.randn(200, generator=generator)).tolist()
    for n in (50, 90, 91):
        losses[n] += 1.0
    rule, found = LossSpikes(threshold=3.0, window=32, action="skip"), []
    for n, loss in enumerate(losses):
        spike = rule.judge(torch.tensor(loss), torch.tensor(1.0))
        assert spike is not None
        before = losses[max(0, n - 32) : n]
        mean = statistics.fmean(before) if before else 0.0
        expected = n >= 32 and loss > mean + 3 * statistics.stdev(before)
        assert bool(spike) == expected, n
        found += [n] if spike else []
    assert {50, 90, 91} <= set(found)
    assert int(rule.counts()["optim/loss_spikes"]) == len(found)


def test_a_loss_that_is_not_finite_is_no_spike_and_stays_outside_the_window() -> None:
    rule = LossSpikes(threshold=30.0, window=2)
    for loss in (1.0, 1.1, float("nan"), 1.2, float("inf"), 1.1):
        assert not rule.judge(torch.tensor(loss), torch.tensor(1.0))
    assert all(loss == loss and loss < 2 for loss in rule.state_dict()["losses"])


def test_until_the_window_is_full_nothing_is_a_spike() -> None:
    assert not is_spike(torch.tensor(99.0), torch.tensor([1.0, 1.1, float("nan")]), 1.0)
    assert is_spike(torch.tensor(99.0), torch.tensor([1.0, 1.1, 1.2]), 1.0)


def test_its_state_goes_on_where_it_was() -> None:
    losses = torch.rand(40, generator=torch.Generator().manual_seed(2)) + 1
    losses[30] = 9.0
    rule, other = LossSpikes(window=7, threshold=2.0), LossSpikes(window=7, threshold=2.0)
    for loss in losses[:20]:
        rule.judge(loss, loss)
    other.load_state_dict(rule.state_dict())
    for loss in losses[20:]:
        assert torch.equal(rule.judge(loss, loss), other.judge(loss, loss))
    assert rule.state_dict() == other.state_dict()
    assert rule.state_dict()["spikes"] > 0


@pytest.mark.parametrize(("action", "skipped"), [("skip", [4]), ("count", [])])
def test_a_spike_is_skipped_or_counted(config: dict, action: str, skipped: list[int]) -> None:
    config["trainer"]["callbacks"] = [
        {**SPIKES, "init_args": {**SPIKES["init_args"], "action": action}}
    ]
    composed, planted = compose(config), OtherLoss((4,))
    composed.trainer.callbacks.insert(0, planted)
    rows = read_metrics(composed.fit().metrics_file)
    assert [n for n, same in planted.untouched.items() if same] == skipped
    assert [float(row["optim/loss_spikes"]) for row in rows] == [0, 0, 0, 0, 1, 1]
    assert ("optim/steps_skipped" in rows[0]) == (action == "skip")


def test_a_spike_stops_the_run_before_the_weights_change(config: dict) -> None:
    stops = {**SPIKES, "init_args": {**SPIKES["init_args"], "action": "stop"}}
    config["trainer"].update(callbacks=[stops], val_every_steps=2)
    composed = compose(config)
    composed.trainer.callbacks.insert(0, OtherLoss((4,)))
    with pytest.raises(TrainingError, match=r"The loss jumped: it is \d+\S* in step 5, and 1 of"):
        composed.fit()
    assert composed.trainer.global_step == 4
    assert composed.trainer.run is not None
    on, _ = resumed(str(composed.trainer.run.path), {}, [])  # the cure that is named
    assert on.fit().last().step == 6


def test_a_spike_on_one_rank_is_skipped_on_both(shards: Path, tmp_path: Path) -> None:
    answers = run_ranks(skipped_here, shards, tmp_path, [SPIKES], OtherLoss((4,), rank=1))
    for found in answers:
        assert found["untouched"] == [4]
        assert found["counts"] == {"total": 1, "in_a_row": 0}


@pytest.mark.parametrize(
    ("wrong", "cure", "message"),
    [
        ({"threshold": 0.0}, {"threshold": 0.1}, r"threshold=0 .* above 0"),
        ({"window": 1}, {"window": 2}, r"window=1 .* 2 or more"),
        ({"action": "halt"}, {"action": "stop"}, r"no action 'halt'.* to skip or stop or count"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict, cure: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LossSpikes(**wrong)
    LossSpikes(**cure)


def test_two_whose_states_have_one_place_in_a_checkpoint_are_refused(config: dict) -> None:
    class Others(LossSpikes):
        @property
        def state_key(self) -> str:
            return "Others"

    composed = compose(config)
    composed.trainer.callbacks += [LossSpikes(), LossSpikes(action="count")]
    with pytest.raises(ConfigError, match=r"LossSpikes is there twice.*Leave one out"):
        composed.fit()
    twice = [{"class_path": "roots.callbacks.LossSpikes"}] * 2
    with pytest.raises(ConfigError, match=r"^trainer\.callbacks: LossSpikes is there twice"):
        compose(config, {"trainer.callbacks": twice})
    composed = compose(config)
    composed.trainer.callbacks += [LossSpikes(), Others(action="count")]
    composed.fit()
