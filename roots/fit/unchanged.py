"""What a resumed run must have as it was, and what has changed in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from roots.errors import CheckpointError, ConfigError
from roots.modules import StepModule
from roots.runs import Run, environment_of, hidden_names, network_folder


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
PLACE = ("model.init_args.network.init_args.path", "model.init_args.network.init_args.revision")
"""Where a network came from, which may move: a checkpoint has its weights, or knows their sum."""
OTHERWISE = (
    "_name_or_path",
    "architectures",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "id2label",
    "initializer_range",
    "label2id",
    "pad_token_id",
    "problem_type",
    "torch_dtype",
    "transformers_version",
    "use_cache",
)
"""Keys of a network's configuration that a run decides, or that change nothing in training."""


def refuse_other_shapes(changes: list[str]) -> None:
    """Raises CheckpointError when a setting has changed that decides shapes, or the data."""
    for change in changes:
        name = change.split(":", 1)[0]
        is_fixed = f"{name}.".startswith(tuple(f"{each}." for each in FIXED))
        if is_fixed and name not in PLACE and not name.endswith(".attention"):
            raise CheckpointError(
                f"A resumed run cannot change {change}. It decides the shape of the network or of"
                " the optimizer's state, or which text is behind us. Leave it as it was, or start a"
                " new run from these weights (roots.networks.Pretrained, with the checkpoint's"
                " folder as its path)."
            )


def refuse_replaced_data(run: Run, data: Any) -> None:
    """Raises CheckpointError when making the data would replace some that are there."""
    for setting, (folder, why) in data.replaced.items():
        raise CheckpointError(
            f"{folder} does not fit what {setting} of {run.path} says: {why}. To make it anew would"
            " replace it, and the weights know its tokens alone; nothing was written. Bring the old"
            f" text and settings back, or take the shards as they are (--{setting} {folder}), or"
            f" have others made elsewhere (--{setting}.out FOLDER). New text is for a new run."
        )


def refuse_other_network(folder: Path, builder: Any, changes: list[str]) -> None:
    """Raises CheckpointError when a network's new place has one that computes otherwise.

    Its weights do not matter, as the checkpoint has them; where it has an adapter alone, the sum of
    those below it is compared when they are read.

    Args:
        folder: The checkpoint's.
        builder: The network's.
        changes: The settings that have changed.
    """
    if not any(change.split(":", 1)[0] in PLACE for change in changes):
        return
    file = folder / "config.json"
    if not file.is_file():
        return
    then: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    name = network_folder(builder.path)
    told, _ = PretrainedConfig.get_config_dict(name, revision=builder.revision)
    now = told | builder.config
    unlike = [k for k in sorted({*then} & {*now} - {*OTHERWISE}) if then[k] != now[k]]
    if unlike:
        raise CheckpointError(
            f"The network in {builder.path} is another than that of the run: {unlike[0]} is"
            f" {_short(now[unlike[0]])}, and was {_short(then[unlike[0]])}. Set model.network.path"
            " to the place where the run's own lies now, or start a new run."
        )


def refuse_other_data(run: Run, data: Any) -> None:
    """Raises CheckpointError when the data, which are there, are not those of the run."""
    before = environment_of(run).get("data", {}).get("fingerprint")
    if before and before != data.fingerprint:
        raise CheckpointError(
            f"The data in {data.path} are not those that {run.path} was trained on (fingerprint"
            f" {data.fingerprint[:12]}, then {before[:12]}). Bring the old ones back, or start a"
            " new run."
        )


def other_rows_validated_on(run: Run, step: int, data: Any, changes: list[str]) -> list[str]:
    """Says that a run goes on with other validation rows, where a setting asks for other ones.

    Args:
        run: The run.
        step: The step that it goes on from.
        data: Its data module.
        changes: The settings that differ from before, as `name: old → new`.

    Raises:
        CheckpointError: The rows differ, and no setting asks for it.
    """
    before, accepted = (
        environment_of(run, until=until).get("data", {}).get("validated_on")
        for until in (step, step + 1)  # a fit from here that died before its first checkpoint
    )
    if not before or before == data.validated_on:
        return []
    prints = f"(fingerprint {before[:12]} → {data.validated_on[:12]})"
    asks = ("data.init_args.val:", "data.init_args.val.")
    if accepted != data.validated_on and not any(change.startswith(asks) for change in changes):
        raise CheckpointError(
            f"The rows that {run.path} validates on are no longer the same {prints}, so the best"
            " checkpoint and early stopping would compare unlike numbers. Bring the old rows back,"
            " or keep the new ones in a file of their own and ask for it: --data.val FILE."
        )
    best, (name, _) = run.best(), run.monitor
    value = best.metrics.get(name)
    so_far = "" if value is None else f" ({name} {value:.6g} at step {best.step:,})"
    return [
        f"other rows to validate on {prints}; the best so far{so_far} was measured on those before,"
        " and the best checkpoint and early stopping compare with it all the same"
    ]


def refuse_other_companion(run: Run, model: StepModule) -> None:
    """Refuses another companion before anything is written; its folder may have moved."""
    told, companion = environment_of(run), model.companion
    if companion and (before := told.get(companion.name)):
        companion.check_saved(before)


def refuse_hidden(run: Run, config: dict[str, Any], flags: Sequence[str]) -> None:
    """Refuses a configuration with the name of a secret in place of its value, unless given.

    Raises:
        ConfigError: No flag gives the value.
    """
    given = [f.removeprefix("--").partition("=")[0] for f in flags if f.startswith("--")]
    hidden = [name for name in hidden_names(config) if not _is_given(name, given)]
    if hidden:
        raise ConfigError(
            f"A secret was left out of {run.config_file} at {', '.join(hidden)}. Give the value by"
            f" a flag: --{hidden[0]} VALUE."
        )


def _is_given(name: str, flags: Sequence[str]) -> bool:
    short = name.replace(".init_args", "")  # which may be left out of a flag
    return any(name.startswith(flag) or short.startswith(flag) for flag in flags)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
