"""A network is compared with what it was before training, wherever and however it is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from preferred import NAMES, adapted, log_probs, preference_config, preferences
from taught import numbers, rows_of
from tiny_chat import write_chat_network

from roots.cli import run as command
from roots.errors import CheckpointError, ConfigError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.fit.micro_batch_size import fits_on_device
from roots.plan.footprint import Way
from roots.plan.memory import planner_of

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chat_network(tmp_path_factory.mktemp("networks") / "tiny-chat")


@pytest.fixture
def config(network: Path, tmp_path: Path) -> dict[str, Any]:
    return preference_config(network, tmp_path, preferences(49, 0))


# -- the reference ---------------------------------------------------------------------------------


def test_an_adapter_switched_off_is_a_copy_of_the_network_before_training(
    config: dict[str, Any], network: Path
) -> None:
    composed = compose(adapted(config), {"trainer.max_steps": 6})
    seen: list[torch.Tensor] = []

    def ask_both(*_: Any) -> None:
        trainable = composed.model.trainable
        if composed.trainer.global_step < 4:
            return
        batch = composed.data.split("train").batch(composed.data.order.samples(0), 0)
        trained = [p.requires_grad for p in trainable.parameters()]
        state = torch.random.get_rng_state()
        said = trainable.companion(trainable.objective, batch).reference
        assert torch.equal(state, torch.random.get_rng_state())  # nothing was dropped
        assert [p.requires_grad for p in trainable.parameters()] == trained
        assert trainable.network.training
        assert not any(m._disable_adapters for m in trainable.modules() if hasattr(m, "lora_A"))
        split, pairs = composed.data.split("train"), composed.data.order.samples(0).tolist()
        expected = torch.tensor([log_probs(network, split, n) for n in pairs], dtype=torch.float64)
        torch.testing.assert_close(said.double(), expected, rtol=1e-5, atol=0)
        seen.append(said)

    composed.model.on_train_batch_start = ask_both
    run = composed.fit()
    assert len(seen) == 2
    assert torch.equal(*seen)
    rows = rows_of(run)
    assert float(rows[-1]["val/margin"]) != 0
    assert "reference: the network without its adapter" in composed.model.remarks


def test_rewards_beside_an_adapter_are_those_beside_a_second_network(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """A merged adapter, compared with its base as a run of its own, has the same margin."""
    composed = compose(adapted(config, dropout=0.0), {"trainer.max_steps": 6})
    run = composed.fit()
    out = tmp_path / "merged"
    assert command(["export", "--run", str(run.path), "--merge", "--to", str(out)]) == 0
    step = run.best().step
    last = next(row for row in rows_of(run) if row["val/margin"] and int(row["step"]) == step)
    split, folder = composed.data.split("val"), config["model"]["init_args"]["network"]
    base = Path(folder["init_args"]["path"])
    margins = []
    for pair in range(len(split)):
        now, before = log_probs(out, split, pair), log_probs(base, split, pair)
        margins.append(0.1 * ((now[0] - before[0]) - (now[1] - before[1])))
    expected = sum(margins) / len(margins)
    assert float(last["val/margin"]) == pytest.approx(expected, rel=1e-3)


def test_the_reference_is_in_no_checkpoint_and_drops_nothing(network: Path, tmp_path: Path) -> None:
    folder = write_chat_network(tmp_path / "dropping", attention_dropout=0.3)
    config = preference_config(folder, tmp_path, preferences(49, 0))
    composed = compose(config)
    said: list[torch.Tensor] = []

    def ask(*_: Any) -> None:
        batch = composed.data.split("train").batch(composed.data.order.samples(0), 0)
        trainable = composed.model.trainable
        said.append(trainable.companion(trainable.objective, batch).reference)

    composed.model.on_train_batch_start = ask
    run = composed.fit()
    assert len(said) == 6
    assert all(torch.equal(each, said[0]) for each in said)
    state = torch.load(run.last().trainer_file, weights_only=True)
    assert set(state["reference"]) == {"path", "revision", "sha256"}
    own = composed.model.trainable.network.state_dict()
    assert state["state_dict"].keys() == {f"trainable.network.{name}" for name in own}
    assert composed.model.trainable.companion is None  # it was let go


def killed(config: dict[str, Any], after: int) -> str:
    """A run that got to a step with its last checkpoint before it."""
    half = compose(config, {"trainer.checkpoint_every_steps": 3})

    class Killed(Exception):
        pass

    def stop(*_: Any) -> None:
        if half.trainer.global_step == after:
            raise Killed

    half.model.on_train_batch_start = stop
    with pytest.raises(Killed):
        half.fit()
    return str(half.trainer.run.path)


@pytest.mark.parametrize("adapts", [False, True])
def test_a_run_that_goes_on_is_the_run_that_was_not_interrupted(
    config: dict[str, Any], adapts: bool
) -> None:
    config = adapted(config) if adapts else config
    whole = compose(config, {"trainer.checkpoint_every_steps": 3}).fit()
    where = killed(config, 4)  # in the middle of an epoch of five steps
    run = resumed(where, {}, [])[0].fit()
    torch.testing.assert_close(
        numbers(run, *NAMES), numbers(whole, *NAMES), rtol=0, atol=0, equal_nan=True
    )


def test_other_weights_at_the_start_are_refused_when_a_run_goes_on_or_is_measured(
    tmp_path: Path,
) -> None:
    start = write_chat_network(tmp_path / "start")
    weights = (start / "model.safetensors").read_bytes()
    config = preference_config(start, tmp_path, preferences(49, 0))
    where = killed(config, 4)
    write_chat_network(start, initializer_range=0.2)
    words = r"compared with the weights of .*start .* are others now .*Bring the old ones back"
    with pytest.raises(CheckpointError, match=words):
        resumed(where, {}, [])
    with pytest.raises(CheckpointError, match=words):
        command(["validate", "--run", where])
    (start / "model.safetensors").write_bytes(weights)  # the cure
    assert command(["validate", "--run", where]) == 0
    resumed(where, {}, [])[0].fit()


# -- with what it works ----------------------------------------------------------------------------


def test_ranks_that_share_layers_are_refused(config: dict[str, Any]) -> None:
    shares = {"class_path": "roots.strategies.FSDP", "init_args": {"tensor_parallel": 2}}
    words = r"tensor_parallel=2 is not tried with the second network.*strategy to ddp"
    with pytest.raises(ConfigError, match=words):
        compose(config, {"trainer.strategy": shares, "trainer.devices": 2})


def test_the_plan_counts_the_reference_once_where_there_is_a_second_network(
    config: dict[str, Any], planner: Callable[[Any], Any]
) -> None:
    composed = compose(config)
    composed.model.learn_of(composed.data)
    found = planner(composed)
    weights = found.held(1).parameters
    assert found.footprint(Way("single_device", 1), 4).parts["reference"] == weights
    cut = found.footprint(Way("fsdp", 2, 2), 4).parts
    assert cut["reference"] == pytest.approx(weights / 2, rel=0.01)
    beside = compose(adapted(config))
    beside.model.learn_of(beside.data)
    assert "reference" not in planner(beside).footprint(Way("single_device", 1), 4).parts


def test_how_many_pairs_fit_is_planned_and_tried_with_the_reference_beside(
    config: dict[str, Any],
) -> None:
    settings = {"trainer.max_steps": 3, "trainer.val_every_steps": 0}
    composed = compose(config, {**settings, "model.micro_batch_size": "auto"})
    tried: list[bool] = []

    def attempt(*_: Any) -> None:
        tried.append(fits_on_device(composed.trainer, composed.model, 2, reserve=1024))

    composed.model.on_train_batch_start = attempt
    run = composed.fit()
    assert tried == [True] * 3
    assert composed.model.micro_batch_size == 8
    given = compose(config, {**settings, "model.micro_batch_size": 8}).fit()
    names = ("train/loss", "train/margin", "optim/grad_norm")
    torch.testing.assert_close(numbers(run, *names), numbers(given, *names), rtol=0, atol=0)


@pytest.fixture
def planner() -> Callable[[Any], Any]:
    return lambda composed: planner_of(composed.trainer, composed.model, composed.data, None)
