"""Floating-point operations of the products in a trace, by torch's own formulas."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils import flop_counter

Shapes = list[list[int]]

_FORMULAS: dict[str, Callable[[Shapes], int]] = {
    "mm": lambda s: flop_counter.mm_flop(s[0], s[1]),
    "addmm": lambda s: flop_counter.addmm_flop(s[0], s[1], s[2]),
    "addmm_": lambda s: flop_counter.addmm_flop(s[0], s[1], s[2]),
    "bmm": lambda s: flop_counter.bmm_flop(s[0], s[1]),
    "baddbmm": lambda s: flop_counter.baddbmm_flop(s[0], s[1], s[2]),
    "baddbmm_": lambda s: flop_counter.baddbmm_flop(s[0], s[1], s[2]),
}

_ATTENTION = tuple(
    f"_scaled_dot_product_{kind}_attention{where}"
    for kind, where in (
        ("flash", "_for_cpu"),
        ("flash", ""),
        ("efficient", ""),
        ("cudnn", ""),
    )
)
for _name in _ATTENTION:
    _FORMULAS[_name] = lambda s: flop_counter.sdpa_flop_count(s[0], s[1], s[2])
    _FORMULAS[f"{_name}_backward"] = lambda s: flop_counter.sdpa_backward_flop_count(
        s[0], s[1], s[2], s[3]
    )


def flops_of(operation: str, shapes: Shapes) -> int:
    """Counts the multiplications and additions of one call; 0 for what is no product.

    Attention counts as whole squares, causal or not, and its backward pass as five products.

    Args:
        operation: The profiler's name, `aten::mm`.
        shapes: The shapes of its inputs; empty for what is no tensor.
    """
    formula = _FORMULAS.get(operation.removeprefix("aten::"))
    return formula(shapes) if formula else 0
