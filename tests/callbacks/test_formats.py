"""The number formats that a run names are those it has."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

from roots.fit import compose

EXACT = {
    "parameters": "float32",
    "products": "float32",
    "gradients": "float32",
    "reduction": "float32",
    "optimizer": "float32",
}
FORMATS = {
    "32": EXACT,
    "bf16-mixed": {**EXACT, "products": "bfloat16"},
    "16-mixed": {**EXACT, "products": "float16"},
    "bf16-true": {
        "parameters": "bfloat16",
        "products": "bfloat16",
        "gradients": "bfloat16",
        "reduction": "bfloat16",
        "optimizer": "float32, and float32 master weights",
    },
}


def found_in(states: dict[int, dict[str, Any]]) -> set[torch.dtype]:
    values = [value for value in tree_leaves(states) if isinstance(value, torch.Tensor)]
    return {value.dtype for value in values if value.dim()}


@pytest.mark.parametrize("precision", FORMATS)
def test_they_are_shown_at_the_start_written_down_and_true(
    config: dict, precision: str, capsys: pytest.CaptureFixture
) -> None:
    composed = compose(
        config, {"trainer.precision": precision, "trainer.max_steps": 3, "trainer.progress": True}
    )
    gradients: set[torch.dtype] = set()
    module = composed.model
    module.on_before_optimizer_step = lambda _: gradients.update(  # type: ignore[method-assign]
        p.grad.dtype for p in module.parameters() if p.grad is not None
    )
    run = composed.fit()
    expected = FORMATS[precision]
    words = " · ".join(f"{what} {name}" for what, name in expected.items())
    said = capsys.readouterr().err
    assert f"number formats: {words}\n" in said
    assert said.index("number formats") < said.index("step 1/3")
    assert json.loads((run.path / "environment.json").read_text())["number_formats"] == expected
    assert {str(p.dtype) for p in module.parameters()} == {f"torch.{expected['parameters']}"}
    assert {str(dtype) for dtype in gradients} == {f"torch.{expected['gradients']}"}
    state = composed.trainer.optimizers[0].state_dict()["state"]
    assert found_in(state) == {torch.float32}


@pytest.mark.parametrize(
    ("name", "claimed", "kept"),
    [
        ("Muon", "float32", {torch.float32}),
        (
            "AdamW8bit",
            "uint8 in blocks with float32 scales, float32 for the rest",
            {torch.uint8, torch.float32},
        ),
    ],
)
def test_an_optimizers_state_has_the_format_that_it_names(
    config: dict, name: str, claimed: str, kept: set
) -> None:
    optimizer = config["model"]["init_args"]["optimizer"]
    optimizer["class_path"] = f"roots.optim.{name}"
    network = config["model"]["init_args"]["network"]["init_args"]
    network["config"] = {**network["config"], "hidden_size": 64}
    composed = compose(config, {"trainer.max_steps": 3})
    run = composed.fit()
    written = json.loads((run.path / "environment.json").read_text())["number_formats"]
    assert written["optimizer"] == claimed
    assert found_in(composed.trainer.optimizers[0].state_dict()["state"]) == kept
