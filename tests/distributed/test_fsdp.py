"""Sharded training against one device: one launch of two ranks does everything, the tests read."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.distributed as dist
from ranks import run_ranks
from test_split_invariance import assert_same_gradient, rows_of, series
from tiny import LLAMA, tiny_config
from transformers import AutoModelForCausalLM

from roots.fit import compose
from roots.fit.compose import from_run, resumed
from roots.fit.predictions import gathered
from roots.networks import compiled_so_far
from roots.objectives import NextToken
from roots.runs import Run
from roots.strategies import fsdp
from roots.strategies.sharded_files import read_file, read_whole

pytestmark = pytest.mark.heavy

MICRO_BATCHES = (1, 2, 4)
STEPS = 20
RECOMPUTED = (("full", 1), ("full", 2), ("selective", 1))
MUON = {"class_path": "roots.optim.Muon", "init_args": {"learning_rate": 3e-3}}
SHARDS = {"class_path": "roots.strategies.FSDP", "init_args": {"sharded_checkpoints": True}}
SHARDED_OFTEN = {
    "trainer.strategy": SHARDS,
    "trainer.checkpoint_every_steps": 2,
    "trainer.val_every_steps": 0,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "resid_pdrop": 0.0}
    | {"embd_pdrop": 0.0, "attn_pdrop": 0.0},
    # its logits are capped: the network's own forward is run
    "gemma2": {**LLAMA, "num_key_value_heads": 1, "head_dim": 16},
    "qwen3_moe": {**LLAMA, "num_key_value_heads": 1, "num_experts": 4, "num_experts_per_tok": 2}
    | {"moe_intermediate_size": 16},
}
FSDP = {"trainer.strategy": "fsdp"}
HALF = {"trainer.max_steps": 3}
WAYS = (("one", "fsdp"), ("shards", "ddp"))
MORE_WAYS = (("ddp", "fsdp"), ("fsdp", "fsdp"), ("shards", "fsdp"), ("fsdp", "ddp"))


def changed(
    shards: Path, runs: Path, *, tied: bool = True, optimizer: Any = None, family: str = ""
) -> dict:
    config = tiny_config(shards, runs)
    arguments = config["model"]["init_args"]
    network = {**LLAMA, "tie_word_embeddings": tied}
    if family:
        network = {**FAMILIES[family], "model_type": family}
    attention = "eager" if family else "sdpa"
    arguments["network"]["init_args"] = {"config": network, "attention": attention}
    arguments["optimizer"] = optimizer or arguments["optimizer"]
    return config


def with_recomputed(mode: str, every: int) -> dict[str, Any]:
    arguments = {"activation_checkpointing": mode, "checkpoint_every_blocks": every}
    strategy = {"class_path": "roots.strategies.FSDP", "init_args": arguments}
    return {"trainer.strategy": strategy, "model.micro_batch_size": 1}


def on_the_host() -> dict[str, Any]:
    arguments = {"cpu_offload": True, "reduce_every_micro_batch": True}
    return {
        "trainer.strategy": {"class_path": "roots.strategies.FSDP", "init_args": arguments},
        "model.micro_batch_size": 1,
    }


def averaged(config: dict) -> dict:
    average = {"class_path": "roots.callbacks.WeightAverage", "init_args": {"decay": 0.5}}
    config["trainer"]["callbacks"] = [average]
    return config


def train(config: dict, overrides: dict[str, Any]) -> tuple[str, list[dict[str, str]]]:
    composed = compose(config, overrides)
    run = composed.fit()
    return str(run.path), rows_of(run)


def train_and_sample(
    shards: Path, folder: Path, overrides: dict[str, Any]
) -> tuple[list[str], list[dict[str, str]]]:
    """Trains, and continues a prompt every ten steps, taking the likeliest token."""
    config = changed(shards, folder)
    arguments = {"prompts": ["the cat"], "every_steps": 10, "max_tokens": 6, "temperature": 0.0}
    samples = {"class_path": "roots.callbacks.Samples", "init_args": arguments}
    config["trainer"]["callbacks"] = [samples]
    path, rows = train(config, overrides)
    return Path(path, "samples.jsonl").read_text().splitlines(), rows


def go_on(path: str, *flags: str) -> list[dict[str, str]]:
    composed, _ = resumed(path, {}, ["--trainer.max_steps=6", *flags])
    return rows_of(composed.fit())


def whole(tensor: torch.Tensor) -> Any:
    full = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.detach().clone().numpy()


def held(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def first_step(config: dict, overrides: dict[str, Any]) -> dict[str, Any]:
    """Trains one step; gives the weights it began with and the gradient, unclipped."""
    caught: dict[str, Any] = {"weights": {}, "gradient": {}, "losses": 0, "held": 0, "all": 0}
    composed = compose(
        config,
        {
            "model.clip_norm": ".inf",
            "model.schedule.warmup_steps": 0,
            "trainer.max_steps": 1,
            "trainer.val_every_steps": 0,
            **overrides,
        },
    )

    def keep(*_: Any) -> None:
        for name, parameter in composed.model.trainable.named_parameters():
            caught["weights"][name] = whole(parameter)
            caught["held"] += held(parameter).numel()
            caught["all"] += parameter.numel()
            caught["gradient"][name] = whole(parameter.grad)

    class Counted(NextToken):
        def from_hidden(self, *inputs: Any) -> Any:
            caught["losses"] += torch.is_grad_enabled()
            return super().from_hidden(*inputs)

    composed.model.objective = Counted
    composed.model.on_before_optimizer_step = keep
    composed.fit()
    return caught


def numbers(rows: list[dict[str, str]]) -> list[tuple[str, ...]]:
    """What must be equal bit by bit: everything that is not a time."""
    names = ("step", "train/loss", "optim/grad_norm", "optim/learning_rate", "val/loss")
    return [tuple(row[name] for name in names) for row in rows]


class PowerCut(L.Callback):
    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == 5:
            raise RuntimeError("power cut")


def interrupted_and_resumed(config: dict, strategy: dict[str, Any]) -> tuple[list, list]:
    overrides = {**strategy, "trainer.deterministic": True, "trainer.checkpoint_every_steps": 4}
    _, undisturbed = train(config, overrides)
    composed = compose(config, overrides)
    composed.trainer.callbacks.insert(0, PowerCut())
    with pytest.raises(RuntimeError, match="power cut"):
        composed.fit()
    torch.distributed.barrier()  # the first rank may still be writing the checkpoint of step 4
    return numbers(undisturbed), numbers(go_on(str(composed.trainer.run.path)))


def pretrained(config: dict, folder: Path) -> dict:
    network = {"class_path": "roots.networks.Pretrained", "init_args": {"path": str(folder)}}
    config["model"]["init_args"]["network"] = network
    return config


def first_steps(shards: Path, folder: Path) -> dict[Any, Any]:
    done: dict[Any, Any] = {}
    for tied, rows in itertools.product((True, False), MICRO_BATCHES):
        sizes = {**FSDP, "model.micro_batch_size": rows}
        done["first", tied, rows] = first_step(changed(shards, folder, tied=tied), sizes)
    for mode, every in RECOMPUTED:
        recomputed = with_recomputed(mode, every)
        done["first", mode, every] = first_step(changed(shards, folder), recomputed)
    arguments = {"reduce_every_micro_batch": True, "reshard_after_forward": False}
    often = {"class_path": "roots.strategies.FSDP", "init_args": arguments}
    overrides = {"trainer.strategy": often, "model.micro_batch_size": 1}
    done["first", "often"] = first_step(changed(shards, folder), overrides)
    for family in FAMILIES:
        done["first", family] = first_step(changed(shards, folder, family=family), FSDP)
    loaded = pretrained(changed(shards, folder), folder.parent / "published")
    done["first", "pretrained"] = first_step(loaded, FSDP)
    fsdp.check_offload = lambda devices: None  # on a CPU it moves nothing, and does all else
    done["first", "offload"] = first_step(changed(shards, folder), on_the_host())
    two = {"class_path": "roots.strategies.FSDP", "init_args": {"replicas": 2}}
    overrides = {"trainer.strategy": two, "model.micro_batch_size": 2}
    done["first", "replicas"] = first_step(changed(shards, folder, tied=False), overrides)
    return done


def whole_runs(shards: Path, folder: Path) -> dict[Any, Any]:
    long = {**FSDP, "trainer.max_steps": STEPS, "trainer.val_every_steps": 10}
    texts, rows = train_and_sample(shards, folder, long)
    return {
        "texts": texts,
        "long": rows,
        "muon": train(changed(shards, folder, optimizer=MUON), FSDP),
        "resumed": interrupted_and_resumed(changed(shards, folder), FSDP),
    }


def in_bfloat16(shards: Path, folder: Path) -> dict[Any, Any]:
    return {
        precision: train(changed(shards, folder), {**FSDP, "trainer.precision": precision})
        for precision in ("bf16-mixed", "bf16-true")
    }


def half_runs(shards: Path, folder: Path) -> dict[Any, Any]:
    done: dict[Any, Any] = {}
    for first, strategy in (("fsdp", "fsdp"), ("ddp", "ddp"), ("shards", SHARDS)):
        overrides = {**HALF, "trainer.strategy": strategy}
        done["half", first], _ = train(changed(shards, folder), overrides)
    return done


def in_two_formats(shards: Path, folder: Path) -> dict[Any, Any]:
    """Gone on with from shards and from a gathered checkpoint."""
    done: dict[Any, Any] = {}
    for precision, optimizer in (("bf16-true", None), ("32", MUON)):
        for name, strategy in (("shards", SHARDS), ("fsdp", "fsdp")):
            overrides = {**HALF, "trainer.strategy": strategy, "trainer.precision": precision}
            path, _ = train(changed(shards, folder, optimizer=optimizer), overrides)
            done[name, precision] = go_on(path)
    return done


def averaged_runs(shards: Path, folder: Path) -> dict[Any, Any]:
    done: dict[Any, Any] = {}
    for name, strategy in (("shards", SHARDS), ("fsdp", "fsdp")):
        overrides = {**HALF, "trainer.strategy": strategy}
        path, _ = train(averaged(changed(shards, folder)), overrides)
        done["average", name], done["average there", name] = copy_of(path), evaluated(path)[0]
        done["average, then", name] = go_on(path)
    return done


def gone_on(halves: dict[str, str], ways: Any) -> dict[Any, Any]:
    return {
        (first, then): go_on(copy_of(halves[first]), f"--trainer.strategy={then}")
        for first, then in ways
    }


def everything(shards: Path, folder: Path, half_of_one: str) -> dict[Any, Any]:
    """What two ranks do in the default tests, in one launch."""
    done = {
        **first_steps(shards, folder / "first"),
        **whole_runs(shards, folder / "whole"),
        **half_runs(shards, folder / "half"),
    }
    halves = {"one": half_of_one, "shards": done["half", "shards"]}
    return {**done, **gone_on(halves, WAYS), "evaluated": evaluated(halves["shards"])}


def the_rest(shards: Path, folder: Path, half_of_one: str) -> dict[Any, Any]:
    """What two ranks do in the slow tests."""
    halves = {first: path for (_, first), path in half_runs(shards, folder / "half").items()}
    return {
        **in_bfloat16(shards, folder / "bfloat16"),
        **in_two_formats(shards, folder / "formats"),
        **averaged_runs(shards, folder / "averaged"),
        **gone_on({"one": half_of_one, **halves}, MORE_WAYS),
    }


def evaluated(path: str) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Validates and predicts with the last checkpoint of a run."""
    validating = from_run(path, "last", [])
    validating.evaluate("validate")
    predicting = from_run(path, "last", [])
    rows = gathered(predicting.trainer, predicting.evaluate("predict"))
    return validating.trainer.latest, rows


def copy_of(path: str) -> str:
    """A copy of a run that the ranks agree on, so that it can be gone on with twice."""
    agreed = [f"{path}-copy-{uuid.uuid4().hex}"]
    if dist.is_initialized():
        dist.broadcast_object_list(agreed)
    if not dist.is_initialized() or dist.get_rank() == 0:
        shutil.copytree(path, agreed[0])
    if dist.is_initialized():
        dist.barrier()
    return agreed[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fsdp")


@pytest.fixture(scope="module")
def alone(shards: Path, folder: Path) -> dict[str, Any]:
    """What one process does."""

    def config(part: str, **changes: Any) -> dict:
        return changed(shards, folder / "alone" / part, **changes)

    done: dict[Any, Any] = {}
    done["half"], _ = train(config("half"), HALF)
    shutil.copytree(checkpoint_of(done["half"]).path, folder / "published")
    for tied in (True, False):
        done["first", tied] = first_step(config("first", tied=tied), {})
    long = {"trainer.max_steps": STEPS, "trainer.val_every_steps": 10}
    done["texts"], done["long"] = train_and_sample(shards, folder / "alone" / "long", long)
    done["muon"] = train(config("muon", optimizer=MUON), {})
    for family in FAMILIES:
        done["first", family] = first_step(config("first", family=family), {})
    loaded = pretrained(config("first"), folder / "published")
    done["first", "pretrained"] = first_step(loaded, {})
    done["evaluated"] = evaluated(done["half"])
    return done


@pytest.fixture(scope="module")
def sharded(shards: Path, folder: Path, alone: dict[str, Any]) -> dict[str, Any]:
    """What two ranks do; both must say the same."""
    first, second = run_ranks(everything, shards, folder, alone["half"], timeout=280)
    assert first["long"] == second["long"]
    return first


@pytest.fixture(scope="module")
def more(shards: Path, folder: Path, alone: dict[str, Any]) -> dict[str, Any]:
    """What two ranks do in the slow tests."""
    return run_ranks(the_rest, shards, folder / "more", alone["half"], timeout=280)[0]


def assert_close(rows: list[dict], expected: list[dict], *, rtol: float) -> None:
    assert len(rows) == len(expected)
    for name in ("train/loss", "optim/grad_norm", "val/loss", "val/bits_per_byte"):
        torch.testing.assert_close(series(rows, name), series(expected, name), rtol=rtol, atol=0)


@pytest.mark.parametrize("tied", [True, False])
def test_the_weights_are_bitwise_those_of_one_device(
    sharded: dict, alone: dict, tied: bool
) -> None:
    drawn = sharded["first", tied, 1]["weights"]
    expected = alone["first", tied]["weights"]
    assert drawn.keys() == expected.keys()
    assert all((drawn[name] == value).all() for name, value in expected.items())


@pytest.mark.parametrize("rows", MICRO_BATCHES)
@pytest.mark.parametrize("tied", [True, False])
def test_every_micro_batch_size_makes_the_gradient_of_one_device(
    sharded: dict, alone: dict, tied: bool, rows: int
) -> None:
    assert_same_gradient(sharded["first", tied, rows]["gradient"], alone["first", tied]["gradient"])


@pytest.mark.parametrize("network", [*FAMILIES, "pretrained"])
def test_other_architectures_and_published_weights_make_the_gradient_of_one_device(
    sharded: dict, alone: dict, network: str
) -> None:
    ours, theirs = sharded["first", network], alone["first", network]
    assert all((ours["weights"][name] == value).all() for name, value in theirs["weights"].items())
    assert_same_gradient(ours["gradient"], theirs["gradient"])


def test_each_rank_holds_its_part_only(sharded: dict, alone: dict) -> None:
    ours, theirs = sharded["first", False, 1], alone["first", False]
    assert theirs["held"] == theirs["all"] == ours["all"]
    assert ours["held"] == pytest.approx(ours["all"] / 2, rel=0.01)


def test_summing_after_every_micro_batch_makes_the_same_gradient(
    sharded: dict, alone: dict
) -> None:
    assert_same_gradient(sharded["first", "often"]["gradient"], alone["first", True]["gradient"])


def test_weights_that_lie_on_the_host_make_the_same_gradient(sharded: dict, alone: dict) -> None:
    assert_same_gradient(sharded["first", "offload"]["gradient"], alone["first", True]["gradient"])


def test_copies_make_the_gradient_of_one_device(sharded: dict, alone: dict) -> None:
    copies = sharded["first", "replicas"]
    assert_same_gradient(copies["gradient"], alone["first", False]["gradient"])


@pytest.mark.parametrize(("mode", "every"), RECOMPUTED)
def test_recomputed_activations_make_bitwise_the_same_gradient_and_the_loss_once(
    sharded: dict, mode: str, every: int
) -> None:
    kept, recomputed = sharded["first", True, 1], sharded["first", mode, every]
    assert recomputed["losses"] == kept["losses"] == 4
    for name, gradient in kept["gradient"].items():
        assert (recomputed["gradient"][name] == gradient).all(), name


def test_twenty_steps_follow_those_of_one_device(sharded: dict, alone: dict) -> None:
    assert len(alone["long"]) == STEPS
    assert_close(sharded["long"], alone["long"], rtol=1e-4)


def test_all_ranks_sample_together_what_one_device_samples(sharded: dict, alone: dict) -> None:
    assert len(alone["texts"]) == 2
    assert sharded["texts"] == alone["texts"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_bfloat16_learns_what_one_device_learns(
    more: dict, alone: dict, shards: Path, tmp_path: Path, precision: str
) -> None:
    """Eight bits of a product are kept, so a loss of 5.5 may differ by about a hundredth."""
    ours = more[precision][1]
    theirs = train(changed(shards, tmp_path), {"trainer.precision": precision})[1]
    for name in ("train/loss", "val/loss"):
        torch.testing.assert_close(series(ours, name), series(theirs, name), rtol=2e-3, atol=0)
    assert series(ours, "train/loss").tolist() != series(alone["long"], "train/loss")[:6].tolist()


def test_muon_steps_as_on_one_device(sharded: dict, alone: dict) -> None:
    ours, theirs = sharded["muon"][1], alone["muon"][1]
    for name in ("train/loss", "val/loss"):  # its products are made in bfloat16
        torch.testing.assert_close(series(ours, name), series(theirs, name), rtol=1e-3, atol=0)


# -- checkpoints --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected(alone: dict[str, Any]) -> list[dict[str, str]]:
    """One process that goes on with the checkpoint of one process."""
    return go_on(copy_of(alone["half"]))


@pytest.mark.parametrize(("first", "then"), WAYS)
def test_a_run_goes_on_under_another_strategy(
    sharded: dict, expected: list[dict], first: str, then: str
) -> None:
    assert_close(sharded[first, then], expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), MORE_WAYS)
def test_every_strategy_goes_on_from_every_checkpoint(
    more: dict, expected: list[dict], first: str, then: str
) -> None:
    assert_close(more[first, then], expected, rtol=1e-5)


@pytest.mark.parametrize("first", ["fsdp", "shards"])
def test_one_process_goes_on_from_a_sharded_run(
    sharded: dict, expected: list[dict], first: str
) -> None:
    rows = go_on(copy_of(sharded["half", first]), "--trainer.strategy=single_device")
    assert_close(rows, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-true", "32"])
def test_shards_hold_what_a_gathered_checkpoint_holds(more: dict, precision: str) -> None:
    """Also with float32 master weights, and with Muon (in float32)."""
    assert numbers(more["shards", precision]) == numbers(more["fsdp", precision])


def test_shards_put_together_are_bitwise_what_is_gathered(sharded: dict) -> None:
    folder = checkpoint_of(sharded["half", "shards"]).trainer_file
    assert len(list(folder.glob("*.safetensors"))) == 2
    gathered = read_file(checkpoint_of(sharded["half", "fsdp"]).trainer_file)
    assert_equal(read_whole(folder), gathered)


def assert_equal(tree: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(tree, expected)
    elif isinstance(expected, dict):
        assert tree.keys() == expected.keys()
        for key in expected.keys() - {"hyper_parameters", "callbacks"}:
            assert_equal(tree[key], expected[key])
    elif isinstance(expected, list):
        for one, other in zip(tree, expected, strict=True):
            assert_equal(one, other)
    else:
        assert tree == expected


def test_a_checkpoint_loads_as_plain_values_and_is_that_of_one_process(
    sharded: dict, alone: dict
) -> None:
    ours = torch.load(checkpoint_of(sharded["muon"][0]).trainer_file, weights_only=True)
    theirs = torch.load(checkpoint_of(alone["muon"][0]).trainer_file, weights_only=True)
    assert shapes(ours) == shapes(theirs)


def checkpoint_of(path: str) -> Any:
    return Run(path).last()


def shapes(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tuple(tree.shape), tree.dtype
    if isinstance(tree, dict):
        return {key: shapes(value) for key, value in tree.items()}
    return type(tree)


def test_the_folder_is_one_that_transformers_opens_with_the_same_logits(
    sharded: dict, alone: dict
) -> None:
    tokens = torch.arange(24).remainder(300).view(2, 12)
    logits = []
    for path in (sharded["half", "fsdp"], sharded["half", "ddp"], alone["half"]):
        network = AutoModelForCausalLM.from_pretrained(checkpoint_of(path).path)
        assert network.dtype == torch.float32
        logits.append(network(input_ids=tokens).logits)
    assert logits[0].shape == (2, 12, 300)
    for other in logits[:2]:
        torch.testing.assert_close(other, logits[2], rtol=0, atol=1e-5)


def test_validation_and_prediction_of_two_ranks_are_those_of_one(
    sharded: dict, alone: dict
) -> None:
    (metrics, rows), (expected, expected_rows) = sharded["evaluated"], alone["evaluated"]
    assert metrics == pytest.approx(expected, rel=1e-5)
    assert [row["sample"] for row in rows] == list(range(len(expected_rows)))
    for row, other in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(other, rel=1e-4)


@pytest.fixture(scope="module")
def average_of_one(shards: Path, folder: Path) -> tuple[dict[str, float], list[dict[str, str]]]:
    """What one process measures, and how it goes on."""
    path, _ = train(averaged(changed(shards, folder / "average")), HALF)
    return evaluated(path)[0], go_on(copy_of(path))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shards", "fsdp"])
def test_the_average_of_sharded_weights_is_measured_saved_and_gone_on_with(
    more: dict, alone: dict, average_of_one: tuple, name: str
) -> None:
    measured, then = average_of_one
    here = more["average there", name]
    assert here == pytest.approx(measured, rel=1e-5)
    assert here["val/loss"] != pytest.approx(alone["evaluated"][0]["val/loss"], rel=1e-5)
    assert_close(more["average, then", name], then, rtol=1e-5)
    rows = go_on(copy_of(more["average", name]), "--trainer.strategy=single_device")
    assert_close(rows, then, rtol=1e-5)


def test_an_interrupted_sharded_run_goes_on_bitwise(sharded: dict) -> None:
    undisturbed, resumed_rows = sharded["resumed"]
    assert undisturbed == resumed_rows
    assert len(undisturbed) == 6


# -- more than two ranks ------------------------------------------------------------------------


def copies_and_shards(shards: Path, folder: Path) -> dict[str, Any]:
    arguments = {"replicas": 2, "sharded_checkpoints": True}
    strategy = {"class_path": "roots.strategies.FSDP", "init_args": arguments}
    sizes = {"trainer.strategy": strategy, "model.micro_batch_size": 1}
    first = first_step(changed(shards, folder), sizes)
    path, _ = train(changed(shards, folder), {**sizes, "trainer.max_steps": 3})
    return {"first": first, "path": path, "rows": go_on(copy_of(path)), "copy": copy_of(path)}


@pytest.mark.slow  # four ranks
def test_two_copies_of_two_shards_train_and_are_saved_as_one_device(
    shards: Path, folder: Path, alone: dict, expected: list[dict]
) -> None:
    four = run_ranks(copies_and_shards, shards, folder / "four", ranks=4, timeout=200)
    assert_same_gradient(four[0]["first"]["gradient"], alone["first", True]["gradient"])
    assert_close(four[0]["rows"], expected, rtol=1e-5)
    shards_of = checkpoint_of(four[0]["copy"]).trainer_file.glob("*.safetensors")
    assert len(list(shards_of)) >= 2
    assert_close(go_on(four[0]["copy"], "--trainer.strategy=single_device"), expected, rtol=1e-5)


# -- compiled -----------------------------------------------------------------------------------


def compiled(shards: Path, folder: Path, mode: str) -> dict[str, Any]:
    arguments = {"activation_checkpointing": mode}
    strategy = {"class_path": "roots.strategies.FSDP", "init_args": arguments}
    overrides = {"trainer.strategy": strategy, "model.compile": "blocks"}
    torch.compiler.reset()
    with torch.compiler.set_stance("default", force_backend="aot_eager"):
        caught = first_step(changed(shards, folder), overrides)
    return {**caught, "graphs": compiled_so_far().graphs}


@pytest.mark.slow  # the compiler takes a while
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("mode", ["none", "full", "selective"])
def test_compiled_blocks_make_the_gradient_of_one_device(
    shards: Path, tmp_path: Path, alone: dict, mode: str
) -> None:
    for rank in run_ranks(compiled, shards, tmp_path, mode):
        assert rank["graphs"]
        assert_same_gradient(rank["gradient"], alone["first", True]["gradient"])


# -- killed -------------------------------------------------------------------------------------


def killed_in_its_second_save(config: dict, folder: Path) -> None:
    """All have written their shards, behind a later step, when they die; nothing is renamed."""
    write, saves = fsdp.write_shards, []

    def dies(checkpoint: Any, path: Path, **how: Any) -> None:
        saves.append(path)
        write(checkpoint, path, **how)
        if len(saves) == 2:
            (folder / f"rank-{dist.get_rank()}").touch()
            while len(list(folder.glob("rank-*"))) < 2:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    fsdp.write_shards = dies
    compose(config, {**SHARDED_OFTEN, "trainer.deterministic": True}).fit()


@pytest.mark.slow  # three launches
def test_a_run_killed_inside_a_sharded_save_goes_on_bitwise(shards: Path, tmp_path: Path) -> None:
    config = changed(shards, tmp_path / "killed")
    with pytest.raises(AssertionError, match=r"exit codes by rank: \{.*-9"):
        run_ranks(killed_in_its_second_save, config, tmp_path, timeout=60)
    run = Run(next((tmp_path / "killed").glob("tiny/*")))
    assert [checkpoint.step for checkpoint in run.checkpoints()] == [2]
    assert len(list(run.checkpoints_folder.glob(".step-000004*"))) == 1

    overrides = {**SHARDED_OFTEN, "trainer.deterministic": True}
    undisturbed = run_ranks(train, changed(shards, tmp_path / "quiet"), overrides)[0][1]
    assert numbers(run_ranks(go_on, str(run.path))[0]) == numbers(undisturbed)
    assert not list(run.checkpoints_folder.glob(".step-*"))
