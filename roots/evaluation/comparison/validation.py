"""Whether two runs were measured alike: the text, what was asked of it, its context, the loss."""

from __future__ import annotations

from typing import Any

from roots.evaluation.comparison.reading import ComparedRun

SPLIT: dict[str, Any] = {
    "data.class_path": "(not set)",
    "data.init_args.val_fraction": "(not set)",
    "data.init_args.max_val_sequences": 0,
}
"""Settings beside the data's fingerprint that decide which text is validated on."""
TASK = "data.init_args.masking."
"""Settings that decide what is asked of it: how much is hidden, and how."""
LOSS = tuple(
    f"model.init_args.{name}"
    for name in ("label_smoothing", "z_loss", "class_weights", "balance", "beta", "distiller")
)
"""Settings that decide what the loss is, beside the module's class."""
CONTEXT = ("seq_len", "packing", "rows", "attend_across_documents")
"""Those of the data that decide how much of its text a network sees around what it is asked."""


def other_validation(first: ComparedRun, other: ComparedRun) -> str:
    """Says in which way another text was validated on; empty where it was the same."""
    if first.validated_on and other.validated_on:
        if first.validated_on == other.validated_on:
            return ""
        return (
            f"{other.name} was validated on other rows (fingerprint {_short(other.validated_on)})"
            f" than {first.name} ({_short(first.validated_on)})."
        )
    if first.fingerprint != other.fingerprint:
        return (
            f"{other.name} has other data (fingerprint {_short(other.fingerprint)}) than"
            f" {first.name} ({_short(first.fingerprint)}): what was validated on differs too."
        )
    for name, default in SPLIT.items():
        mine, its = (run.settings.get(name, default) for run in (first, other))
        if mine != its:
            return f"{name} is {its}, and {mine} in {first.name}: other text is validated on."
    for name in sorted(first.settings.keys() & other.settings.keys()):
        mine, its = first.settings[name], other.settings[name]
        if name.startswith(TASK) and mine != its:
            short = name.replace(".init_args", "")
            return f"{short} is {its}, and {mine} in {first.name}: something else is asked."
    return ""


def other_loss(first: ComparedRun, other: ComparedRun) -> str:
    """Says in which way another loss is optimized, and so measured; empty where it is the same."""
    for name in sorted({*first.settings, *other.settings}):
        mine, its = (run.settings.get(name) for run in (first, other))
        if name.startswith(LOSS) and (mine or None) != (its or None):  # of old runs: not there
            short = name.replace(".init_args", "")
            return (
                f"{short} is {its}, and {mine} in {first.name}: the losses are not the same"
                " quantity. Compare what is measured without it (--metric)."
            )
    return ""


def other_context(first: ComparedRun, other: ComparedRun) -> list[str]:
    """Says which settings change what is measured though the text is the same."""
    unlike = []
    for name in CONTEXT:
        mine, its = (run.settings.get(f"data.init_args.{name}") for run in (first, other))
        if mine is not None and its is not None and mine != its:
            unlike.append(f"data.{name} is {its} in {other.name}, and {mine} in {first.name}")
    if not unlike:
        return []
    return [f"{'; '.join(unlike)}: what is measured depends on it, beside what was learned."]


def _short(fingerprint: str) -> str:
    return fingerprint[:12] or "not recorded"
