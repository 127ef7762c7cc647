"""What is refused before the first trial: names, values and metrics that cannot be."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from roots.data import TaskData
from roots.errors import ConfigError, DataError, RootsError, nearest
from roots.fit.compose import Composed, put_together
from roots.modules import LanguageModule
from roots.modules.language import PerLabel
from roots.plan import plan_run
from roots.runs import redact_values
from roots.sweeps.definition import Definition, plain

RECORDED = (
    "train/loss",
    "train/tokens_per_second",
    "train/tokens_per_second_median",
    "train/tokens_seen",
    "optim/grad_norm",
    "optim/learning_rate",
)
"""What every run logs, whatever it trains."""
MISTAKES = (RootsError, ValueError, TypeError)
"""What a parser or a constructor raises for a setting that cannot be."""
SILENT = ("roots.callbacks.Samples",)
"""Callbacks that log no metric."""


def flag(name: str, value: Any) -> str:
    """Writes a value as the command line takes it."""
    if isinstance(value, str):
        return f"--{name}={value}"
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return f"--{name}={text.removesuffix('...' + chr(10)).strip()}"


def check(definition: Definition, *, prepare: bool = True) -> str:
    """Puts a run together for every choice and end of range.

    Args:
        definition: The sweep.
        prepare: Make the data where they are to be made, once for all trials.

    Returns:
        The fingerprint of the data that the first values ask for, what is validated on included;
        empty where they are not there.

    Raises:
        ConfigError: A parameter is none of `roots fit`, has an impossible value, or the metric is
            one that the run never logs.
        DataError: There are no data.
    """
    composed = _check_values(definition)
    _check_metric(definition, composed)
    if prepare:
        composed.data.prepare_data()
        if not composed.data.is_ready:
            raise DataError(
                f"There are no data in {composed.data.path}, which every trial reads. Make them"
                " (roots corpus), or correct the path in the run file."
            )
    if composed.data.is_ready or not composed.trainer.epochs:
        composed.trainer.settle(composed.data)
        _check_bands(definition, composed)
        plan_run(composed.trainer, composed.model, composed.data)  # refuses what `fit` would
    if not composed.data.is_ready:
        return ""
    told = f"{composed.data.fingerprint} {composed.data.validated_on}"
    return hashlib.sha256(told.encode()).hexdigest()


def refuse_secrets(content: Any, who: str) -> None:
    """Refuses what holds a secret: as values, before YAML or JSON folds them.

    Args:
        content: What is to be written or sent.
        who: In words: who would have it then.

    Raises:
        ConfigError: It does.
    """
    is_in_address = redact_values(content, {}) != content
    if is_in_address or redact_values(content) != content:
        what = (
            "a password or a token in an address"
            if is_in_address
            else "the value of a secret environment variable"
        )
        raise ConfigError(
            f"The run files, or the sweep file, hold {what}, which {who}. Take it out of them."
        )


def _check_values(definition: Definition) -> Composed:
    """Tries each choice and end of range, the other parameters at their first."""
    first = {parameter.name: parameter.extremes()[0] for parameter in definition.parameters}
    if definition.folds:
        _check_folds(definition, first)
    try:
        composed = composed_of(definition, first)
    except MISTAKES:
        _blame(definition, first)
        raise
    for parameter in definition.searched:
        for value in parameter.extremes()[1:]:
            _tried(definition, {**first, parameter.name: value}, parameter.name, composed)
    return composed


def _check_folds(definition: Definition, values: Mapping[str, Any]) -> None:
    """Refuses folds of data that cannot be divided; other mistakes are told by what follows."""
    flags = [flag(name, value) for name, value in values.items()]
    try:
        data = put_together(definition.base, flags).data
    except MISTAKES:
        return
    if not isinstance(data, TaskData):
        raise ConfigError(
            f"folds={definition.folds} divides labelled rows, and {type(data).__name__} reads none."
            " Leave folds out; seeds: [1, 2, 3] trains each trial several times too."
        )
    if data.val:
        raise ConfigError(
            f"folds={definition.folds} takes the validation rows out of the training rows, and the"
            " run file names some in data.val. Leave one of the two out."
        )


def composed_of(definition: Definition, values: Mapping[str, Any]) -> Composed:
    """Puts the first fit of a trial together.

    Args:
        definition: The sweep.
        values: Those of the trial.

    Raises:
        UserError: A value cannot be.
    """
    flags = [flag(name, value) for name, value in {**values, **definition.fits[0].settings}.items()]
    composed = put_together(definition.base, flags)
    if not composed.trainer.epochs:  # else the steps are known once the data are
        composed.model.schedule.check(composed.trainer.max_steps)
    return composed


def _blame(definition: Definition, values: Mapping[str, Any]) -> None:
    """Raises the error of the first parameter that cannot be, beside those before it."""
    composed = put_together(definition.base, [])
    given: dict[str, Any] = {}
    for name, value in values.items():
        given[name] = value
        composed = _tried(definition, given, name, composed)


def _tried(
    definition: Definition, values: Mapping[str, Any], name: str, before: Composed
) -> Composed:
    """Puts a run together; a mistake in one parameter is told as one of the sweep file."""
    try:
        return composed_of(definition, values)
    except MISTAKES as error:
        known = set(_names(before.config))
        if plain(name) not in {plain(other) for other in known}:
            near = nearest(name, {*known, *map(plain, known)})
            raise ConfigError(
                f"parameters.{name} is no setting of this run{near}. {error}"
            ) from error
        value = flag(name, values[name]).split("=", maxsplit=1)[1]
        raise ConfigError(f"parameters.{name}: {value} cannot be run. {error}") from error


def _names(config: Any, prefix: str = "") -> Iterator[str]:
    """Lists the dotted names of a configuration."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield f"{prefix}{key}"
            yield from _names(value, f"{prefix}{key}.")


def _check_metric(definition: Definition, composed: Composed) -> None:
    name = definition.metric.name
    logged = logged_metrics(composed)
    if logged and name not in logged:
        raise ConfigError(no_metric(name, logged))


def no_metric(name: str, logged: set[str]) -> str:
    """Words that a run does not log a metric."""
    return (
        f"metric.name={name!r} is never logged by this run{nearest(name, logged)}. It logs"
        f" {', '.join(sorted(logged))}."
    )


def logged_metrics(composed: Composed) -> set[str]:
    """Names what a run will log; empty where that is known only once it does.

    Which metrics a task has may depend on the labels in its data, and a callback or a module of the
    user's own may add any.
    """
    callbacks = composed.config["trainer"].get("callbacks") or []
    others = [c for c in callbacks if c.get("class_path") not in SILENT]
    is_ours = type(composed.model).__module__.startswith("roots.")
    if others or not (is_ours and isinstance(composed.model, LanguageModule)):
        return set()
    measured = composed.model.validation_metrics(PerLabel(1.0, 1.0, 1.0, 1.0))
    return {*RECORDED, *(f"val/{name}" for name in measured)}


def _check_bands(definition: Definition, composed: Composed) -> None:
    """Refuses an early end whose first look would come after the end."""
    if definition.early is None:
        return
    first, trainer = definition.early.bands[0], composed.trainer
    if (n_fits := len(definition.fits)) > 1:
        reports, cure = n_fits, "more folds" if definition.folds else "more seeds"
    elif definition.metric.name.startswith("val/"):
        every = trainer.val_every_steps or trainer.max_steps
        reports, cure = math.ceil(trainer.max_steps / every), "a smaller trainer.val_every_steps"
    else:
        reports = sum(map(trainer.logs_after, range(1, trainer.max_steps + 1)))
        cure = "a smaller trainer.log_every_steps"
    if reports < first:
        raise ConfigError(
            f"early_terminate looks first at value {first} of {definition.metric.name}, and a trial"
            f" has {reports}. Set a smaller min_iter, or {cure}."
        )
