"""The books of a profile: every moment is booked once, on the part that it belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roots.fit.profile import balance
from roots.fit.profile.books import Entry, Stretch, claim, memory_at_peak
from roots.fit.profile.flops import flops_of
from roots.fit.profile.parts import (
    ATTENTION,
    CLIPPING,
    COMMUNICATION,
    COMPILED,
    DATA,
    HOST,
    LOSS,
    OPTIMIZER,
    PRODUCTS,
    REST,
    STEP_RANGE,
    Place,
    placed,
)
from roots.fit.profile.trace import Allocation, Trace, understand

MAIN, ENGINE = 1, 2


def row(
    category: str, name: str, start: float, end: float, thread: int = MAIN, **about: Any
) -> Any:
    """A row of a trace file."""
    times = {"ts": start, "dur": end - start, "ph": "X"}
    return {"cat": category, "name": name, "tid": thread, "args": about, **times}


def span(name: str, start: float, end: float) -> Any:
    return row("user_annotation", name, start, end)


def op(name: str, start: float, end: float, thread: int = MAIN, **about: Any) -> Any:
    return row("cpu_op", name, start, end, thread, **about)


def kernel(name: str, start: float, end: float, launched: float, thread: int = MAIN) -> list[Any]:
    """A launch on the host and what it launched on the device."""
    launch = row(
        "cuda_runtime", "cudaLaunchKernel", launched, launched, thread, correlation=launched
    )
    return [launch, row("kernel", name, start, end, thread=7, correlation=launched)]


def arrow(forward: tuple[int, float], backward: tuple[int, float], number: int) -> list[Any]:
    """The arrow from a forward operation to its node's run; each is (thread, start)."""
    common = {"cat": "fwdbwd", "name": "fwdbwd", "id": number}
    ends = (("s", forward), ("f", backward))
    return [{**common, "ph": end, "tid": thread, "ts": ts} for end, (thread, ts) in ends]


def microseconds(trace: Trace) -> dict[tuple[str, str], float]:
    """The booked times of all steps, without parts that have none."""
    books = balance(trace, trace, held_bytes=0)
    assert books.unattributed_seconds == pytest.approx(0, abs=1e-12)
    return {k: s * 1e6 * books.n_steps for k, s in books.seconds.items() if s}


# -- the host -------------------------------------------------------------------------------------


def test_operations_are_their_parts_and_python_between_them_is_the_hosts() -> None:
    trace = understand(
        [
            span(STEP_RANGE, 0, 100),
            span(DATA, 2, 10),
            span(LOSS, 20, 80),
            span(REST, 22, 60),
            op("aten::mul", 24, 30),
            span(ATTENTION, 30, 50),
            op("aten::linear", 44, 50),
            op("aten::softmax", 32, 40),
            op("aten::cross_entropy", 62, 70),
            span(CLIPPING, 82, 85),
            span(OPTIMIZER, 85, 95),
            op("aten::add_", 86, 90),
        ]
    )
    assert microseconds(trace) == pytest.approx(
        {
            (DATA, "step"): 8,
            (LOSS, "forward"): 8,
            (REST, "forward"): 6,
            (ATTENTION, "forward"): 8 + 6,  # a product within attention that no range says is apart
            (CLIPPING, "step"): 3,
            (OPTIMIZER, "step"): 10,
            (HOST, "forward"): 60 - 8 - 6 - 14,
            (HOST, "step"): 100 - 60 - 8 - 3 - 10,
        }
    )


def test_in_a_compiled_region_names_tell_attention_and_products() -> None:
    trace = understand(
        [
            span(STEP_RANGE, 0, 100),
            span(REST, 0, 90),
            op("Torch-Compiled Region: 0/0", 2, 80),
            op("CompiledFunction", 4, 70),
            op("## Call CompiledFxGraph abc ##", 10, 60),
            op("aten::mm", 12, 22),
            op("aten::_scaled_dot_product_flash_attention_for_cpu", 22, 32),
            op("aten::empty", 32, 33),
        ]
    )
    assert microseconds(trace) == pytest.approx(
        {
            (PRODUCTS, "forward"): 10,
            (ATTENTION, "forward"): 10,
            (COMPILED, "forward"): 50 - 20,
            (HOST, "forward"): 90 - 50,
            (HOST, "step"): 10,
        }
    )


def test_what_adds_up_a_gradient_belongs_to_the_node_before_it() -> None:
    accumulate = "torch::autograd::AccumulateGrad"
    trace = understand(
        [
            span(STEP_RANGE, 0, 100),
            span(LOSS, 0, 40),
            op("aten::exp", 10, 20, **{"Sequence number": 5, "Fwd thread id": 0}),
            span("backward", 50, 90),
            op("autograd::engine::evaluate_function: ExpBackward0", 52, 62,
               **{"Sequence number": 5, "Fwd thread id": 1}),
            op("ExpBackward0", 54, 60, **{"Sequence number": 5, "Fwd thread id": 1}),
            *arrow((MAIN, 10), (MAIN, 54), 1),
            op(f"autograd::engine::evaluate_function: {accumulate}", 64, 70),
            op(accumulate, 65, 69),
        ]
    )  # fmt: skip
    booked = microseconds(trace)
    assert booked[LOSS, "backward"] == pytest.approx(10 + 6)
    assert booked[HOST, "backward"] == pytest.approx(40 - 16)


# -- a device -------------------------------------------------------------------------------------


def test_a_device_is_booked_by_its_kernels_and_its_idleness_by_the_host() -> None:
    trace = understand(
        [
            span(STEP_RANGE, 0, 100),
            span(DATA, 0, 10),
            span(LOSS, 10, 20),
            span(ATTENTION, 12, 14),
            op("aten::bmm", 12, 13, **{"Sequence number": 9, "Fwd thread id": 0}),
            *kernel("gemm", 15, 30, launched=12.5),
            op("aten::log_softmax", 16, 18),
            *kernel("softmax", 30, 40, launched=17),
            # the backward pass is launched by autograd's own thread
            op("BmmBackward0", 20, 24, ENGINE, **{"Sequence number": 9, "Fwd thread id": 1}),
            *arrow((MAIN, 12), (ENGINE, 20), 1),
            *kernel("gemm", 45, 65, launched=21, thread=ENGINE),
            op("c10d::allreduce_", 26, 27, ENGINE),
            *kernel("ncclDevKernel_AllReduce", 50, 75, launched=26.5, thread=ENGINE),
            span(OPTIMIZER, 70, 72),
            *kernel("adamw", 80, 90, launched=71),
        ]
    )
    assert microseconds(trace) == pytest.approx(
        {
            (ATTENTION, "forward"): 15,
            (ATTENTION, "backward"): 20,
            (LOSS, "forward"): 10,
            (COMMUNICATION, "step"): 10,  # only what no computation hides
            (OPTIMIZER, "step"): 10,
            (DATA, "step"): 10,
            (HOST, "forward"): 5,
            (HOST, "step"): 5 + 5 + 10,
        }
    )


# -- bookings -------------------------------------------------------------------------------------

numbers = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12)


@given(numbers, numbers)
def test_every_moment_is_booked_once(first: list, second: list) -> None:
    def stretches(pairs: list, part: str) -> list[Stretch]:
        entry = Entry(part, "step", "")
        return [Stretch(start, start + length, entry) for start, length in sorted(pairs)]

    taken, free = claim([(10, 70)], stretches(first, "a"))
    more, left = claim(free, stretches(second, "b"))
    for moment in range(80):
        middle = moment + 0.5
        owners = [s.entry.part for s in taken + more if s.start < middle < s.end]
        in_first = any(a < middle < a + n for a, n in first)
        in_second = any(a < middle < a + n for a, n in second)
        expected = ["a"] if in_first else ["b"] if in_second else []
        assert owners == (expected if 10 < middle < 70 else [])
        assert any(a < middle < b for a, b in left) == (10 < middle < 70 and not expected)


def allocations(*sizes: tuple[int, int, str]) -> list[Allocation]:
    made = []
    for when, (address, n_bytes, part) in enumerate(sizes):
        (event,) = understand([span(part, 0, 9)]).events
        made.append(Allocation(when, address, n_bytes, event))
    return made


def test_memory_at_the_peak_is_told_by_who_allocated_it() -> None:
    history = allocations(
        (99, -50, LOSS),  # allocated before anybody looked
        (1, 100, ATTENTION),
        (2, 30, LOSS),
        (1, -100, LOSS),
        (3, 90, LOSS),
        (1, 20, ATTENTION),  # the address again; here is the peak, 140
        (2, -30, LOSS),
        (4, 10, DATA),
    )
    assert memory_at_peak(history) == {LOSS: 30 + 90, ATTENTION: 20}
    assert memory_at_peak([]) == {}


def test_memory_of_a_device_hides_that_of_the_host() -> None:
    def memory(n_bytes: int, device: int) -> Any:
        about = {"Device Type": device, "Addr": n_bytes, "Bytes": n_bytes}
        return {"name": "[memory]", "ph": "i", "tid": MAIN, "ts": 5, "args": about}

    steps = [span(STEP_RANGE, 0, 10), span(CLIPPING, 1, 9)]
    both = understand([*steps, memory(64, 1), memory(1000, 0)])
    books = balance(both, both, held_bytes=30, device_peak_bytes=100)
    assert (books.peak_bytes, books.held_bytes, books.unattributed_bytes) == (100, 30, 6)
    assert books.bytes_at_peak == {CLIPPING: 64}
    host = understand([*steps, memory(1000, 0)])
    books = balance(host, host, held_bytes=30)
    assert (books.peak_bytes, books.unattributed_bytes) == (1030, 0)


# -- products -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "shapes", "expected"),
    [
        ("aten::mm", [[2, 3], [3, 5]], 2 * 2 * 3 * 5),
        ("aten::addmm", [[5], [2, 3], [3, 5], [], []], 2 * 2 * 3 * 5),
        ("aten::addmm_", [[2, 5], [2, 3], [3, 5], [], []], 2 * 2 * 3 * 5),
        ("aten::bmm", [[7, 2, 3], [7, 3, 5]], 7 * 2 * 2 * 3 * 5),
        ("aten::baddbmm", [[7, 2, 5], [7, 2, 3], [7, 3, 5], [], []], 7 * 2 * 2 * 3 * 5),
        ("aten::_scaled_dot_product_flash_attention", [[2, 4, 8, 16]] * 3, 32768),
        (
            "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
            [[2, 4, 8, 16]] * 4,
            2 * 5 * 2 * 4 * 8 * 8 * 16,
        ),
        (  # two heads of queries share one of keys
            "aten::_scaled_dot_product_cudnn_attention",
            [[2, 4, 8, 16], [2, 2, 8, 16], [2, 2, 8, 16]],
            2 * 2 * 2 * 4 * 8 * 8 * 16,
        ),
        ("aten::mul", [[2, 3], [2, 3]], 0),
    ],
)
def test_flops_are_two_for_each_multiplication(operation: str, shapes: list, expected: int) -> None:
    assert flops_of(operation, shapes) == expected


def test_a_call_that_autocast_repeats_is_counted_once() -> None:
    shapes = {"Input Dims": [[2, 3], [3, 5]]}
    trace = understand(
        [
            span(STEP_RANGE, 0, 10),
            op("aten::mm", 1, 9, **shapes),
            op("aten::_to_copy", 2, 3),
            op("aten::mm", 3, 8, **shapes),
        ]
    )
    books = balance(trace, trace, held_bytes=0)
    assert books.flops == {PRODUCTS: 60}
    (product,) = [o for o in books.slowest if o.name == "aten::mm"]
    assert (product.calls, product.seconds) == (1, pytest.approx(7e-6))


def test_what_tiled_attention_computes_is_attention() -> None:
    opened = Place(COMPILED, "forward", is_open=True)
    attention = placed("roots::tiled_attention", opened, is_range=False, forward=None, before=None)
    assert attention.part == ATTENTION
    for inner in ("aten::bmm", "## Call CompiledFxGraph f3 ##"):
        within = placed(inner, attention, is_range=False, forward=None, before=None)
        assert within.part == ATTENTION
