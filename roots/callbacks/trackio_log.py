"""Metrics for trackio's local dashboard, which needs no account and no network."""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from roots.errors import MissingExtra
from roots.runs import Run, redact_values

PROJECT = "roots"


class TrackioLog(Logger):
    """Keeps the metrics of a run where `trackio show` finds them: TRACKIO_DIR, or its own folder.

    Args:
        run: The run.
        title: The run's name.
        config: Its configuration, which is told without secrets.
        goes_on: Whether the run is resumed: its rows then follow those that are there.

    Raises:
        MissingExtra: trackio is not installed.
    """

    def __init__(self, *, run: Run, title: str, config: dict[str, Any], goes_on: bool) -> None:
        super().__init__()
        try:
            self._trackio: Any = import_module("trackio")
        except ModuleNotFoundError as error:
            raise MissingExtra(
                "trainer.trackio needs the package trackio, which is not installed. Install it (pip"
                " install 'roots-lm[track]', or pip install -e '.[track]' in a clone), or leave"
                " trainer.trackio out: metrics.csv has the same numbers."
            ) from error
        self._title = f"{title}/{run.path.name}"
        self._config = redact_values(config)
        self._resume = "allow" if goes_on else "never"
        self._run: Any = None

    @property
    def name(self) -> str:
        """The project of all runs."""
        return PROJECT

    @property
    def version(self) -> str:
        """The run."""
        return self._title

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the configuration is told when the run is opened."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds metrics of a step."""
        with contextlib.redirect_stdout(sys.stderr):  # where it says how to see them
            if self._run is None:
                self._run = self._trackio.init(
                    project=PROJECT,
                    name=self._title,
                    config=self._config,
                    resume=self._resume,
                    embed=False,
                )
            self._run.log({name: float(value) for name, value in metrics.items()}, step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Waits until everything is kept."""
        if self._run is not None:
            with contextlib.redirect_stdout(sys.stderr):
                self._run.finish()
            self._run = None
            self._resume = "allow"  # should the same trainer report again
