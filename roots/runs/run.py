"""The run directory: one folder per run, and what lies in it.

runs/<name>/<id>/
    config.yaml        the resolved configuration
    environment.json   versions, hardware, commit, data, command
    state.json         running, finished, failed or interrupted; its steps; how long it took
    metrics.csv        one row per logged step
    data.json          the card of the data: what it is, how much, which labels
    details-val.json   what the newest validation found beside numbers: confusions, mistakes
    samples.jsonl      sampled texts, when asked for
    loss.png           the figure; beside it those of the page
    report.html        the page
    checkpoints/step-000600/
        checkpoint.json    step, validation metrics, the sha256 of each file beside it; its presence
                            says the folder is whole
        trainer.ckpt       weights, optimizer and progress, to resume; a folder where each rank
                           wrote its part
        model.safetensors  and the other files of a Hugging Face folder, to use
"""

from __future__ import annotations

import math
import os
import shutil
from operator import itemgetter
from pathlib import Path
from typing import Any

import yaml

from roots.errors import CheckpointError
from roots.records import expanded, is_file
from roots.runs.checkpoint import CHECKPOINT_FILE, Checkpoint, rank, read_checkpoint
from roots.runs.samples import SampledTexts
from roots.runs.writing import replace_folder


class Run:
    """The directory of one run.

    Args:
        path: The directory, which exists.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        """Names the directory, which is what a notebook shows of `fit()`."""
        return f"Run({str(self.path)!r})"

    @property
    def is_one(self) -> bool:
        """Whether a run is there; a path too long for one is none, and raises nothing."""
        return is_file(self.config_file)

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics_file(self) -> Path:
        """The logged metrics."""
        return self.path / "metrics.csv"

    def config(self) -> dict[str, Any]:
        """Reads the resolved configuration.

        Raises:
            CheckpointError: There is none, or it is damaged.
        """
        return self._config(self.config_file)

    def former_configs(self) -> dict[int, dict[str, Any]]:
        """Reads the configurations that were changed at a resume, by the step they held until.

        Raises:
            CheckpointError: One is damaged.
        """
        files = self.path.glob("config-until-*.yaml")
        steps = {int(f.stem.rpartition("-")[2]): f for f in files if f.stem[-1].isdecimal()}
        return {step: self._config(file) for step, file in sorted(steps.items())}

    def _config(self, file: Path) -> dict[str, Any]:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
        try:
            config = yaml.load(file.read_text(encoding="utf-8"), loader)  # noqa: S506
            config = {} if config is None else config
        except FileNotFoundError:
            raise CheckpointError(
                f"{self.path} has no {file.name}, so nobody knows what was run. Bring the file back"
                " from a copy, or leave this folder out."
            ) from None
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise CheckpointError(
                f"{file} cannot be read: {error} Bring it back from a copy, or leave"
                f" {self.path} out."
            ) from error
        whole = isinstance(config, dict) and isinstance(config.get("trainer") or {}, dict)
        if not whole:
            part = "of its trainer " if isinstance(config, dict) else ""
            raise CheckpointError(
                f"{file} holds no `key: value` lines {part}any more. Bring it back from"
                f" a copy, or leave {self.path} out."
            )
        found: dict[str, Any] = config
        return found

    @property
    def checkpoints_folder(self) -> Path:
        """Where the checkpoints are."""
        return self.path / "checkpoints"

    def details_file(self, stage: str) -> Path:
        """What the newest evaluation of `val` or `test` found beside numbers."""
        return self.path / f"details-{stage}.json"

    def checkpoint_folder(self, step: int) -> Path:
        """Where the checkpoint of a step is, or will be."""
        return self.checkpoints_folder / f"step-{step:06d}"

    def checkpoints(self) -> list[Checkpoint]:
        """Lists the complete checkpoints, oldest first."""
        files = self.checkpoints_folder.glob(f"step-*/{CHECKPOINT_FILE}")  # no temporary folders
        found = [read_checkpoint(file.parent) for file in files]
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def sweep(self) -> None:
        """Removes what a killed process left half written, before the run goes on."""
        for folder in self.checkpoints_folder.glob(".step-*"):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def samples(self) -> SampledTexts:
        """The texts that were sampled as the run went on."""
        return SampledTexts(self.path / "samples.jsonl")

    def last_intact(self) -> tuple[Checkpoint, dict[Path, str]]:
        """Gives the newest checkpoint whose files are as they were written.

        Returns:
            The checkpoint, and the newer folders that are torn or damaged, with what is wrong.

        Raises:
            CheckpointError: There is none.
        """
        damaged: dict[Path, str] = {}
        folders = self.checkpoints_folder.glob("step-*")
        for folder in sorted(folders, key=lambda f: (len(f.name), f.name), reverse=True):
            try:
                checkpoint = read_checkpoint(folder)
                damaged[folder] = checkpoint.damage()
            except (CheckpointError, OSError) as error:
                damaged[folder] = str(error)
            if not damaged[folder]:
                del damaged[folder]
                return checkpoint, damaged
        if damaged:
            told = "; ".join(f"{folder.name}: {wrong}" for folder, wrong in damaged.items())
            raise CheckpointError(
                f"No checkpoint of {self.path} is as it was written: {told}. Bring one back from a"
                " copy, or start a new run without --resume."
            )
        return self.last(), damaged

    def set_aside(self, after: int) -> None:
        """Renames the checkpoints after a step to `damaged-…`: the run will write new ones."""
        for folder in self.checkpoints_folder.glob("step-*"):
            number = folder.name.removeprefix("step-")
            if number.isdecimal() and int(number) > after:
                replace_folder(folder, folder.with_name(f"damaged-{folder.name}"))

    def last(self) -> Checkpoint:
        """Gives the newest complete checkpoint.

        Raises:
            CheckpointError: There is none.
        """
        found = self.checkpoints()
        if not found:
            raise CheckpointError(
                f"{self.path} has no complete checkpoint. It stopped before its first one was"
                " written (trainer.checkpoint_every_steps): start a new run without --resume."
            )
        return found[-1]

    @property
    def monitor(self) -> tuple[str, str]:
        """The validation metric that says which checkpoint is best, and whether by `min` or `max`.

        That is what the run was told, or val/loss, the smaller the better.

        Raises:
            CheckpointError: Its configuration is damaged.
        """
        told = (self.config().get("trainer") or {}) if self.config_file.is_file() else {}
        name, mode = told.get("monitor") or "val/loss", told.get("monitor_mode") or "min"
        if not isinstance(name, str) or mode not in ("min", "max"):
            raise CheckpointError(
                f"{self.config_file} is damaged: trainer.monitor is {name!r}, trainer.monitor_mode"
                f" {mode!r}. Set the first to a metric such as val/loss, and the second to min or"
                " max."
            )
        return name, mode

    def best(self, monitor: str = "") -> Checkpoint:
        """Gives the checkpoint with the best metric; the newest if none was measured.

        Args:
            monitor: The metric, the smaller the better; empty takes the run's own.
        """
        name, mode = (monitor, "min") if monitor else self.monitor
        ranks = [(rank(c.metrics.get(name), mode), c) for c in self.checkpoints()]
        measured = [each for each in ranks if each[0] < math.inf]
        return min(measured, key=itemgetter(0))[1] if measured else self.last()

    def checkpoint(self, which: str, monitor: str = "") -> Checkpoint:
        """Gives the checkpoint called `best`, `last` or by its step.

        Raises:
            CheckpointError: There is none of that step.
        """
        if which in ("best", "last"):
            return self.best(monitor) if which == "best" else self.last()
        found = {str(c.step): c for c in self.checkpoints()}
        if which not in found:
            raise CheckpointError(
                f"{self.path} has no checkpoint {which!r}; it has those of the steps"
                f" {', '.join(found) or '(none)'}. Name one of them, best, or last."
            )
        return found[which]


def open_run(path: Path | str) -> Run:
    """Opens a run's directory.

    Raises:
        CheckpointError: There is none at `path`.
    """
    run = Run(path)
    if not run.is_one:
        is_there = os.path.exists(run.path)  # noqa: PTH110 (a path object would raise)
        what = "is no run directory (no config.yaml)" if is_there else "does not exist"
        raise CheckpointError(
            f"{run.path} {what}. Give a run's own directory, such as runs/quickstart/0001."
        )
    return run


def network_folder(path: str) -> str:
    """Gives the folder of the best checkpoint where `path` is a run's directory; else `path`.

    `~` and `${VARIABLE}` are expanded.
    """
    path = expanded(path)
    run = Run(path)
    return str(run.best().path) if run.is_one else path


def newest(root: Path | str, name: str) -> Run:
    """Gives the newest run called `name`.

    Raises:
        CheckpointError: There is none.
    """
    files = [f for f in Path(root, name).glob("*/config.yaml") if f.parent.name.isdecimal()]
    found = sorted(files, key=lambda file: int(file.parent.name))
    if not found:
        raise CheckpointError(
            f"There is no run in {Path(root, name)} to resume. Start one without --resume."
        )
    return Run(found[-1].parent)
