"""What a resumed run must have as it was, and what has changed in it."""

from __future__ import annotations

import json
from typing import Any

from roots.errors import CheckpointError
from roots.modules import StepModule
from roots.runs import Run, environment_of


def differences(before: Any, after: Any, prefix: str = "") -> list[str]:
    """Lists where two configurations differ, as `name: old → new`."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted({*before, *after})
        return [
            line
            for name in names
            for line in differences(before.get(name), after.get(name), f"{prefix}.{name}")
        ]
    return [] if before == after else [f"{prefix[1:]}: {_short(before)} → {_short(after)}"]


FIXED = (
    "seed",
    "model.class_path",
    "model.init_args.network",
    "model.init_args.optimizer.class_path",
    "model.init_args.optimizer.init_args.name",
    "data.class_path",
    "data.init_args.seq_len",
    "data.init_args.sequences_per_step",
    "data.init_args.val_fraction",
    "data.init_args.rows",
    "data.init_args.packing",
    "data.init_args.first_sequences_per_step",
    "data.init_args.growing_steps",
    "data.init_args.like_lengths",
)
"""What cannot change within a run, nor what is inside it: it decides the shapes of the state, or
which data is behind."""


def refuse_other_shapes(changes: list[str]) -> None:
    """Raises CheckpointError when a setting has changed that decides shapes, or the data."""
    for change in changes:
        name = change.split(":", 1)[0]
        is_fixed = f"{name}.".startswith(tuple(f"{each}." for each in FIXED))
        if is_fixed and not name.endswith(".attention"):
            raise CheckpointError(
                f"A resumed run cannot change {change}. It decides the shape of the network or of"
                " the optimizer's state, or which text is behind us. Leave it as it was, or start a"
                " new run from these weights (roots.networks.Pretrained, with the checkpoint's"
                " folder as its path)."
            )


def refuse_other_data(run: Run, data: Any) -> None:
    """Raises CheckpointError when the data are not those of the run, as far as they are there."""
    if not data.is_ready:
        return
    before = environment_of(run).get("data", {}).get("fingerprint")
    if before and before != data.fingerprint:
        raise CheckpointError(
            f"The data in {data.path} are not those that {run.path} was trained on (fingerprint"
            f" {data.fingerprint[:12]}, then {before[:12]}). Bring the old ones back, or start a"
            " new run."
        )


def refuse_other_companion(run: Run, model: StepModule) -> None:
    """Refuses another companion before anything is written; its folder may have moved."""
    told, companion = environment_of(run), model.companion
    if companion and (before := told.get(companion.name)):
        companion.check_saved(before)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
