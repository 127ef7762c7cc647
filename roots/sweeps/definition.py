"""The sweep file: a W&B sweep file, and the run files that its trials start from."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roots.errors import ConfigError, nearest
from roots.fit import read_run_files
from roots.records import read_yaml
from roots.runs import check_name
from roots.sweeps.fits import Fit, fits_of, in_words, read_seeds
from roots.sweeps.hyperband import Hyperband, read_hyperband
from roots.sweeps.metric import Metric, read_metric
from roots.sweeps.parameters import Parameter
from roots.sweeps.reading import read_parameters

METHODS = ("grid", "random", "bayes")
WANDB_KEYS = (
    "name",
    "description",
    "project",
    "entity",
    "method",
    "metric",
    "parameters",
    "early_terminate",
    "run_cap",
    "command",
    "program",
)
OWN_KEYS = ("config", "seeds", "folds", "draw_seed")
MACROS = ("${env}", "${interpreter}", "${args}")
TAKEN = ("name", "seed", "trainer.name", "trainer.seed", "trainer.runs_dir", "trainer.progress")
FOLDS = ("data.fold", "data.folds")
"""Flags that the sweep itself gives to its trials; in a cross-validation also `FOLDS`."""


@dataclass(frozen=True)
class Definition:
    """What a sweep file says.

    Args:
        name: Names the sweep's directory.
        method: `grid`, `random` or `bayes`.
        parameters: What is varied, constants among it.
        metric: What trials are judged by.
        base: The merged run files.
        early: When a trial ends early; None lets all end.
        run_cap: How many trials; 0 where the file does not say.
        command: How a trial is started, with W&B's macros; empty is `roots fit`.
        seeds: Each trial is trained once with each of these; empty leaves the run's own.
        folds: Each trial is a cross-validation of so many folds; 0 for none.
        draw_seed: Decides what is drawn; the same seed draws the same.
        given: The file's content, with the paths of the run files from here.
    """

    name: str
    method: str
    parameters: tuple[Parameter, ...]
    metric: Metric
    base: dict[str, Any]
    early: Hyperband | None = None
    run_cap: int = 0
    command: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    folds: int = 0
    draw_seed: int = 1
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def searched(self) -> list[Parameter]:
        """The parameters that are not constant."""
        return [parameter for parameter in self.parameters if not parameter.is_constant]

    @property
    def fits(self) -> tuple[Fit, ...]:
        """The fits of a trial, in their order."""
        return fits_of(self.seeds, self.folds)

    @property
    def repeats(self) -> str:
        """Words in what the fits of a trial differ; empty where it has one."""
        return in_words(self.seeds, self.folds)

    @property
    def grid_size(self) -> int:
        """How many points the grid has."""
        return math.prod(parameter.n_points for parameter in self.parameters)

    @property
    def n_trials(self) -> int:
        """How many trials the sweep has.

        Raises:
            ConfigError: Nothing says so.
        """
        if self.method == "grid":
            return min(self.grid_size, self.run_cap) if self.run_cap else self.grid_size
        if not self.run_cap:
            raise ConfigError(
                f"method: {self.method} never ends of itself. Set run_cap in the sweep file, or"
                " --trials, to the number of trials."
            )
        return self.run_cap

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides which values are tried, and on what; the same anywhere."""
        elsewhere = ("run_cap", "description", "project", "entity", "config", "command", "program")
        said = {key: value for key, value in self.given.items() if key not in elsewhere}
        text = json.dumps([said, self.base], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def read_definition(
    file: str | Path | Mapping[str, Any], *, base: Any = None, folds: int | None = None
) -> Definition:
    """Reads a sweep file, or what one would say.

    Args:
        file: The file, or its content; then the paths of run files are as seen from here.
        base: The merged run files, where they are known; None reads those that `config` names.
        folds: Wins over the file's; None leaves that.

    Raises:
        ConfigError: It is no sweep file, or says something impossible.
    """
    content, folder = _load(file)
    content |= {} if folds is None else {"folds": folds}
    for key in content:
        if key not in (*WANDB_KEYS, *OWN_KEYS):
            raise ConfigError(
                f"There is no {key!r} in a sweep file{nearest(str(key), WANDB_KEYS + OWN_KEYS)}."
                f" The keys are {', '.join(WANDB_KEYS + OWN_KEYS)}."
            )
    method = content.get("method")
    if method not in METHODS:
        raise ConfigError(
            f"method={method!r} is not known{nearest(str(method), METHODS)}. Set it to grid, random"
            " or bayes."
        )
    _refuse_other_program(content.get("program"))
    files = _run_files(content, folder)
    base = read_run_files(files) if base is None else base
    definition = Definition(
        name=_name(content, file),
        method=method,
        parameters=tuple(read_parameters(content.get("parameters"))),
        metric=read_metric(content.get("metric"), base),
        base=base,
        early=read_hyperband(content["early_terminate"]) if "early_terminate" in content else None,
        run_cap=_whole(content, "run_cap", 0, least=1),
        command=_command(content.get("command")),
        seeds=read_seeds(content.get("seeds", ())),
        folds=_whole(content, "folds", 0, least=2),
        draw_seed=_whole(content, "draw_seed", 1, least=0),
        given={"name": _name(content, file), **content, "config": files},
    )
    _check_names(definition)
    if method == "grid":
        assert definition.grid_size  # raises where a parameter has no list of values
    return definition


def plain(name: str) -> str:
    """Leaves out of a setting's name what a flag may leave out."""
    return ".".join(part for part in name.split(".") if part != "init_args")


def _load(file: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], Path]:
    if isinstance(file, Mapping):
        return {key: _of_python(value) for key, value in file.items()}, Path()
    path = Path(file)
    content = read_yaml(path, what="sweep file")
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} holds no `key: value` lines. See configs/sweep/ for a sweep file."
        )
    return content, path.parent


def _of_python(value: Any) -> Any:
    """Turns numpy's numbers and arrays into Python's, which YAML and flags can be written of."""
    if isinstance(value, Mapping):
        return {key: _of_python(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_of_python(each) for each in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def _run_files(content: Mapping[str, Any], folder: Path) -> list[str]:
    given = content.get("config")
    files = [given] if isinstance(given, str) else given
    if not isinstance(files, list) or not files:
        raise ConfigError(
            f"config={given!r}: the sweep file must name the run file that its trials start from,"
            " such as `config: ../run/quickstart.yaml`, as seen from the sweep file."
        )
    return [os.path.normpath(folder / str(name)) for name in files]


def _refuse_other_program(program: Any) -> None:
    if program not in (None, "roots"):
        raise ConfigError(
            f"program={program!r}: a trial here is `roots fit` with the run files of `config`."
            " Leave program out; to start it another way (torchrun, srun), set command."
        )


def _name(content: Mapping[str, Any], file: Any) -> str:
    default = "sweep" if isinstance(file, Mapping) else Path(file).stem
    given = content.get("name", default)
    name = "" if given is None else str(given)
    check_name(name)
    return name


def _command(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or "${args}" not in given:
        raise ConfigError(
            f"command={given!r} does not hand on the flags. Make it a list with ${{args}} in it,"
            " such as [torchrun, --nproc-per-node, 2, -m, roots, fit, '${args}']."
        )
    words = tuple(str(word) for word in given)
    for word in words:
        if word.startswith("${") and word not in MACROS and not word.startswith("${envvar:"):
            raise ConfigError(
                f"command: {word} is not known{nearest(word, MACROS)}: `roots fit` takes flags, so"
                f" that there are {', '.join(MACROS)} and ${{envvar:NAME}} only."
            )
    return words


def _whole(content: Mapping[str, Any], key: str, default: int, *, least: int) -> int:
    value = content.get(key, default)
    fits = isinstance(value, int) and not isinstance(value, bool)
    if key in content and not (fits and value >= least):
        raise ConfigError(f"{key}={value!r}: set it to a whole number of {least} or more.")
    return int(value)


def _check_names(definition: Definition) -> None:
    seen: dict[str, str] = {}
    for name in [parameter.name for parameter in definition.parameters]:
        setting = plain(name)
        if setting in seen:
            also = "" if seen[setting] == name else f", as {seen[setting]} too"
            raise ConfigError(f"parameters.{name} is there twice{also}. Leave one out.")
        seen[setting] = name
        if setting in (*TAKEN, *(FOLDS if definition.folds else ())):
            cure = "Set seeds: [1, 2, 3]" if name.endswith("seed") else "Leave it out"
            raise ConfigError(f"parameters.{name} is set by the sweep itself. {cure}.")
    if not definition.searched:
        raise ConfigError("All parameters are constant: there is nothing to search.")
