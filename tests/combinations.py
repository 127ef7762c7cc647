"""Which strategies run in which precisions, and where that was tested: the README's table.

`test_combinations.py` trains what `TESTED` lists, and nothing else is called tested; what is
refused, the code that refuses it says. `python tests/combinations.py` writes the table anew.
"""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- strategies: tests/combinations.py -->", "<!-- end of strategies -->"

STRATEGIES = ("single_device", "ddp", "fsdp", "hsdp", "tensor_parallel", "deepspeed")
PRECISIONS = ("32", "bf16-mixed", "bf16-true", "16-mixed", "fp8-mixed")
ON_ONE_GPU: frozenset[tuple[str, str]] = frozenset()
"""What was trained on a GPU, by whom has one: none yet."""

TESTED: tuple[tuple[str, str], ...] = tuple(
    (strategy, precision)
    for strategy in ("single_device", "ddp", "fsdp", "hsdp", "tensor_parallel")
    for precision in PRECISIONS
    if precision != "fp8-mixed"
)
"""Strategy and precision of the runs that `test_combinations.py` trains on CPUs."""


APART: tuple[tuple[str, str], ...] = (
    *(("deepspeed", precision) for precision in ("32", "bf16-mixed", "bf16-true")),
    *((strategy, "fp8-mixed") for strategy in ("single_device", "ddp", "fsdp")),
)
"""What tests in environments of their own train: `make test-deepspeed`, `make test-fp8`."""


def refusal(strategy: str, precision: str) -> str:
    """Why the code refuses a combination; empty where it does not."""
    import torch

    from roots.errors import ConfigError, MissingExtra
    from roots.optim import AdamW
    from roots.precision import PRECISIONS as PLUGINS
    from roots.precision import precision_named
    from roots.strategies import strategy_named

    device = torch.device("cpu")
    try:
        plugin = precision_named(precision, device)
    except MissingExtra:  # what is tested with it is known all the same
        plugin = object.__new__(PLUGINS[precision])
        plugin.precision = precision
    try:
        made = strategy_named(strategy, device, 1 if strategy == "single_device" else 2)
        made.check(optimizer=AdamW(), precision=plugin, compiled="none")
    except ConfigError as error:
        return str(error)
    return ""


def place(strategy: str, precision: str) -> str:
    """Where a combination was tested, in the words of the table."""
    if refusal(strategy, precision):
        return "refused"
    places = []
    if (strategy, precision) in TESTED + APART:
        places.append("1 CPU process" if strategy == "single_device" else "2 CPU processes")
    if (strategy, precision) in ON_ONE_GPU:
        places.append("1 GPU")
    return ", ".join(places) or "not tested"


def table() -> str:
    """The table, in Markdown."""
    rows = [
        ["strategy", *(f"`{precision}`" for precision in PRECISIONS)],
        ["---"] * (1 + len(PRECISIONS)),
        *([f"`{s}`", *(place(s, precision) for precision in PRECISIONS)] for s in STRATEGIES),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def table_in_readme() -> str:
    """The table as it stands in the README."""
    found = re.search(f"{re.escape(BEGIN)}\n(.*?)\n{re.escape(END)}", README.read_text(), re.S)
    assert found, f"README.md has no {BEGIN}"
    return found[1]


if __name__ == "__main__":
    text = README.read_text()
    before, after = (f"{BEGIN}\n{middle}\n{END}" for middle in (table_in_readme(), table()))
    README.write_text(text.replace(before, after))
