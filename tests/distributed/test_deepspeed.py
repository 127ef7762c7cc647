"""ZeRO against one device: two ranks do everything in three launches, the tests read.

`make test-deepspeed` runs it, in an environment that has DeepSpeed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from every_objective import OBJECTIVES, assert_same_figures, every_objective
from every_objective import steps as steps_of
from held_saves import Held, before_writing
from ranks import run_ranks
from test_fsdp import (
    FAMILIES,
    assert_close,
    changed,
    checkpoint_of,
    copy_of,
    evaluated,
    go_on,
    interrupted_and_resumed,
    shapes,
    train,
    train_and_sample,
    whole,
)
from test_own_loss_ranks import OWN, losses, of_class
from test_split_invariance import assert_same_gradient, rows_of, series
from test_unused_weights import big_bird
from tiny import without_pages
from transformers import AutoModelForCausalLM

import roots
from roots.callbacks import recorder
from roots.callbacks.stability import StepRule
from roots.fit import compose
from roots.objectives import NextToken
from roots.runs import Run
from roots.strategies.sharded_files import read_file

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.deepspeed,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # DeepSpeed's own, and its imports'
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:deepspeed"),
    pytest.mark.skipif(
        importlib.util.find_spec("deepspeed") is None,
        reason="needs the package deepspeed: make test-deepspeed",
    ),
]

STAGES = (1, 2, 3)
MICRO_BATCHES = (1, 2, 4)
SOME = ((1, 1), (1, 4), (2, 1), (2, 2), (3, 1), (3, 2), (3, 4))
"""Stages and rows of a micro-batch; a rank has four rows of a step."""
STEPS = 20
LONGEST = 600
OFFLOADED = {2: ("cpu", "none"), 3: ("cpu", "cpu")}
LOW = (("bf16-mixed", 1), ("bf16-mixed", 3), ("bf16-true", 2), ("bf16-true", 3))


def zero(stage: int, **arguments: Any) -> dict[str, Any]:
    """The strategy, with every weight cut however small: usually DeepSpeed leaves those whole."""
    cut = {"zero_optimization": {"stage3_param_persistence_threshold": 0}}
    said = {"stage": stage, "config": cut, **arguments}
    return {"class_path": "roots.strategies.DeepSpeed", "init_args": said}


def under(stage: int, **arguments: Any) -> dict[str, Any]:
    return {"trainer.strategy": zero(stage, **arguments)}


def gradient_of(parameter: Any) -> Any:
    from deepspeed.utils import safe_get_full_grad

    return whole(safe_get_full_grad(parameter))


def weight_of(parameter: Any) -> Any:
    from deepspeed.utils import safe_get_full_fp32_param

    return whole(safe_get_full_fp32_param(parameter))


def held_of(parameter: Any) -> int:
    return int(getattr(parameter, "ds_tensor", parameter).numel())


def first_step(config: dict, overrides: dict[str, Any]) -> dict[str, Any]:
    """Trains one step; gives the weights it began with and the gradient, unclipped."""
    caught: dict[str, Any] = {"losses": 0}
    short = {"model.clip_norm": ".inf", "model.schedule.warmup_steps": 0, "trainer.max_steps": 1}
    composed = compose(config, {**short, "trainer.val_every_steps": 0, **overrides})

    def keep(*_: Any) -> None:
        named = dict(composed.model.trainable.named_parameters())
        caught["weights"] = {name: weight_of(p) for name, p in named.items()}
        caught["gradient"] = {name: gradient_of(p) for name, p in named.items()}
        caught["held"] = sum(map(held_of, named.values()))
        caught["stepped"] = sum(p.numel() for p in composed.trainer.optimizers[0]._parts)

    class Counted(NextToken):
        def from_hidden(self, *inputs: Any) -> Any:
            caught["losses"] += torch.is_grad_enabled()
            return super().from_hidden(*inputs)

    composed.model.objective = Counted
    composed.model.on_before_optimizer_step = keep
    composed.fit()
    return {**caught, "remarks": composed.model.remarks}


class EveryThird(StepRule):
    """Leaves every third step out."""

    def __init__(self) -> None:
        self.asked = 0

    def judge(self, loss: Any, grad_norm: Any) -> Any:
        self.asked += 1
        return torch.tensor(self.asked % 3 == 0)

    def check(self, *_: Any) -> None:
        pass


def train_leaving_out(config: dict, overrides: dict[str, Any]) -> tuple[str, list[dict]]:
    composed = compose(config, overrides)
    composed.trainer.callbacks.insert(0, EveryThird())
    run = composed.fit()
    return str(run.path), rows_of(run)


def counted(config: dict, overrides: dict[str, Any]) -> float:
    """Trains a step, and gives how many operations a token is said to take."""
    short = {"model.schedule.warmup_steps": 0, "trainer.max_steps": 1}
    composed = compose(config, {**overrides, **short, "trainer.val_every_steps": 0})
    composed.fit()
    return composed.trainer._recorder._utilization.flops_per_token[composed.data.seq_len]


def started() -> None:
    """Leaves out what takes longer than the runs: what machine they are on."""
    recorder.describe_environment = lambda *_: {}


def steps(shards: Path, folder: Path) -> dict[Any, Any]:
    """First steps, and twenty of them, by two ranks."""
    started()
    done: dict[Any, Any] = {}
    for stage, size in SOME:
        overrides = {**under(stage), "model.micro_batch_size": size}
        done["first", stage, size] = first_step(changed(shards, folder / "first"), overrides)
    for family in FAMILIES:
        config = changed(shards, folder / "first", family=family)
        done["first", family] = first_step(config, under(3))
    for stage, size in zip(STAGES, MICRO_BATCHES, strict=True):
        long = {"trainer.max_steps": STEPS, "trainer.val_every_steps": 10}
        overrides = {**under(stage), **long, "model.micro_batch_size": size}
        done["long", stage] = train_and_sample(shards, folder / f"long-{stage}", overrides)
        done["long path", stage] = str(next((folder / f"long-{stage}").glob("tiny/*")))
        done["flops", stage] = counted(changed(shards, folder / "first"), under(stage))
    return done


def other_runs(shards: Path, folder: Path) -> dict[Any, Any]:
    """Low precision, offload, and steps left out, by two ranks."""
    started()
    done: dict[Any, Any] = {}
    untied = changed(shards, folder, tied=False)
    done["untied"] = train(untied, under(3))
    for precision, stage in LOW:
        overrides = {**under(stage), "trainer.precision": precision}
        composed = compose(changed(shards, folder), overrides)
        run = composed.fit()
        done[precision, stage] = str(run.path), rows_of(run)
        done["formats", precision, stage] = composed.model.remarks
    for stage, (optimizer, parameters) in OFFLOADED.items():
        places = {"offload_optimizer": optimizer, "offload_parameters": parameters}
        done["offloaded", stage] = train(changed(shards, folder), under(stage, **places))
        done["out", "offloaded", stage] = train_leaving_out(
            changed(shards, folder), under(stage, **places)
        )
    for stage in STAGES:
        done["out", stage] = train_leaving_out(changed(shards, folder), under(stage))
    return done


def saved_both_ways(config: dict, overrides: dict[str, Any]) -> list[str]:
    """Saves behind the steps, two steps late, and within them; gives the runs' directories."""
    runs = []
    for behind in (True, False):
        told = {"trainer.keep_best": 2, "trainer.save_in_background": behind}
        composed, held = compose(config, {**overrides, **told}), Held({3: 5})
        composed.trainer.callbacks.insert(0, held)
        with before_writing(held if behind else lambda flight: None):
            runs.append(str(composed.fit().path))
    return runs


def resumed_runs(shards: Path, folder: Path, half_of_one: str) -> dict[Any, Any]:
    """Runs that stop and go on, by two ranks."""
    started()
    done: dict[Any, Any] = {("half", "one"): half_of_one}
    for stage in STAGES:
        config = changed(shards, folder)
        done["resumed", stage] = interrupted_and_resumed(config, under(stage))
        half = {**under(stage), "trainer.max_steps": 3}
        done["half", stage], _ = train(changed(shards, folder), half)
    low = {**under(3), "trainer.precision": "bf16-true"}
    done["resumed", "bf16-true"] = interrupted_and_resumed(changed(shards, folder), low)
    places = {"offload_optimizer": "cpu", "offload_parameters": "cpu"}
    file = folder / "ds.yaml"
    file.write_text("zero_optimization: {stage: 3, stage3_param_persistence_threshold: 0}\n")
    offloaded = {"class_path": "roots.strategies.DeepSpeed"}
    offloaded["init_args"] = {**places, "config": str(file)}
    for first, strategy in ((1, zero(3)), (3, zero(1)), (2, offloaded), ("one", zero(2))):
        path = copy_of(done["half", first])
        done["then", first] = go_on(path, f"--trainer.strategy={json.dumps(strategy)}")
    done["then", "one, in 3"] = go_on(
        copy_of(half_of_one), f"--trainer.strategy={json.dumps(zero(3))}"
    )
    for stage in STAGES:
        done["saved", stage] = saved_both_ways(changed(shards, folder), under(stage))
    for other in ("ddp", "fsdp"):
        done["then", other] = go_on(copy_of(done["half", 3]), f"--trainer.strategy={other}")
    done["evaluated"] = evaluated(done["half", 3])
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deepspeed")


@pytest.fixture(scope="module")
def no_pages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        without_pages(patch)
        patch.setattr(recorder, "describe_environment", lambda *_: {})
        yield


@pytest.fixture(scope="module")
def alone(shards: Path, folder: Path, no_pages: None) -> dict[str, Any]:
    """What one process does."""
    import test_fsdp

    def config(part: str, **changes: Any) -> dict:
        return changed(shards, folder / "alone" / part, **changes)

    done: dict[Any, Any] = {}
    done["half"], _ = train(config("half"), {"trainer.max_steps": 3})
    done["first"] = test_fsdp.first_step(config("first"), {})
    for family in FAMILIES:
        done["first", family] = test_fsdp.first_step(config("first", family=family), {})
    long = {"trainer.max_steps": STEPS, "trainer.val_every_steps": 10}
    done["long"] = train_and_sample(shards, folder / "alone" / "long", long)
    done["long path"] = str(next((folder / "alone" / "long").glob("tiny/*")))
    done["flops"] = counted(config("flops"), {})
    done["six"] = train(config("six"), {})
    done["untied"] = train(config("untied", tied=False), {})
    for precision in ("bf16-mixed", "bf16-true"):
        done[precision] = train(config(precision), {"trainer.precision": precision})
    done["out"] = train_leaving_out(config("out"), {})
    done["evaluated"] = evaluated(done["half"])
    done["then"] = go_on(copy_of(done["half"]))
    return done


@pytest.fixture(scope="module")
def cut(shards: Path, folder: Path) -> dict[str, Any]:
    """What two ranks do; both must say the same."""
    first, second = run_ranks(steps, shards, folder / "steps", timeout=LONGEST)
    assert all(first["long", stage][1] == second["long", stage][1] for stage in STAGES)
    return first


@pytest.fixture(scope="module")
def others(shards: Path, folder: Path) -> dict[str, Any]:
    return run_ranks(other_runs, shards, folder / "other", timeout=LONGEST)[0]


@pytest.fixture(scope="module")
def continued(shards: Path, folder: Path, alone: dict[str, Any]) -> dict[str, Any]:
    first, *_ = run_ranks(resumed_runs, shards, folder / "on", alone["half"], timeout=LONGEST)
    return first


def of_every_objective(configs: dict[str, dict[str, Any]]) -> dict[Any, Any]:
    started()
    return {
        (name, stage): steps_of(config, gradient_of, zero(stage))
        for name, config in configs.items()
        for stage in STAGES
    }


@pytest.fixture(scope="module")
def objectives(masked_shards: Path, folder: Path, no_pages: None) -> dict[str, Any]:
    """What one device and what two ranks make of every objective."""
    configs = every_objective(folder / "objectives", masked_shards)

    def plain(parameter: Any) -> Any:
        return whole(parameter.grad)

    alone = {name: steps_of(config, plain) for name, config in configs.items()}
    return {**alone, **run_ranks(of_every_objective, configs, timeout=LONGEST)[0]}


# -- the step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_the_weights_are_bitwise_those_of_one_device(cut: dict, alone: dict, stage: int) -> None:
    drawn, expected = cut["first", stage, 1]["weights"], alone["first"]["weights"]
    assert drawn.keys() == expected.keys()
    assert all((drawn[name] == value).all() for name, value in expected.items())


@pytest.mark.parametrize(("stage", "size"), SOME)
def test_every_micro_batch_size_makes_the_gradient_of_one_device(
    cut: dict, alone: dict, stage: int, size: int
) -> None:
    assert_same_gradient(cut["first", stage, size]["gradient"], alone["first"]["gradient"])


@pytest.mark.parametrize("family", FAMILIES)
def test_other_architectures_make_the_gradient_of_one_device(
    cut: dict, alone: dict, family: str
) -> None:
    ours, theirs = cut["first", family], alone["first", family]
    assert all((ours["weights"][name] == value).all() for name, value in theirs["weights"].items())
    assert_same_gradient(ours["gradient"], theirs["gradient"])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_makes_the_gradient_and_the_steps_of_one_device(
    objectives: dict, name: str, stage: int
) -> None:
    made, expected = objectives[name, stage], objectives[name]
    assert_same_gradient(made["gradient"], expected["gradient"])
    assert_same_figures(made, expected)


@pytest.mark.parametrize("stage", STAGES)
def test_where_weights_are_gone_pairs_are_compared_by_logits(objectives: dict, stage: int) -> None:
    said = [remark for remark in objectives["preferences", stage]["remarks"] if "plain" in remark]
    assert len(said) == (stage == 3), said
    assert all("DeepSpeed takes weights away between their uses" in remark for remark in said)


def test_stage_3_holds_its_part_only(cut: dict, alone: dict) -> None:
    assert cut["first", 2, 1]["held"] == alone["first"]["all"]
    assert cut["first", 3, 1]["held"] == pytest.approx(alone["first"]["all"] / 2, rel=0.01)


@pytest.mark.parametrize("stage", STAGES)
def test_each_rank_steps_its_part_only_as_the_plan_counts_it(
    cut: dict, alone: dict, stage: int
) -> None:
    assert cut["first", stage, 1]["stepped"] == pytest.approx(alone["first"]["all"] / 2, rel=0.01)


def test_the_run_says_that_copies_in_float32_are_stepped(others: dict) -> None:
    (said,) = (r for r in others["formats", "bf16-true", 3] if r.startswith("number formats: "))
    assert "parameters bfloat16" in said
    assert "reduction float32" in said
    assert "optimizer float32, and float32 master weights" in said


def test_the_loss_is_fused_with_the_head_and_the_run_says_what_deepspeed_was_told(
    cut: dict, alone: dict
) -> None:
    step = cut["first", 3, 1]
    assert step["losses"] == 4
    assert not [remark for remark in step["remarks"] if remark.startswith("loss: plain")]
    (said,) = (r for r in step["remarks"] if r.startswith("deepspeed: "))
    told = json.loads(said.removeprefix("deepspeed: "))["zero_optimization"]
    assert told["stage"] == 3
    assert told["reduce_bucket_size"] == alone["first"]["all"]


@pytest.mark.parametrize("stage", STAGES)
def test_twenty_clipped_steps_follow_those_of_one_device(
    cut: dict, alone: dict, stage: int
) -> None:
    _, ours = cut["long", stage]
    _, theirs = alone["long"]
    assert (series(theirs, "optim/grad_norm") > 1).any()
    assert_close(ours[:6], theirs[:6], rtol=1e-5)
    assert_close(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_operations_are_counted_as_on_one_device(cut: dict, alone: dict, stage: int) -> None:
    """Two ranks on shared cores measure a peak of their own, so it is taken out."""
    assert cut["flops", stage] == alone["flops"] > 0


@pytest.mark.parametrize("stage", STAGES)
def test_the_weights_after_twenty_steps_are_those_of_one_device(
    cut: dict, alone: dict, stage: int
) -> None:
    ours = read_file(checkpoint_of(cut["long path", stage]).trainer_file)["state_dict"]
    theirs = read_file(checkpoint_of(alone["long path"]).trainer_file)["state_dict"]
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_all_ranks_sample_what_one_device_samples(cut: dict, alone: dict, stage: int) -> None:
    assert len(alone["long"][0]) == 2
    assert cut["long", stage][0] == alone["long"][0]


def test_an_untied_head_learns_as_on_one_device(others: dict, alone: dict) -> None:
    assert_close(others["untied"][1], alone["untied"][1], rtol=1e-5)


@pytest.mark.parametrize("stage", OFFLOADED)
def test_what_lies_on_the_host_learns_as_on_one_device(
    others: dict, alone: dict, stage: int
) -> None:
    assert_close(others["offloaded", stage][1], alone["six"][1], rtol=1e-5)


@pytest.mark.parametrize("how", [*((s,) for s in STAGES), *(("offloaded", s) for s in OFFLOADED)])
def test_a_step_that_is_left_out_changes_nothing(others: dict, alone: dict, how: tuple) -> None:
    (path, ours), (other, theirs) = others[("out", *how)], alone["out"]
    assert_close(ours, theirs, rtol=1e-5)
    states = [read_file(checkpoint_of(p).trainer_file)["optimizer_states"] for p in (path, other)]
    assert states[0][0]["state"][0]["step"] == states[1][0]["state"][0]["step"] == 4


@pytest.mark.parametrize(("precision", "stage"), LOW)
def test_bfloat16_learns_what_one_device_learns(
    others: dict, alone: dict, precision: str, stage: int
) -> None:
    ours, theirs = others[precision, stage][1], alone[precision][1]
    for name in ("train/loss", "val/loss"):
        torch.testing.assert_close(series(ours, name), series(theirs, name), rtol=2e-3, atol=0)
    assert series(ours, "train/loss").tolist() != series(alone["six"][1], "train/loss").tolist()


# -- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [*STAGES, "bf16-true"])
def test_an_interrupted_run_goes_on_bitwise(continued: dict, how: Any) -> None:
    undisturbed, resumed_rows = continued["resumed", how]
    assert undisturbed == resumed_rows
    assert len(undisturbed) == 6


@pytest.mark.parametrize("first", ["one", "one, in 3", 1, 2, 3, "ddp", "fsdp"])
def test_every_strategy_goes_on_from_every_other(continued: dict, alone: dict, first: Any) -> None:
    """The numbers are the stage that was left; it went on in another, or offloaded."""
    assert_close(continued["then", first], alone["then"], rtol=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_one_process_goes_on_from_a_cut_run(continued: dict, alone: dict, stage: int) -> None:
    path = copy_of(continued["half", stage])
    rows = go_on(path, "--trainer.strategy=single_device")
    assert_close(rows, alone["then"], rtol=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_is_plain_and_that_of_one_process(
    continued: dict, alone: dict, stage: int
) -> None:
    ours = torch.load(checkpoint_of(continued["half", stage]).trainer_file, weights_only=True)
    theirs = torch.load(checkpoint_of(alone["half"]).trainer_file, weights_only=True)
    assert shapes(ours) == shapes(theirs)


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_saved_behind_the_steps_is_what_is_saved_within_them(
    continued: dict, stage: int
) -> None:
    behind, within = (Run(path).checkpoints() for path in continued["saved", stage])
    assert [c.step for c in behind] == [c.step for c in within]
    for ours, theirs in zip(behind, within, strict=True):
        assert ours.files == theirs.files  # their sums


@pytest.mark.parametrize("stage", STAGES)
def test_transformers_opens_the_folder_with_the_same_logits(
    continued: dict, alone: dict, stage: int
) -> None:
    tokens = torch.arange(24).remainder(300).view(2, 12)
    logits = [
        AutoModelForCausalLM.from_pretrained(checkpoint_of(path).path)(input_ids=tokens).logits
        for path in (continued["half", stage], alone["half"])
    ]
    assert logits[0].shape == (2, 12, 300)
    torch.testing.assert_close(*logits, rtol=0, atol=1e-5)


def test_validation_and_prediction_of_two_ranks_are_those_of_one(
    continued: dict, alone: dict
) -> None:
    (metrics, rows), (expected, expected_rows) = continued["evaluated"], alone["evaluated"]
    assert metrics == pytest.approx(expected, rel=1e-5)
    assert [row["sample"] for row in rows] == list(range(len(expected_rows)))
    for row, other in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(other, rel=1e-4)


def train_own_loss(shards: Path, runs: Path, strategy: Any) -> str:
    overrides = {"trainer.strategy": strategy, "trainer.max_steps": 4}
    return str(compose(of_class(shards, runs, "HeadInside"), overrides).fit().path)


def test_layers_of_an_own_loss_are_drawn_cut_trained_and_saved_with_the_rest(
    shards: Path, folder: Path, no_pages: None
) -> None:
    alone = train_own_loss(shards, folder / "own", "auto")
    path, _ = run_ranks(train_own_loss, shards, folder / "own", zero(3), timeout=LONGEST)
    assert losses(path) == pytest.approx(losses(alone), rel=1e-4)
    state, expected = (roots.load(each, "last").state_dict() for each in (path, alone))
    for name in OWN:
        torch.testing.assert_close(state[name], expected[name], rtol=1e-3, atol=1e-5)


def go_on_in_every_stage(path: str) -> dict[int, list[dict[str, str]]]:
    started()
    flags = {stage: f"--trainer.strategy={json.dumps(zero(stage))}" for stage in STAGES}
    return {stage: go_on(copy_of(path), flag) for stage, flag in flags.items()}


def test_a_run_with_weights_that_never_had_a_gradient_goes_on(
    masked_shards: Path, folder: Path, no_pages: None
) -> None:
    half = compose(big_bird(masked_shards, folder / "unused", "auto", val_every_steps=3)).fit()
    expected = go_on(copy_of(str(half.path)))
    for rows in run_ranks(go_on_in_every_stage, str(half.path), timeout=LONGEST)[0].values():
        for name in ("train/loss", "optim/grad_norm", "val/loss"):
            both = series(rows, name), series(expected, name)
            torch.testing.assert_close(*both, rtol=1e-4, atol=0)
