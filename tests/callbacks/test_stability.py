"""A run that goes wrong stops, says where, and saves nothing that is spoilt."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from ranks import run_ranks
from safetensors.torch import load_file
from tiny import tiny_config

from roots.__main__ import main
from roots.callbacks import stability
from roots.errors import ConfigError, TrainingError
from roots.fit import compose
from roots.runs import read_metrics


class Poison(L.Callback):
    """Puts a NaN into the weights: before the forward of a step, or after its update."""

    def __init__(self, *, step: int, before: bool = True) -> None:
        self.step = step
        self.before = before

    def on_train_batch_start(self, trainer: Any, module: Any, *_: Any) -> None:
        if self.before and trainer.global_step == self.step - 1:
            self._poison(module)

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if not self.before and trainer.global_step == self.step:
            self._poison(module)

    @staticmethod
    def _poison(module: Any) -> None:
        with torch.no_grad():
            next(module.parameters()).view(-1)[0] = float("nan")


def test_a_loss_that_is_not_finite_stops_the_run_with_step_documents_and_last_checkpoint(
    config: dict,
) -> None:
    composed = compose(config, {"trainer.val_every_steps": 2})
    composed.trainer.callbacks.insert(0, Poison(step=5))
    with pytest.raises(TrainingError) as stopped:
        composed.fit()
    run, message = composed.trainer.run, str(stopped.value)
    assert run is not None
    assert message.startswith("Step 5 has loss nan and gradient norm nan")
    assert f"The last good checkpoint is {run.path}/checkpoints/step-000004" in message
    assert f"--resume {run.path}" in message
    named = re.search(r"start in the documents ([\d, ]+)(, …)?\.", message)
    assert named
    n_documents = int(composed.data.folder.manifest.splits["train"].documents)
    assert all(0 <= int(number) < n_documents for number in named[1].split(", "))


def test_the_named_documents_are_those_the_step_read(config: dict) -> None:
    composed = compose(config)
    composed.trainer.callbacks.insert(0, Poison(step=1))
    with pytest.raises(TrainingError, match="There is no checkpoint yet") as stopped:
        composed.fit()
    assert composed.model.last_step is not None
    shard = composed.data.folder.shard("train")
    ends = [n for n, token in enumerate(shard.tokens) if token == composed.data.vocabulary.eos_id]
    starts = [int(sample) * 16 for sample in composed.model.last_step.samples]
    documents = sorted({sum(end < start for end in ends) for start in starts})
    assert f"documents {', '.join(map(str, documents[:8]))}" in str(stopped.value)


@pytest.mark.parametrize(("step", "kept"), [(3, 2), (4, 3), (5, 4)])
def test_weights_that_are_not_finite_are_never_saved(config: dict, step: int, kept: int) -> None:
    """After a good loss and gradient an update can still overflow: the weights themselves count."""
    composed = compose(config, {"trainer.checkpoint_every_steps": 2, "trainer.keep_best": 9})
    composed.trainer.callbacks.insert(0, Poison(step=step, before=False))
    with pytest.raises(TrainingError, match=r"not finite|has loss nan"):
        composed.fit()
    assert composed.trainer.run is not None
    found = composed.trainer.run.checkpoints()
    assert found[-1].step == kept
    for checkpoint in found:
        weights = load_file(checkpoint.path / "model.safetensors")
        assert all(weight.isfinite().all() for weight in weights.values())
        state = torch.load(checkpoint.trainer_file, weights_only=True)["state_dict"]
        assert all(weight.isfinite().all() for weight in state.values())


def test_where_a_look_costs_a_wait_it_is_taken_with_the_logged_steps(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stability, "reading_is_free", lambda device: False)
    composed = compose(config, {"trainer.log_every_steps": 4, "trainer.val_every_steps": 0})
    composed.trainer.callbacks.insert(0, Poison(step=2))
    with pytest.raises(TrainingError, match=r"^Step 4 has loss nan"):
        composed.fit()
    assert composed.trainer.global_step == 3  # before the optimizer's fourth step


def test_a_learning_rate_without_bounds_ends_with_exit_code_1(
    config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    flags = ["--config", str(tmp_path / "run.yaml"), "--model.optimizer.learning_rate", "1e20"]
    monkeypatch.setattr(sys, "argv", ["roots", "fit", *flags])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("roots: Step ")
    assert "lower learning rate" in said.replace("\n", " ")
    assert "Traceback" not in said


# -- steps that are left out ------------------------------------------------------------------


class SpoilsGradients(L.Callback):
    """Multiplies the gradients of some steps on their way back; the loss stays as it is."""

    def __init__(self, steps: tuple[int, ...], rank: int = 0) -> None:
        self.steps = steps
        self.rank = rank
        self.untouched: dict[int, bool] = {}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, _: int) -> None:
        self.before = everything(module)
        self.handle = None
        if batch.step in self.steps and trainer.global_rank == self.rank:
            layer = module.trainable.network.model.layers[0]
            self.handle = layer.register_forward_hook(spoil)

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, _: int
    ) -> None:
        if self.handle is not None:
            self.handle.remove()
        same = zip(self.before, everything(module), strict=True)
        self.untouched[batch.step] = all(torch.equal(one, other) for one, other in same)


def spoil(_: Any, __: Any, output: Any) -> None:
    hidden = output[0] if isinstance(output, tuple) else output
    hidden.register_hook(lambda gradient: gradient * float("nan"))


def everything(module: Any) -> list[torch.Tensor]:
    states = module.trainer.optimizers[0].state_dict()["state"].values()
    kept = [value.clone() for state in states for value in state.values()]
    return [p.detach().clone() for p in module.parameters()] + kept


@pytest.mark.parametrize("precision", ["32", "bf16-true"])
def test_steps_with_bad_gradients_are_left_out_when_they_are_to_be(
    config: dict, precision: str
) -> None:
    composed = compose(config, {"trainer.on_non_finite": "skip", "trainer.precision": precision})
    spoils = SpoilsGradients((2, 3))
    composed.trainer.callbacks.insert(0, spoils)
    rows = read_metrics(composed.fit().metrics_file)
    assert [n for n, same in spoils.untouched.items() if same] == [2, 3]
    assert [float(row["optim/steps_skipped"]) for row in rows] == [0, 0, 1, 2, 2, 2]
    assert [float(row["optim/steps_skipped_in_a_row"]) for row in rows] == [0, 0, 1, 2, 0, 0]
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    usual = [row["optim/learning_rate"] for row in read_metrics(compose(config).fit().metrics_file)]
    assert [row["optim/learning_rate"] for row in rows] == usual  # the schedule goes on


def test_the_default_stops(config: dict) -> None:
    composed = compose(config)
    composed.trainer.callbacks.insert(0, SpoilsGradients((2,)))
    with pytest.raises(TrainingError, match=r"^Step 3 has loss [\d.]+ and gradient norm nan"):
        composed.fit()


def test_an_action_that_there_is_not_is_refused(config: dict) -> None:
    with pytest.raises(ConfigError, match=r"'skipp' \(did you mean 'skip'\?\).*stop or skip"):
        compose(config, {"trainer.on_non_finite": "skipp"})
    compose(config, {"trainer.on_non_finite": "skip"})


def skipped_here(shards: Path, runs: Path, callbacks: list[Any], planted: Any) -> dict[str, Any]:
    """Trains as one of two ranks; gives what it decided."""
    config = tiny_config(shards, runs, on_non_finite="skip", callbacks=callbacks)
    composed = compose(config)
    composed.trainer.callbacks.insert(0, planted)
    composed.fit()
    return {
        "untouched": [n for n, same in planted.untouched.items() if same],
        "counts": composed.trainer.skipped_steps.state_dict(),
        "weights": [p.detach().numpy() for p in composed.model.parameters()],
    }


@pytest.mark.parametrize("rank", [0, 1])
def test_bad_gradients_on_one_rank_skip_the_step_on_both(
    shards: Path, tmp_path: Path, rank: int
) -> None:
    planted = SpoilsGradients((3,), rank)
    first, second = run_ranks(skipped_here, shards, tmp_path, [], planted)
    for found in (first, second):
        assert found["untouched"] == [3]
        assert found["counts"] == {"total": 1, "in_a_row": 0}
    for one, other in zip(first["weights"], second["weights"], strict=True):
        assert (one == other).all()


def documents_told(shards: Path, folder: Path, strategy: str) -> str:
    composed = compose(tiny_config(shards, folder, strategy=strategy, val_every_steps=0))
    composed.trainer.callbacks.insert(0, Poison(step=1))
    with pytest.raises(TrainingError) as stopped:
        composed.fit()
    told = re.search(r"start in the documents [\d, …]+\.", str(stopped.value))
    assert told
    return told[0]


def test_every_rank_names_the_documents_that_the_step_read_on_any(
    shards: Path, tmp_path: Path
) -> None:
    """The rank whose message is read need not be the one whose rows spoilt the step."""
    alone = documents_told(shards, tmp_path, "single_device")
    assert run_ranks(documents_told, shards, tmp_path, "ddp") == [alone, alone]


def test_a_good_run_is_left_alone(config: dict) -> None:
    composed = compose(config, {"model.optimizer.learning_rate": 1e-4})
    assert composed.fit().last().step == 6


def test_what_lies_behind_a_part_of_deepspeeds_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from roots.callbacks.stability import _local

    weight = torch.nn.Parameter(torch.empty(0))
    weight.ds_numel, weight.ds_tensor = 5, torch.tensor([1.0, 2.0, math.nan])
    for rank, expected in ((0, 3), (1, 2), (2, 0)):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        assert len(_local(weight)) == expected
