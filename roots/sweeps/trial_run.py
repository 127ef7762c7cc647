"""A trial while it runs: one launcher process per fit, and the metrics file that it writes."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roots.errors import CheckpointError, ConfigError
from roots.runs import Metrics, Run, load_metrics, redact_values
from roots.runs.lock import LOCK_FILE, RunLock
from roots.sweeps.checks import flag
from roots.sweeps.definition import Definition
from roots.sweeps.fits import Fit
from roots.sweeps.trial import Trial

RETRIES = 3
"""How often a trial that was killed is taken up again."""
PATIENCE_SECONDS = 120.0
"""How long a process may take to write its checkpoint before it is killed."""


@dataclass(frozen=True)
class Layout:
    """Where a sweep's trials write.

    Args:
        folder: The sweep's directory.
        configs: The run files that its trials start from; empty is `base.yaml`, all in one.
    """

    folder: Path
    configs: tuple[str, ...] = ()

    @property
    def trials(self) -> Path:
        """The runs of the trials."""
        return self.folder / "trials"

    def name(self, trial: Trial, fit: Fit) -> str:
        """Names the run of a fit."""
        return f"trial-{trial.number + 1:04d}{fit.ending}"

    def runs(self, trial: Trial, fit: Fit) -> list[Run]:
        """Lists the runs of a fit, oldest first."""
        files = (self.trials / self.name(trial, fit)).glob("*/config.yaml")
        return [Run(f.parent) for f in sorted(files) if f.parent.name.isdecimal()]

    def log(self, trial: Trial) -> Path:
        """What a trial's processes say."""
        return self.trials / f"trial-{trial.number + 1:04d}.log"


def command_of(
    definition: Definition,
    layout: Layout,
    trial: Trial,
    fit: Fit,
    resume: Run | None = None,
) -> list[str]:
    """Gives the command line of a fit.

    Args:
        definition: The sweep.
        layout: Where its trials write.
        trial: The trial.
        fit: Which of its fits.
        resume: A run to go on with.
    """
    if resume is not None:
        args = [f"--resume={resume.path}"]
    else:
        configs = layout.configs or (str(layout.folder / "base.yaml"),)
        args = [*(f"--config={c}" for c in configs), f"--name={layout.name(trial, fit)}"]
        args += [f"--trainer.runs_dir={layout.trials}"]
        args += [flag(name, value) for name, value in {**trial.values, **fit.settings}.items()]
    args.append("--trainer.progress=false")
    words = definition.command or ("${interpreter}", "-m", "roots", "fit", "${args}")
    command: list[str] = []
    for word in words:
        command += args if word == "${args}" else [_expanded(word)]
    return [word for word in command if word]


def _expanded(word: str) -> str:
    """Puts what W&B's macros stand for in their place."""
    if word.startswith("${envvar:"):
        return os.environ.get(word.removeprefix("${envvar:").rstrip("}"), "")
    values = {"${env}": "" if os.name == "nt" else "/usr/bin/env", "${interpreter}": sys.executable}
    return values.get(word, word)


class TrialRun:
    """Runs one trial: its fits one after the other, each again from its checkpoint when killed.

    Args:
        definition: The sweep.
        layout: Where its trials write.
        trial: The trial.
        environment: The processes' environment.
    """

    def __init__(
        self,
        definition: Definition,
        layout: Layout,
        trial: Trial,
        environment: Mapping[str, str],
    ) -> None:
        self.definition = definition
        self.layout = layout
        self.trial = trial
        self.results: dict[str, float] = dict(trial.notes.get("results", {}))
        self.paths: dict[str, str] = dict(trial.notes.get("runs", {}))
        self.seconds = float(trial.notes.get("seconds", 0.0))
        self.is_asked_to_stop = False
        self._environment = dict(environment)
        self._retries = RETRIES
        self._process: subprocess.Popen[bytes] | None = None
        self._runs_before = 0
        self._log_begins = 0
        self._since = 0.0
        self._stop_by = 0.0
        self._read: tuple[Any, Metrics] = (None, Metrics((), {}))

    # -- the processes -----------------------------------------------------------------------

    @property
    def fit(self) -> Fit:
        """The fit that is trained now."""
        return self.definition.fits[len(self.results)]

    @property
    def is_complete(self) -> bool:
        """Tells whether every fit has its result."""
        return len(self.results) >= len(self.definition.fits)

    def start(self) -> None:
        """Starts the process of the present fit, from its newest checkpoint where there is one.

        Raises:
            CheckpointError: Another process trains its run.
            ConfigError: The sweep file's `command` cannot be started.
        """
        runs = self.layout.runs(self.trial, self.fit)
        for run in runs:
            end_holder(run)
        resume = runs[-1] if runs and runs[-1].checkpoints() else None
        self._runs_before = len(runs) - 1 if resume else len(runs)
        command = command_of(self.definition, self.layout, self.trial, self.fit, resume)
        log = self.layout.log(self.trial)
        log.parent.mkdir(parents=True, exist_ok=True)
        self._since = time.monotonic()
        with log.open("ab") as file:
            file.write(f"$ {' '.join(redact_values(command))}\n".encode())
            file.flush()
            self._log_begins = file.tell()
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    env=self._environment,
                    start_new_session=True,  # Ctrl-C comes to the sweep, which ends them politely
                )
            except OSError as error:
                raise ConfigError(
                    f"{command[0]} cannot be started: {error.strerror}. Correct `command` in the"
                    " sweep file."
                ) from None

    def ended(self) -> int | None:
        """Gives the exit code once the process has ended."""
        assert self._process is not None
        code = self._process.poll()
        if code is not None and (code < 0 or code == 1):
            self._end_group()  # ranks that it left behind would keep its devices
        if code is None and self._stop_by and time.monotonic() > self._stop_by:
            self.kill()
        if code is not None and self._since:
            self.seconds += time.monotonic() - self._since
            self._since = 0.0
        return code

    def stop(self) -> None:
        """Asks the process to write a checkpoint and end."""
        if not self.is_asked_to_stop and self._process is not None:
            self._process.terminate()
            self._stop_by = time.monotonic() + PATIENCE_SECONDS
        self.is_asked_to_stop = True

    def kill(self) -> None:
        """Ends the process, and those that it started, at once."""
        assert self._process is not None
        self._end_group()

    def _end_group(self) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def may_retry(self, code: int) -> bool:
        """Tells whether what ended the process may not end it again, and counts it.

        That is a signal from outside, or a crash; not what roots itself refuses or gives up.
        """
        refused = code == 2 or (code == 1 and self.last_words().startswith("roots: "))
        self._retries -= 1
        return not refused and self._retries >= 0

    def last_words(self) -> str:
        """The last paragraph of what the present process said: what went wrong."""
        said = self.layout.log(self.trial).read_bytes()[self._log_begins :]
        lines = said.decode("utf-8", "replace").rstrip().splitlines()
        begins = [n for n, line in enumerate(lines) if line.startswith("roots: ")]
        return " ".join(lines[begins[-1] :] if begins else lines[-1:]) or "it said nothing"

    # -- what it measures --------------------------------------------------------------------

    @property
    def run(self) -> Run | None:
        """The run directory of the present fit, once there is one."""
        runs = self.layout.runs(self.trial, self.fit)[self._runs_before :]
        return runs[-1] if runs else None

    def curve(self) -> dict[int, float]:
        """Reads what the metric was so far, by step.

        Raises:
            DataError: The metrics file is not what a run writes.
        """
        return dict(zip(*self._metrics().series(self.definition.metric.name), strict=True))

    def logged(self) -> set[str]:
        """Names what the run has logged."""
        return {name for row in self._metrics().rows.values() for name in row}

    def keep_result(self) -> None:
        """Takes the last value of the metric as the result of the present fit."""
        curve, run = self.curve(), self.run
        assert run is not None
        key = self.fit.key
        self.paths[key] = str(run.path.absolute())
        self.results[key] = curve[max(curve)]

    @property
    def mean(self) -> float:
        """The mean of the results so far."""
        return statistics.fmean(self.results.values())

    def notes(self) -> dict[str, Any]:
        """What the study keeps of it."""
        if not self.is_complete and (run := self.run) is not None:
            self.paths[self.fit.key] = str(run.path.absolute())
        return {"results": self.results, "runs": self.paths, "seconds": self.seconds}

    def _metrics(self) -> Metrics:
        """Reads the metrics file when it has changed: it is asked for four times a second."""
        run = self.run
        if run is None or not run.metrics_file.is_file():
            return Metrics((), {})
        stat = run.metrics_file.stat()
        version = (run.path, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if self._read[0] != version:
            self._read = (version, load_metrics(run.metrics_file))
        return self._read[1]


def end_holder(run: Run) -> None:
    """Ends a process that outlived its sweep and still trains a run; it writes a checkpoint.

    Raises:
        CheckpointError: It is on another machine, or does not end.
    """
    lock = RunLock(run.path)
    began = time.monotonic()
    while held := lock.acquire():
        holder = _holder(run)
        waited = time.monotonic() - began
        if holder.get("host") != socket.gethostname() or waited > PATIENCE_SECONDS:
            raise CheckpointError(
                f"{run.path} is in use by {held}. Stop it there, then resume the sweep again."
            )
        with suppress(ProcessLookupError):  # it has just gone
            os.kill(int(holder["pid"]), signal.SIGTERM)
        time.sleep(0.5)
    lock.release()


def _holder(run: Run) -> dict[str, Any]:
    try:
        return dict(json.loads((run.path / LOCK_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
