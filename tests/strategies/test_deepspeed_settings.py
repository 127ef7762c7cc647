"""What DeepSpeed is told, and what is refused when a run is composed, without DeepSpeed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from roots.errors import CheckpointError, ConfigError, MissingExtra
from roots.fit import compose
from roots.plan.memory import memory_of, planner_of
from roots.plan.zero import zero_parts
from roots.strategies import DeepSpeed, strategy_named
from roots.strategies.deepspeed_config import read_config
from roots.strategies.zero import package
from roots.strategies.zero_optimizer import ZeroOptimizer


def zero(**arguments: Any) -> dict[str, Any]:
    return {"class_path": "roots.strategies.DeepSpeed", "init_args": arguments}


def composed_with(run: dict[str, Any], overrides: dict[str, Any], **arguments: Any) -> Any:
    return compose(run, {"trainer.strategy": zero(**arguments), **overrides})


# -- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "instead"),
    [
        ("train_batch_size", 32, r"set data\.sequences_per_step"),
        ("train_micro_batch_size_per_gpu", 4, r"set model\.micro_batch_size"),
        ("gradient_accumulation_steps", 8, r"data\.sequences_per_step and model\.micro_batch_size"),
        ("gradient_clipping", 1.0, r"set model\.clip_norm"),
        ("optimizer", {"type": "AdamW"}, r"model\.optimizer to roots\.optim\.AdamW"),
        ("scheduler", {"type": "WarmupLR"}, r"set model\.schedule"),
        ("fp16", {"enabled": True}, r"set trainer\.precision to bf16-mixed"),
        ("bf16", {"enabled": True}, r"set trainer\.precision to bf16-true"),
    ],
)
def test_what_a_run_says_itself_is_refused_with_where_it_does(
    config: dict[str, Any], key: str, value: Any, instead: str
) -> None:
    told = f"sets {key}: "
    with pytest.raises(ConfigError, match=f"{told}.*{instead}"):
        composed_with(config, {}, config={key: value})
    composed_with(config, {}, config={})  # the cure


@pytest.mark.parametrize(
    ("block", "value"), [("stage", 0), ("compute_grad_norm", False), ("zenflow", {})]
)
def test_blocks_that_make_another_step_are_refused(block: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"zero_optimization\.{block}: "):
        read_config({"zero_optimization": {block: value}})


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"zero_optimisation.*did you mean 'zero_optimization'"):
        read_config({"zero_optimisation": {"stage": 2}})


def test_a_block_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"zero_optimization is 3\. Make it a block"):
        read_config({"zero_optimization": 3})


def test_the_file_of_another_trainer_is_read_where_it_leaves_the_rest_open(tmp_path: Path) -> None:
    """What the Hugging Face trainer's examples hold: it fills in `auto`."""
    others = {
        "fp16": {"enabled": "auto", "loss_scale": 0},
        "bf16": {"enabled": "auto"},
        "train_batch_size": "auto",
        "gradient_clipping": "auto",
        "zero_optimization": {"stage": 3, "overlap_comm": True, "reduce_bucket_size": "auto"},
    }
    file = tmp_path / "ds.json"
    file.write_text(json.dumps(others))
    assert read_config(str(file)) == {"zero_optimization": {"stage": 3, "overlap_comm": True}}


@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_the_file_wins_over_the_typed_settings_where_it_speaks(
    config: dict[str, Any], tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"ds.{ending}"
    said = {"zero_optimization": {"stage": 3, "offload_optimizer": {"pin_memory": True}}}
    text = json.dumps(said) if ending == "json" else "zero_optimization:\n  stage: 3\n"
    file.write_text(text)
    composed = composed_with(config, {}, stage=1, offload_optimizer="cpu", config=str(file))
    strategy = composed.trainer.strategy
    assert isinstance(strategy, DeepSpeed)
    assert strategy.stage == 3
    assert not strategy.builds_whole
    assert strategy.zero["offload_optimizer"]["device"] == "cpu"
    assert strategy.zero["offload_optimizer"].get("pin_memory", True)
    assert composed.config["trainer"]["strategy"]["init_args"]["config"] == str(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "There is no DeepSpeed configuration"),
        ("- 1\n", "holds list"),
        ("{a: [", "is no YAML"),
    ],
)
def test_a_file_that_holds_no_configuration_is_refused(
    tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "ds.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        DeepSpeed(config=str(file))


# -- the typed settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words", "cure"),
    [
        ({"stage": 4}, "stage=4.*Set it to 1.* 2 .* or 3", {"stage": 3}),
        ({"offload_optimizer": "gpu"}, "offload_optimizer='gpu'.*none, cpu, nvme", {}),
        ({"nvme_path": "/disk"}, "nvme_path='/disk' is used by nothing", {}),
        ({"offload_parameters": "cpu"}, "Stage 2 cannot keep parameters in cpu", {"stage": 3}),
        (
            {"offload_optimizer": "nvme", "nvme_path": "/disk"},
            "optimizer's state in nvme.*offload_optimizer to cpu",
            {"stage": 3, "nvme_path": "/disk", "offload_optimizer": "nvme"},
        ),
        (
            {"stage": 3, "offload_optimizer": "nvme"},
            "offload_optimizer goes to nvme.*Set nvme_path",
            {"stage": 3, "offload_optimizer": "nvme", "nvme_path": "/disk"},
        ),
    ],
)
def test_settings_that_no_stage_has_are_refused(
    arguments: dict[str, Any], words: str, cure: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=words):
        DeepSpeed(**arguments)
    DeepSpeed(**cure)


@pytest.mark.parametrize(
    ("overrides", "arguments", "words"),
    [
        ({"trainer.precision": "16-mixed"}, {}, r"precision=16-mixed.*bf16-mixed"),
        ({"trainer.precision": "bf16-true"}, {"stage": 1}, r"bf16-true.*stage to 2"),
        ({"model.micro_batch_size": "auto"}, {}, r"micro_batch_size=auto.*to a number"),
        ({"model.compile": "blocks"}, {}, r"compile=blocks.*model\.compile to none"),
        (
            {"model.optimizer": {"class_path": "roots.optim.Muon"}},
            {},
            r"Muon .*roots\.optim\.AdamW",
        ),
        (
            {"model.optimizer": {"class_path": "roots.optim.AdamW8bit"}},
            {},
            r"AdamW8bit .*roots\.optim\.AdamW",
        ),
        (
            {"trainer.callbacks": [{"class_path": "roots.callbacks.WeightAverage"}]},
            {"stage": 3},
            r"WeightAverage reads the weights.*stage to 2",
        ),
    ],
)
def test_what_does_not_work_together_is_refused_when_a_run_is_composed(
    config: dict[str, Any], overrides: dict[str, Any], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        composed_with(config, overrides, **arguments)


def test_what_only_stage_3_or_1_refuses_works_in_stage_2(config: dict[str, Any]) -> None:
    callbacks = [{"class_path": "roots.callbacks.WeightAverage"}]
    overrides = {"trainer.precision": "bf16-true", "trainer.callbacks": callbacks}
    assert composed_with(config, overrides, stage=2).trainer.strategy.builds_whole


def test_it_has_a_name_and_needs_a_device_that_it_knows() -> None:
    assert isinstance(strategy_named("deepspeed", torch.device("cpu"), 2), DeepSpeed)
    with pytest.raises(ConfigError, match=r"strategy=deepspeed.*mps"):
        strategy_named("deepspeed", torch.device("mps"), 1)


def test_without_the_package_a_fit_says_how_to_install_it_and_writes_nothing(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")  # and back
    with pytest.raises(MissingExtra, match=r"pip install 'roots-lm\[deepspeed\]'.*to fsdp"):
        package("cpu")
    composed = compose(config, {"trainer.strategy": "deepspeed"})
    with pytest.raises(MissingExtra, match=r"pip install -e '\.\[deepspeed\]'"):
        composed.fit()
    assert not Path(config["trainer"]["runs_dir"]).exists()


# -- the plan -------------------------------------------------------------------------------------


def test_the_plan_counts_what_each_device_holds_and_says_what_it_does_not_know(
    config: dict[str, Any],
) -> None:
    composed = composed_with(
        config, {"trainer.devices": 2}, stage=3, offload_optimizer="cpu", offload_parameters="none"
    )
    composed.model.learn_of(composed.data)
    planner = planner_of(composed.trainer, composed.model, composed.data)
    n = sum(p.numel() for p in planner.empty().parameters())
    here, elsewhere = zero_parts(planner, composed.trainer.strategy)
    assert here["gradients"] == 2 * n
    assert here["parameters"] == pytest.approx(2 * n, rel=0.02)  # and buffers
    assert elsewhere == {"optimizer state": 4 * n, "float32 weights": 2 * n}
    ((_, words),), table = memory_of(planner, composed.trainer)
    assert words.startswith("deepspeed, stage 3: ")
    assert "offloaded: optimizer state" in words
    assert words.endswith(
        "not counted: activations, DeepSpeed's buffers and the weights it gathers"
    )
    assert "fsdp" in table


# -- a state --------------------------------------------------------------------------------------


class Engine:
    """As much of DeepSpeed's engine as a state is checked with."""

    def __init__(self, parameters: list[Any]) -> None:
        self.optimizer = self
        self.param_groups = [{"params": parameters, "name": "decayed"}]


@pytest.mark.parametrize(
    ("dtype", "states", "words"),
    [
        (torch.float32, {0: {}, 1: {}}, "lacks exp_avg, exp_avg_sq for 2 of 2"),
        (
            torch.bfloat16,
            {n: {"exp_avg": 0, "exp_avg_sq": 0} for n in (0, 1)},
            "lacks exp_avg, exp_avg_sq, master for 2 of 2.*trainer.precision",
        ),
    ],
)
def test_the_state_of_another_run_is_refused(dtype: Any, states: dict, words: str) -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2, dtype=dtype)) for _ in range(2)]
    optimizer = ZeroOptimizer(None, Engine(parameters), [parameters])
    group = {"name": "decayed", "params": [0, 1]}
    for params, found in (([0, 1], words), ([0, 1, 2], "has 3 parameters, .* network has 2")):
        with pytest.raises(CheckpointError, match=found):
            optimizer.load_state_dict(
                {"state": states, "param_groups": [{**group, "params": params}]}
            )
    with pytest.raises(CheckpointError, match="parameter groups other, and this run's has decayed"):
        optimizer.load_state_dict({"state": states, "param_groups": [{**group, "name": "other"}]})
