"""Layers cut over ranks against one device: a launch of two ranks and one of four do everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from test_fsdp import (
    MUON,
    assert_close,
    assert_equal,
    checkpoint_of,
    copy_of,
    evaluated,
    first_step,
    go_on,
    train,
)
from test_split_invariance import assert_same_gradient, series
from tiny import LLAMA, tiny_config
from transformers import AutoModelForCausalLM

from roots.fit import compose
from roots.objectives import NextToken
from roots.plan.footprint import Way
from roots.plan.memory import of_groups, planner_of
from roots.plan.target import Target
from roots.strategies import FSDP
from roots.strategies.sharded_files import read_file, read_whole

pytestmark = pytest.mark.heavy

STEPS = 20
DROPOUT = {"hidden_dropout": 0.2, "attention_dropout": 0.2}
NETWORKS: dict[str, dict[str, Any]] = {
    # 33 columns on each rank, which two shards do not divide
    "llama": {**LLAMA, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 66},
    "qwen3": {**LLAMA, "model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 16}
    | {"tie_word_embeddings": False},
    "gpt_neox": {**LLAMA, "model_type": "gpt_neox", "hidden_dropout": 0.0}
    | {"attention_dropout": 0.0, "tie_word_embeddings": False},
}
HALF = {"trainer.max_steps": 3}
LONG = {"trainer.max_steps": STEPS, "trainer.val_every_steps": 10}
ON_FOUR = {
    "tensor": {},
    "shards": {"sharded_checkpoints": True},
    "copies": {"replicas": 2},
    "often": {"reduce_every_micro_batch": True, "activation_checkpointing": "full"},
}
ELASTIC = (
    ("one", "tensor_parallel"),
    ("tensor", "tensor_parallel"),
    ("tensor", "ddp"),
    ("shards", "tensor_parallel"),
    ("shards", "fsdp"),
)


def tensor(**others: Any) -> dict[str, Any]:
    arguments = {"tensor_parallel": 2, **others}
    return {"trainer.strategy": {"class_path": "roots.strategies.FSDP", "init_args": arguments}}


def config_of(shards: Path, runs: Path, network: str, **changes: Any) -> dict[str, Any]:
    config = tiny_config(shards, runs)
    arguments = {"config": {**NETWORKS[network], **changes}, "attention": "sdpa"}
    config["model"]["init_args"]["network"]["init_args"] = arguments
    return config


def steps_of(shards: Path, folder: Path, overrides: dict[str, Any]) -> dict[Any, Any]:
    """The first step and many steps of each network."""
    done: dict[Any, Any] = {}
    for network in NETWORKS:
        config = config_of(shards, folder, network)
        done["first", network] = first_step(config, {**overrides, "model.micro_batch_size": 2})
        done["long", network] = train(config_of(shards, folder, network), {**overrides, **LONG})[1]
    return done


def losses_of_this_rank(config: dict[str, Any], overrides: dict[str, Any]) -> list[float]:
    """What each micro-batch costs here, and not summed over ranks."""
    composed, losses = compose(config, {**overrides, **HALF, "trainer.val_every_steps": 0}), []

    class Counted(NextToken):
        def from_hidden(self, *inputs: Any) -> Any:
            score = super().from_hidden(*inputs)
            losses.append(float(score.loss.detach()))
            return score

    composed.model.objective = Counted
    composed.fit()
    return losses


def on_two_ranks(shards: Path, folder: Path) -> dict[Any, Any]:
    strategy = {"trainer.strategy": "tensor_parallel"}
    done = steps_of(shards, folder, strategy)
    config = config_of(shards, folder, "gpt_neox", **DROPOUT)
    done["dropout"] = losses_of_this_rank(config, strategy)
    config = config_of(shards, folder, "qwen3")
    config["model"]["init_args"]["optimizer"] = MUON
    done["muon"] = train(config, strategy)[1]
    return done


def on_four_ranks(shards: Path, folder: Path, half_of_one: str) -> dict[Any, Any]:
    done: dict[Any, Any] = {}
    for network in NETWORKS:
        config = config_of(shards, folder, network)
        done["first", network] = first_step(config, {**tensor(), "model.micro_batch_size": 2})
    done["long"] = train(config_of(shards, folder, "llama"), {**tensor(), **LONG})[1]
    for name, arguments in ON_FOUR.items():
        sizes = {**tensor(**arguments), "model.micro_batch_size": 1}
        done["first", name] = first_step(config_of(shards, folder, "llama"), sizes)
    for name in ("tensor", "shards"):
        overrides = {**tensor(**ON_FOUR[name]), **HALF}
        done["half", name], _ = train(config_of(shards, folder, "llama"), overrides)
    halves = {
        "one": half_of_one,
        "tensor": done["half", "tensor"],
        "shards": done["half", "shards"],
    }
    for first, then in ELASTIC:
        done[first, then] = go_on(copy_of(halves[first]), f"--trainer.strategy={then}")
    done["evaluated"] = evaluated(done["half", "shards"])
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tensor")


@pytest.fixture(scope="module")
def alone(shards: Path, folder: Path) -> dict[Any, Any]:
    done = steps_of(shards, folder / "alone", {})
    done["half"], _ = train(config_of(shards, folder / "alone", "llama"), HALF)
    done["evaluated"] = evaluated(done["half"])
    config = config_of(shards, folder / "alone", "gpt_neox", **DROPOUT)
    done["dropout"] = losses_of_this_rank(config, {})
    config = config_of(shards, folder / "alone", "qwen3")
    config["model"]["init_args"]["optimizer"] = MUON
    done["muon"] = train(config, {})[1]
    return done


@pytest.fixture(scope="module")
def both(shards: Path, folder: Path) -> list[dict[Any, Any]]:
    """What each of two ranks does that share the layers."""
    return run_ranks(on_two_ranks, shards, folder / "two", timeout=280)


@pytest.fixture(scope="module")
def four(shards: Path, folder: Path, alone: dict[str, Any]) -> dict[Any, Any]:
    """What four ranks do, in two pairs."""
    half = alone["half"]
    return run_ranks(on_four_ranks, shards, folder / "four", half, ranks=4, timeout=400)[0]


def assert_same_start(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours["weights"].keys() == theirs["weights"].keys()
    assert all((ours["weights"][name] == value).all() for name, value in theirs["weights"].items())
    assert_same_gradient(ours["gradient"], theirs["gradient"])


@pytest.mark.parametrize("network", NETWORKS)
def test_two_ranks_that_share_layers_begin_as_one_device_and_make_its_gradient(
    both: list, alone: dict, network: str
) -> None:
    for rank in both:
        assert_same_start(rank["first", network], alone["first", network])


@pytest.mark.parametrize("network", NETWORKS)
def test_twenty_steps_of_shared_layers_follow_those_of_one_device(
    both: list, alone: dict, network: str
) -> None:
    assert len(alone["long", network]) == STEPS
    for rank in both:
        assert_close(rank["long", network], alone["long", network], rtol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_each_rank_holds_what_the_plan_says(
    both: list, shards: Path, tmp_path: Path, network: str
) -> None:
    composed = compose(config_of(shards, tmp_path, network))
    model, data = composed.model, composed.data
    model.learn_of(data)
    target = Target("cuda", "a device", None, 2)
    planner = of_groups(planner_of(composed.trainer, model, data, target), FSDP(tensor_parallel=2))
    assert planner.target.ranks == 1
    held = planner.held(1)
    for rank in both:
        first = rank["first", network]
        assert 4 * first["held"] == held.parameters - held.buffers < 4 * first["all"]
    assert planner.footprint(Way("fsdp", 1), 2).total > held.parameters


def test_dropout_between_shared_layers_is_the_same_on_all_ranks_that_share_them(
    both: list, alone: dict
) -> None:
    """Within the heads it is not that of one device: each rank draws for its own."""
    first, second = (rank["dropout"] for rank in both)
    assert first == second
    assert first[0] != alone["dropout"][0]
    assert first[0] == pytest.approx(alone["dropout"][0], rel=0.05)


def test_muon_steps_shared_layers_as_on_one_device(both: list, alone: dict) -> None:
    for name in ("train/loss", "val/loss"):  # its products are made in bfloat16
        ours, theirs = series(both[0]["muon"], name), series(alone["muon"], name)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0)


# -- two by two -----------------------------------------------------------------------------------


@pytest.mark.slow  # four ranks
@pytest.mark.parametrize("network", NETWORKS)
def test_two_pairs_are_one_device(four: dict, alone: dict, network: str) -> None:
    assert_same_start(four["first", network], alone["first", network])


@pytest.mark.slow
def test_twenty_steps_of_two_pairs_follow_those_of_one_device(four: dict, alone: dict) -> None:
    assert_close(four["long"], alone["long", "llama"], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_FOUR)
def test_two_pairs_make_the_gradient_of_one_device_in_every_way(
    four: dict, alone: dict, name: str
) -> None:
    assert_same_start(four["first", name], alone["first", "llama"])


@pytest.mark.slow
def test_a_rank_of_two_pairs_holds_a_fourth_of_the_layers(four: dict) -> None:
    first = four["first", "qwen3"]
    outside = 2 * 300 * 32  # embeddings and head, which only the pairs have between them
    assert first["held"] == pytest.approx((first["all"] - outside) / 4 + outside / 2, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), ELASTIC)
def test_checkpoints_go_from_shared_layers_to_other_strategies_and_back(
    four: dict, expected: list[dict], first: str, then: str
) -> None:
    assert_close(four[first, then], expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["tensor", "shards"])
def test_one_process_goes_on_from_shared_layers(
    four: dict, expected: list[dict], first: str
) -> None:
    rows = go_on(copy_of(four["half", first]), "--trainer.strategy=single_device")
    assert_close(rows, expected, rtol=1e-5)


@pytest.fixture(scope="module")
def expected(alone: dict[str, Any]) -> list[dict[str, str]]:
    """One process that goes on with the checkpoint of one process."""
    return go_on(copy_of(alone["half"]))


@pytest.mark.slow
def test_shards_put_together_are_bitwise_what_is_gathered(four: dict) -> None:
    folder = checkpoint_of(four["half", "shards"]).trainer_file
    assert len(list(folder.glob("*.safetensors"))) == 4
    assert_equal(read_whole(folder), read_file(checkpoint_of(four["half", "tensor"]).trainer_file))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensor", "shards"])
def test_transformers_opens_the_folder_with_the_logits_of_one_device(
    four: dict, alone: dict, name: str
) -> None:
    tokens = torch.arange(24).remainder(300).view(2, 12)
    ours, theirs = (
        AutoModelForCausalLM.from_pretrained(checkpoint_of(path).path)(input_ids=tokens).logits
        for path in (four["half", name], alone["half"])
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_rows_that_two_ranks_share_are_counted_once(four: dict, alone: dict) -> None:
    (metrics, rows), (expected_metrics, expected_rows) = four["evaluated"], alone["evaluated"]
    assert metrics == pytest.approx(expected_metrics, rel=1e-5)
    assert [row["sample"] for row in rows] == list(range(len(expected_rows)))
    for row, other in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(other, rel=1e-4)
