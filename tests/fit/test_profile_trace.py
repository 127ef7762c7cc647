"""Traces of torch's profiler: what runs in the backward pass finds the part of its forward."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import profile, record_function
from torch.utils.checkpoint import checkpoint

from roots.fit.profile import Books, balance, read_trace
from roots.fit.profile.parts import (
    ATTENTION,
    BACKWARD_RANGE,
    COMPILED,
    LOSS,
    PARTS,
    PRODUCTS,
    REST,
    STEP_RANGE,
)


class Block(nn.Module):
    """Two products with something to fuse between them."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm, self.down = nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.norm(self.up(x).tanh()))


def ranged(part: str, call: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with record_function(part):
        return call(x)


def traced(forward: Callable[[], Tensor], folder: Path, *, shapes: bool = False) -> tuple:
    """The profiler and the trace of one step, forward and backward."""
    with profile(record_shapes=shapes) as profiler, record_function(STEP_RANGE):
        loss = forward()
        with record_function(BACKWARD_RANGE):
            loss.backward()
    profiler.export_chrome_trace(str(folder / "trace.json.gz"))
    return profiler, read_trace(folder / "trace.json.gz")


def booked(forward: Callable[[], Tensor], folder: Path) -> Books:
    _, trace = traced(forward, folder)
    return balance(trace, trace, held_bytes=0)


def places(trace, name: str) -> set[tuple[str, str]]:
    return {(e.place.part, e.place.phase) for e in trace.events if e.name == name}


def test_a_node_of_the_backward_pass_belongs_to_the_part_of_its_operation(tmp_path: Path) -> None:
    x = torch.randn(8, 8, requires_grad=True)

    def forward() -> Tensor:
        with record_function(REST):
            h = ranged(ATTENTION, torch.exp, x)
            h = ranged(PRODUCTS, torch.tanh, h)
            h = ranged(ATTENTION, torch.sigmoid, h)
        return ranged(LOSS, lambda h: h.cos().sum(), h)

    _, trace = traced(forward, tmp_path)
    for node, part in (
        ("ExpBackward0", ATTENTION),
        ("TanhBackward0", PRODUCTS),
        ("SigmoidBackward0", ATTENTION),
        ("CosBackward0", LOSS),
        ("SumBackward0", LOSS),
        ("torch::autograd::AccumulateGrad", ATTENTION),  # exp's gradient goes to the leaf
        ("aten::tanh_backward", PRODUCTS),
    ):
        assert places(trace, node) == {(part, "backward")}, node
        engine = f"autograd::engine::evaluate_function: {node}"
        assert places(trace, engine) <= {(part, "backward")}, node
    assert places(trace, "aten::exp") == {(ATTENTION, "forward")}


def test_every_numbered_node_finds_its_operation_over_several_passes(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 1))

    def forward() -> Tensor:
        losses = [ranged(LOSS, network, torch.randn(4, 8)).sum() for _ in range(3)]
        return torch.stack(losses).sum()

    _, trace = traced(forward, tmp_path)
    nodes = [e for e in trace.events if e.name in ("AddmmBackward0", "NativeLayerNormBackward0")]
    assert len(nodes) == 9
    assert {(e.place.part, e.place.phase) for e in nodes} == {(LOSS, "backward")}


def test_recomputed_activations_are_the_backward_pass_of_their_own_part(tmp_path: Path) -> None:
    x = torch.randn(8, 8, requires_grad=True)

    def block(x: Tensor) -> Tensor:
        return ranged(ATTENTION, torch.exp, ranged(PRODUCTS, torch.tanh, x))

    _, trace = traced(lambda: checkpoint(block, x, use_reentrant=False).sum(), tmp_path)
    assert places(trace, "aten::exp") == {(ATTENTION, "forward"), (ATTENTION, "backward")}
    assert places(trace, "aten::tanh") == {(PRODUCTS, "forward"), (PRODUCTS, "backward")}
    assert places(trace, "TanhBackward0") == {(PRODUCTS, "backward")}


def test_the_books_balance_and_agree_with_torchs_own_sums(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))
    rows = torch.randn(256, 64)
    profiler, trace = traced(lambda: ranged(LOSS, network, rows).sum(), tmp_path)
    books = balance(trace, trace, held_bytes=0)
    assert sum(books.of_part(part) for part in PARTS) == pytest.approx(books.wall_seconds)
    assert books.unattributed_seconds == pytest.approx(0, abs=1e-9)
    own = {row.key: row.self_cpu_time_total * 1e-6 for row in profiler.key_averages()}
    ours: dict[str, float] = {}
    for operation in books.slowest:
        ours[operation.name] = ours.get(operation.name, 0) + operation.seconds
    compared = {"aten::addmm", "aten::tanh"} & ours.keys()
    assert compared
    for name in compared:
        assert ours[name] == pytest.approx(own[name], rel=0.02, abs=2e-6)


def test_autocast_doubles_no_product(tmp_path: Path) -> None:
    network, rows = nn.Linear(16, 4, bias=False), torch.randn(8, 16, requires_grad=True)

    def forward() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network(rows).sum()

    _, trace = traced(forward, tmp_path, shapes=True)
    books = balance(trace, trace, held_bytes=0)
    assert sum(books.flops.values()) == 3 * 2 * 8 * 16 * 4  # one forward, two backward


@pytest.mark.slow
def test_a_compiled_region_is_told_by_names_and_the_rest_is_said_to_be_compiled(
    tmp_path: Path,
) -> None:
    network = Block()
    network.compile()
    rows = torch.randn(256, 64)
    network(rows).sum().backward()
    books = booked(lambda: ranged(REST, network, rows).sum(), tmp_path)
    for part in (PRODUCTS, COMPILED):
        for phase in ("forward", "backward"):
            assert books.seconds[part, phase] > 0
    assert books.unattributed_seconds == pytest.approx(0, abs=1e-9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kernels_of_the_backward_pass_find_their_part_and_the_books_balance(tmp_path: Path) -> None:
    x = torch.randn(2048, 2048, device="cuda", requires_grad=True)
    (x @ x).sum().backward()
    torch.cuda.synchronize()

    def forward() -> Tensor:
        return ranged(LOSS, lambda x: x.cos().sum(), ranged(PRODUCTS, lambda x: x @ x, x))

    with profile() as profiler, record_function(STEP_RANGE):
        loss = forward()
        with record_function(BACKWARD_RANGE):
            loss.backward()
        torch.cuda.synchronize()
    profiler.export_chrome_trace(str(tmp_path / "trace.json"))
    trace = read_trace(tmp_path / "trace.json")
    books = balance(trace, trace, held_bytes=0)
    assert books.seconds[PRODUCTS, "backward"] > books.seconds[PRODUCTS, "forward"] > 0
    assert books.seconds[LOSS, "backward"] > 0
    assert books.unattributed_seconds == pytest.approx(0, abs=1e-9)
