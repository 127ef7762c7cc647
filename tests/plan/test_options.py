"""Which ways to split a run there are, which fit, and which the plan takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ranks import run_ranks
from test_activations import composed_of, empty, plugin
from tiny import tiny_config

from roots.errors import ConfigError
from roots.fit import choosing, compose
from roots.fit.choosing import chosen, strategy_of
from roots.plan.activations import Recomputation
from roots.plan.depth import DEPTHS, alike, cut_to
from roots.plan.footprint import BACKWARD_PASS, Footprint, Planner, Way
from roots.plan.options import Option, best_of, options_of, sizes_for, taken
from roots.plan.rows import planned_rows
from roots.plan.target import Target
from roots.plan.words import table_of
from roots.strategies import DDP, FSDP

pytestmark = pytest.mark.heavy

DEEP = {"num_hidden_layers": 10, "hidden_size": 256, "intermediate_size": 512}


def planner(
    composed: Any, usable: int | None, *, ranks: int = 4, nodes: int = 1, precision: str = "32"
) -> Planner:
    target = Target("cuda", "a device", usable, ranks, nodes)
    return Planner(
        composed.model, composed.data, lambda: empty(composed.model), plugin(precision), target
    )


@pytest.fixture
def deep(shards: Path, masked_shards: Path, tmp_path: Path) -> Any:
    return composed_of("llama", shards, masked_shards, tmp_path, config=DEEP)


def needs(deep: Any, way: Way, rows: int) -> int:
    return planner(deep, None).footprint(way, rows).total


@pytest.mark.slow
def test_a_deep_network_needs_what_running_all_of_it_says(
    deep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = [
        Way("ddp", 4),
        Way("fsdp", 4, 4, Recomputation("full")),
        Way("fsdp", 4, 4, Recomputation("selective")),
    ]
    quick = [planner(deep, None).footprint(way, 2) for way in ways]
    assert alike(empty(deep.model)) == 10 > max(DEPTHS)
    monkeypatch.setattr("roots.plan.footprint.alike", lambda network: 0)
    whole = [planner(deep, None).footprint(way, 2) for way in ways]
    for one, other in zip(quick, whole, strict=True):
        assert one.total == pytest.approx(other.total, rel=0.005)
        assert one.parts.keys() == other.parts.keys()


def test_a_network_of_different_blocks_is_run_whole(deep: Any) -> None:
    network = empty(deep.model)
    network.config.layer_types = ["full_attention", "sliding_attention"] * 5
    assert alike(network) == 0
    cut_to(network, 3)
    assert len(network.base_model.layers) == 3


def test_the_plan_takes_ddp_then_cuts_then_computes_again(deep: Any) -> None:
    ddp = needs(deep, Way("ddp", 4), 2)
    cut = needs(deep, Way("fsdp", 4, 4), 2)
    least = needs(deep, Way("fsdp", 4, 4, Recomputation("full")), 2)
    assert ddp > cut > least
    way, why = chosen(planner(deep, ddp), 2)
    assert way == Way("ddp", 4)
    way, why = chosen(planner(deep, ddp - 1), 2)
    assert way == Way("fsdp", 4, 4)
    assert "ddp would need" in why
    way, why = chosen(planner(deep, cut - 1), 2)
    assert way.cuts
    assert way.recomputation.mode != "none"
    assert "ddp would need" in why
    assert "fsdp would need" in why
    way, why = chosen(planner(deep, 1000), 2)
    assert "still more than a device has free" in why


def test_weights_on_the_host_take_nothing_of_a_device(deep: Any) -> None:
    here = planner(deep, None)
    how = {"reduce_every_micro_batch": True}
    usual = here.footprint(Way("fsdp", 4, 4, **how), 2)
    on_host = here.footprint(Way("fsdp", 4, 4, **how, cpu_offload=True), 2)
    held = here.held(4)
    assert usual.moment == on_host.moment == BACKWARD_PASS
    gone = held.parameters - held.buffers + held.gradients + held.state
    assert on_host.total == usual.total - gone
    assert on_host.parts["parameters"] == held.buffers > 0
    waiting = here.footprint(Way("fsdp", 4, 4, cpu_offload=True), 1)
    assert waiting.parts["gradients"] == 4 * held.gradients  # whole, until the last micro-batch


def test_one_device_cuts_nothing_and_machines_get_copies(deep: Any) -> None:
    def ways(**how: Any) -> set[str]:
        return {option.way.strategy for option in options_of(planner(deep, None, **how), only=1)}

    assert ways(ranks=1) == {"single_device", "fsdp"}
    assert ways(ranks=4) == {"ddp", "fsdp"}
    assert ways(ranks=4, nodes=2) == {"ddp", "fsdp", "hsdp"}


def test_what_the_code_refuses_is_refused_here_in_its_words(
    shards: Path, masked_shards: Path, tmp_path: Path
) -> None:
    composed = composed_of("llama", shards, masked_shards, tmp_path, **{"model.compile": "network"})
    options = options_of(planner(composed, None), only=1)
    refused = [option for option in options if option.refused]
    assert {option.way.strategy for option in refused} == {"fsdp"}
    assert all("Set model.compile to blocks" in option.refused for option in refused)
    assert "refused: compile=network" in table_of(options, planner(composed, None).target)


def test_copies_within_machines_send_less_between_them(deep: Any) -> None:
    found = planner(deep, None, nodes=2)
    across = found.footprint(Way("fsdp", 4, 4), 2)
    within = found.footprint(Way("hsdp", 4, 2), 2)
    assert within.crossing < across.crossing == across.sent
    assert planner(deep, None).footprint(Way("fsdp", 4, 4), 2).crossing == 0


def test_a_gradient_is_sent_and_received_once(deep: Any) -> None:
    """A ring of four: each gradient's other three quarters go out twice, to be summed and told."""
    gradients = 4 * sum(p.numel() for p in empty(deep.model).parameters())
    assert planner(deep, None).footprint(Way("ddp", 4), 1).sent == round(2 * gradients * 3 / 4)


def test_the_best_is_the_first_that_fits_with_its_largest_micro_batch(deep: Any) -> None:
    found = planner(deep, needs(deep, Way("ddp", 4), 1), ranks=4)
    options = options_of(found)
    best = best_of(options, found.target)
    assert best is not None
    assert best[0].way.strategy == "ddp"
    table = table_of(options, found.target)
    assert table.splitlines()[-1] == f"best: ddp, micro_batch_size {best[1]}"
    nothing = planner(deep, 1000)
    assert best_of(options, nothing.target) is None
    assert "Nothing fits into" in table_of(options, nothing.target)


def test_sizes_are_powers_of_two_and_all_of_a_share() -> None:
    assert sizes_for(1) == [1]
    assert sizes_for(6) == [1, 2, 4, 6]
    assert sizes_for(6, also=3) == [1, 2, 3, 4, 6]
    assert sizes_for(6, also=9) == [1, 2, 4, 6]
    assert sizes_for(480, also=3) == [1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 480]


def test_of_many_rows_in_a_step_a_few_that_fit_are_found_and_shown(
    shards: Path, masked_shards: Path, tmp_path: Path
) -> None:
    composed = composed_of("llama", shards, masked_shards, tmp_path)
    composed.data.seq_len, composed.data.sequences_per_step = 16, 160
    found, way = planner(composed, None, ranks=1), Way("single_device", 1)
    sizes = sizes_for(160, also=3)
    option = Option(way, {n: found.footprint(way, n, between=(1, 160)) for n in sizes})
    one, two, three = (option.sizes[n].total for n in (1, 2, 3))
    assert one < two < three
    found.target = replace(found.target, usable_bytes=two)
    assert planned_rows(found, way)[0] == option.largest(two) == 2
    table = table_of([option], found.target, also=3)
    shown = table.splitlines()[1].split("sent")[0].split()
    assert {"1", "2", "3", "160"} <= set(shown)
    assert len(shown) <= 8 < len(sizes)


def test_the_fullest_moment_may_be_the_optimizers(
    shards: Path, masked_shards: Path, tmp_path: Path
) -> None:
    """Float32 copies of the gradients of many weights outweigh a row of a few tokens."""
    composed = composed_of("llama", shards, masked_shards, tmp_path, config=DEEP)
    composed.data.seq_len = 4
    found = planner(composed, None, ranks=1, precision="bf16-true")
    footprint: Footprint = found.footprint(Way("single_device", 1), 1)
    assert footprint.moment == "optimizer step"
    assert footprint.parts["float32 gradients"] == footprint.parts["float32 weights"]


def test_a_way_becomes_the_strategy_that_goes_it() -> None:
    assert isinstance(strategy_of(Way("ddp", 4)), DDP)
    made = strategy_of(Way("hsdp", 8, 4, Recomputation("full"), reduce_every_micro_batch=True))
    assert isinstance(made, FSDP)
    assert (made.replicas, made.activation_checkpointing) == (2, "full")
    assert made.reduce_every_micro_batch


def test_on_cpus_auto_stays_what_it_was(config: dict[str, Any]) -> None:
    composed = compose(config, {"trainer.strategy": "auto"})
    assert type(composed.trainer.strategy).__name__ == "SingleDevice"
    assert not composed.model.remarks


def planned_and_trained(shards: Path, folder: Path, usable: int) -> tuple[str, str, Any, float]:
    """As on two GPUs with so much memory each; it is trained on CPUs."""
    choosing.target_here = lambda settings: Target("cuda", "a device", usable, 2, 1)
    composed = compose(tiny_config(shards, folder), {"model.micro_batch_size": 2})
    composed.fit()
    said = next(remark for remark in composed.model.remarks if remark.startswith("strategy: "))
    loss = float(composed.model.last_step.loss)
    return type(composed.trainer.strategy).__name__, said, composed.config["trainer"], loss


def test_two_ranks_train_with_what_the_plan_chose(shards: Path, tmp_path: Path) -> None:
    losses = []
    for usable, name in ((2**40, "DDP"), (100, "FSDP")):
        first, second = run_ranks(planned_and_trained, shards, tmp_path, usable)
        assert first == second
        kind, said, trainer, loss = first
        assert kind == name
        assert trainer["strategy"] == "auto"  # another number of devices chooses anew
        assert "chosen by the plan: " in said
        losses.append(loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_ranks_that_do_not_divide_the_sequences_are_refused(config: dict[str, Any]) -> None:
    from roots.plan import plan_run

    composed = compose(config)
    target = Target("cuda", "NVIDIA H200", 2**40, 3, 1)
    with pytest.raises(ConfigError, match=r"sequences_per_step=8 .* 3 ranks"):
        plan_run(composed.trainer, composed.model, composed.data, target=target, memory=True)


def test_the_plan_names_the_way_that_the_run_takes_with_its_micro_batches(deep: Any) -> None:
    ddp = needs(deep, Way("ddp", 4), 2)
    for usable in (ddp, ddp - 1, 1000):
        asked = planner(deep, usable)
        assert taken(options_of(asked, only=2), asked.target) == chosen(asked, 2)[0]
    small = planner(deep, needs(deep, Way("ddp", 4), 1))  # one row fits, and two are asked for
    assert best_of(options_of(small, also=2), small.target)[0].way.strategy == "ddp"
    assert taken(options_of(small, only=2), small.target).strategy == "fsdp"
