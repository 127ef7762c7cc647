"""A sweep as an object: run it, look at it, go on with it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from roots.errors import CheckpointError, ConfigError
from roots.records import expanded
from roots.runs import claim, write_atomically
from roots.sweeps.checks import check, refuse_secrets
from roots.sweeps.definition import Definition
from roots.sweeps.places import check_places
from roots.sweeps.trial import RUNNING, Trial
from roots.sweeps.trial_run import Layout, command_of
from roots.sweeps.words import ranked

if TYPE_CHECKING:
    from roots.sweeps.study import Study

SWEEP_FILE = "sweep.yaml"
STUDY_FILE = "study.db"
RECORD_FILE = "sweep.json"
ELSEWHERE = "elsewhere"
"""In that record: the trials are in a storage that was given."""


class Sweep:
    """A sweep: the trials that its file asks for, in a directory of their own.

    sweeps/<name>/<id>/
        sweep.yaml      the sweep file
        base.yaml       the merged run files that every trial starts from
        study.db        the trials, as Optuna keeps them (SQLite), unless a storage was given
        trials/         the run directories, and what each process said
        report.html     the report, its figures beside it as PNG
        best.yaml       the best trial as a run file

    Args:
        definition: What the sweep file says.
        sweeps_dir: The folder of all sweeps; `~` and `${VARIABLE}` are expanded.
        storage: A database's URL, or the path of a journal file (expanded too), which several
            machines share; empty keeps the trials in the sweep's directory.
        folder: The directory of a sweep that goes on; None makes a new one when it is run.
    """

    def __init__(
        self,
        definition: Definition,
        *,
        sweeps_dir: str | Path = "sweeps",
        storage: str = "",
        folder: Path | None = None,
    ) -> None:
        self.definition = definition
        self.sweeps_dir = Path(expanded(str(sweeps_dir)))
        self.storage = storage
        self.folder = folder
        self._study: Study | None = None

    def check(self, *, prepare: bool = True) -> str:
        """Refuses what cannot be run, before anything is; gives the fingerprint of the data.

        Args:
            prepare: Make the data where they are to be made, once for all trials.

        Raises:
            UserError: A parameter, a value or the metric cannot be, or data are missing.
        """
        return check(self.definition, prepare=prepare)

    def run(
        self,
        *,
        workers: int = 1,
        gpus_per_trial: int = 0,
        trials: int = 0,
        say: Callable[[str], None] = print,
    ) -> Trial | None:
        """Runs what is left of the sweep, and writes its report.

        Args:
            workers: How many trials run at once.
            gpus_per_trial: GPUs of each; 0 lets all trials see all.
            trials: How many there shall be in all; 0 is as many as were asked for before, or as the
                sweep file says.
            say: Shows a line to whoever watches.

        Returns:
            The best trial; None where none is finished yet, while some still run elsewhere.

        Raises:
            UserError: What `check` raises.
            CheckpointError: None is finished, or the data are not those that it began with.
            Interrupted: It was asked to stop.
            TrainingError: The first trials all failed, or the storage broke off.
        """
        from roots.sweeps.engine import Engine
        from roots.sweeps.storage import StorageLost

        if (capped := self._capped(trials)) != self.definition:
            self.definition, self._study = capped, None
        n_trials = self.definition.n_trials
        check_places(workers, gpus_per_trial)
        if self.storage:
            self._open(self.storage)  # before the data are made
        data = self.check()
        folder = self._make_folder()
        _keep(folder, data, trials)
        study = self.study
        say(f"{folder}: {n_trials} trials ({self.definition.method}), {workers} at once")
        if self.storage and not study.trials() and (others := study.namesakes()):
            say(
                f"none of them is shared: the storage knows {' and '.join(others)}, of which the"
                f" sweep file or a run file was another one than here ({study.name}). Where they"
                " should be one sweep, begin both from the same files"
            )
        engine = Engine(
            self.definition,
            Layout(folder),
            study,
            n_trials=n_trials,
            workers=workers,
            gpus_per_trial=gpus_per_trial,
            go_on=self._go_on,
            say=say,
        )
        try:
            engine.run()
        finally:
            with suppress(StorageLost):  # what the engine raised says it, or what comes next
                if ranked(self.trials(), self.definition.metric):
                    self.report()
        left = self.trials()
        if any(t.state == RUNNING for t in left) and not ranked(left, self.definition.metric):
            return None
        return self.best

    @property
    def study(self) -> Study:
        """The trials' keeper."""
        if self._study is None:
            if self.folder is None:
                raise ConfigError("The sweep has not been run yet. Call its run().")
            return self._open(self.storage or self.folder.resolve() / STUDY_FILE)
        return self._study

    def _open(self, storage: str | Path) -> Study:
        from roots.sweeps.study import Study

        if self._study is None:
            name = f"{self.definition.name}-{self.definition.fingerprint[:8]}"
            study = Study(self.definition, storage, name)
            self._refuse_forgotten(study)
            self._study = study
        return self._study

    def _refuse_forgotten(self, study: Study) -> None:
        """Refuses to begin again, with other values, in the runs of trials that nobody knows."""
        runs = [] if self.folder is None else sorted(self.folder.glob("trials/trial-*/"))
        if runs and not study.trials():
            raise CheckpointError(
                f"{self.folder} holds runs of trials, such as {runs[0].name}, and no trial of this"
                f" sweep is in {'the storage' if self.storage else STUDY_FILE}: it is another one,"
                f" or {SWEEP_FILE} or base.yaml was changed. Correct that, or start the sweep anew."
            )

    def trials(self) -> list[Trial]:
        """Lists the trials in the order of their starts."""
        return self.study.trials()

    @property
    def best(self) -> Trial:
        """The best finished trial.

        Raises:
            CheckpointError: None is finished.
        """
        trials = self.trials()
        done = ranked(trials, self.definition.metric)
        if not done:
            failed = [t.notes["because"] for t in trials if "because" in t.notes]
            last = f" The last one failed: {failed[-1].rstrip('.')}." if failed else ""
            raise CheckpointError(
                f"No trial of {self.folder} is finished.{last} {self._cure(trials)}"
            )
        return done[0]

    def _cure(self, trials: list[Trial]) -> str:
        """Words what may give a sweep without a finished trial one: a full grid has no more."""
        is_grid = self.definition.method == "grid"
        n_ended = sum(trial.state != RUNNING for trial in trials)
        if is_grid and n_ended == self.definition.grid_size:
            return (
                f"All {n_ended} points of its grid were tried: correct the run files or the values,"
                " and start the sweep anew."
            )
        return f"Go on with: {self._go_on} (with a larger --trials, for more of them)."

    def report(self) -> Path:
        """Writes the report, its figures and best.yaml; gives the page.

        Raises:
            CheckpointError: No trial is finished.
        """
        from roots.sweeps.report import write_report

        best = self.best
        assert self.folder is not None
        return write_report(self.definition, self.study, best, self.folder)

    def commands(self, n: int = 3, trials: int = 0) -> list[list[str]]:
        """Gives the command lines of the first trials, which are not run.

        Args:
            n: How many.
            trials: How many there would be in all; 0 is as many as the sweep file says.
        """
        from roots.sweeps.study import Study

        definition = self._capped(trials)
        study = Study(definition)
        files = tuple(definition.given["config"])
        layout = Layout(self.sweeps_dir / definition.name / "NEW", configs=files)
        first = definition.fits[0]
        asked = (study.ask(definition.n_trials) for _ in range(n))
        return [command_of(definition, layout, t, first) for t in asked if t is not None]

    def n_trials(self, trials: int = 0) -> int:
        """Gives how many trials there shall be, where that many are asked for; 0 asks the file."""
        return self._capped(trials).n_trials

    def _capped(self, trials: int) -> Definition:
        """What the sweep file would say with that many trials; `bayes` draws by how many."""
        if trials < 0:
            raise ConfigError(f"trials={trials} is negative. Set it to 1 or more.")
        return replace(self.definition, run_cap=trials) if trials else self.definition

    @property
    def _go_on(self) -> str:
        """The command that goes on with it; the storage's address is for the user to write."""
        where = " --storage URL" if self.storage else ""
        cap = self.definition.run_cap
        trials = "" if cap == self.definition.given.get("run_cap", 0) else f" --trials {cap}"
        return f"roots sweep --resume {shlex.quote(str(self.folder))}{where}{trials}"

    def _make_folder(self) -> Path:
        if self.folder is not None:
            return self.folder
        files = [self.definition.base, self.definition.given]
        refuse_secrets(files, "the sweep's directory would keep")
        base, said = (yaml.safe_dump(f, sort_keys=False, allow_unicode=True) for f in files)
        folder = claim(self.sweeps_dir, self.definition.name).path
        write_atomically(folder / "base.yaml", base)
        write_atomically(folder / SWEEP_FILE, said)
        record = {"storage": ELSEWHERE if self.storage else STUDY_FILE}
        write_atomically(folder / RECORD_FILE, json.dumps(record) + "\n")
        self.folder = folder
        return folder


def _keep(folder: Path, data: str, trials: int) -> None:
    """Writes down what the sweep that goes on is held to: its data, and how many trials.

    Raises:
        CheckpointError: It began with other data, so that its trials could not be compared.
    """
    record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    before = record.get("data", data)
    if before != data:
        raise CheckpointError(
            f"The data are not those that the sweep {folder} began with (fingerprint {data[:12]},"
            f" then {before[:12]}), so its trials could not be compared. Bring the old ones back,"
            " or start the sweep anew."
        )
    record |= {"data": data, **({"trials": trials} if trials else {})}
    write_atomically(folder / RECORD_FILE, json.dumps(record) + "\n")
