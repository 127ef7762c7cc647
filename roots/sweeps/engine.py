"""The local engine: starts trials on free places, follows them, and ends those that fall behind."""

from __future__ import annotations

import math
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from roots.callbacks.stop_signals import Interrupted
from roots.errors import ConfigError, TrainingError
from roots.runs.lock import RunLock
from roots.sweeps.checks import no_metric
from roots.sweeps.definition import Definition
from roots.sweeps.places import environment_of
from roots.sweeps.storage import StorageLost
from roots.sweeps.study import Study
from roots.sweeps.trial import FAILED, FINISHED, PRUNED, RUNNING, WORKERS, Trial, own
from roots.sweeps.trial_run import Layout, TrialRun
from roots.sweeps.words import told

POLL_SECONDS = 0.25
OWNERLESS_SECONDS = 5.0
"""How long a trial that has begun may be without its owner's name before it is nobody's."""
TAKING_SECONDS = 1.0
"""How long machines that take the same trial of nobody may be apart."""
GIVE_UP = 3
"""So many trials that fail, before one is finished, end the sweep."""


class Engine:
    """Runs the trials of a sweep, several at once.

    Args:
        definition: The sweep.
        layout: Where its trials write.
        study: Keeps the trials.
        n_trials: How many there shall be in all.
        workers: How many run at once.
        gpus_per_trial: GPUs of each; 0 lets all trials see all.
        go_on: The command that goes on with the sweep.
        say: Shows a line to whoever watches.
    """

    def __init__(
        self,
        definition: Definition,
        layout: Layout,
        study: Study,
        *,
        n_trials: int,
        workers: int = 1,
        gpus_per_trial: int = 0,
        go_on: str = "",
        say: Callable[[str], None] = print,
    ) -> None:
        self.definition = definition
        self.layout = layout
        self.study = study
        self.n_trials = n_trials
        self._environments = [
            environment_of(place, workers, gpus_per_trial) for place in range(workers)
        ]
        self._go_on = go_on
        self._say = say
        self._active: dict[int, TrialRun] = {}
        self._left: list[Trial] = []
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._signals: list[int] = []

    def run(self) -> None:
        """Runs until there is no trial left.

        Raises:
            Interrupted: It was asked to stop; every trial has its checkpoint.
            TrainingError: The first trials all failed.
            StorageLost: The trials' storage broke off, for longer than it is waited for.
            ConfigError: A run did not log the metric, and none has.
        """
        lock = own(self.layout.folder, self._owner)
        self.study.while_away(gives_up=lambda: bool(self._signals), say=self._say)
        try:
            with self._listening():
                self._work()
        finally:
            lock.release()

    def _work(self) -> None:
        try:
            self._left = self._take_over()
            self._loop()
        except StorageLost:
            self.study.while_away(gives_up=lambda: True, say=self._say)  # it was waited for
            if self._signals:
                raise self._interrupted(" while its storage was away") from None
            raise
        finally:
            self._end_all()

    def _loop(self) -> None:
        while True:
            self._fill()
            if self._signals:
                raise self._interrupted()
            if not self._active:
                break
            for place, run in list(self._active.items()):
                self._look_at(place, run)
            time.sleep(POLL_SECONDS)
        for trial in self._running():
            self._say(
                f"{trial.label} still runs elsewhere ({trial.notes.get('owner', 'nobody knows')});"
                " if it was killed there, resume the sweep there"
            )

    def _interrupted(self, when: str = "") -> Interrupted:
        by = f"{signal.Signals(self._signals[0]).name}{when}"
        return Interrupted(f"The sweep was stopped by {by}. Go on with: {self._go_on}")

    # -- places ------------------------------------------------------------------------------

    def _fill(self) -> None:
        for place, environment in enumerate(self._environments):
            if place in self._active or self._signals or self._is_done():
                continue
            trial = self._left.pop(0) if self._left else self.study.ask(self.n_trials)
            if trial is None:
                return
            self.study.note(trial.number, owner=self._owner)
            run = TrialRun(self.definition, self.layout, trial, environment)
            if run.is_complete:  # it was stopped between its end and the record of it
                self._close_complete(place, run)
            else:
                run.start()
                self._active[place] = run

    def _is_done(self) -> bool:
        metric = self.definition.metric
        if metric.target is None or self._left:
            return False
        done = [t for t in self.study.trials() if t.state == FINISHED]
        return any(t.value is not None and metric.is_reached(t.value) for t in done)

    def _running(self) -> list[Trial]:
        return [trial for trial in self.study.trials() if trial.state == RUNNING]

    def _take_over(self) -> list[Trial]:
        """Takes the trials whose sweep process was killed, or that it left in a run before."""
        mine: list[Trial] = []
        running, end = self._running(), time.monotonic() + OWNERLESS_SECONDS
        while not all("owner" in trial.notes for trial in running) and time.monotonic() < end:
            time.sleep(POLL_SECONDS)  # another machine may be about to write its name
            running = self._running()
        known = {trial.number for trial in running}
        for owner in dict.fromkeys(str(t.notes.get("owner", "")) for t in running):
            folder = self.layout.folder / WORKERS / (owner or ".unknown")
            if owner and not folder.is_dir():
                continue  # another machine's, with a directory of its own
            folder.mkdir(parents=True, exist_ok=True)
            lock = RunLock(folder)
            if lock.acquire():
                continue  # it lives
            for trial in self._running():
                if trial.number in known and str(trial.notes.get("owner", "")) == owner:
                    self.study.note(trial.number, owner=self._owner)
                    mine.append(trial)
            lock.release()
        for trial in (mine := self._without_lost(mine)):
            self._say(f"{trial.label} goes on where it was stopped")
        return [self.study.drawn_again(trial) for trial in mine]

    def _without_lost(self, taken: list[Trial]) -> list[Trial]:
        """Leaves out what was nobody's and another machine took too: the last to write has it."""
        if all("owner" in trial.notes for trial in taken):
            return taken
        time.sleep(TAKING_SECONDS)
        owners = {trial.number: trial.notes.get("owner") for trial in self._running()}
        return [trial for trial in taken if owners.get(trial.number) == self._owner]

    # -- a trial -----------------------------------------------------------------------------

    def _look_at(self, place: int, run: TrialRun) -> None:
        code = run.ended()
        if self._falls_behind(run) and code is None:
            run.stop()
        if code is None or self._signals:
            return
        if code == 0:
            self._fit_done(place, run)
        elif run.is_asked_to_stop:
            self._close(place, run, PRUNED)
        elif run.may_retry(code):
            cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self._say(f"{run.trial.label} was ended ({cause}) and is taken up again")
            run.start()
        else:
            self._close(place, run, FAILED)
            self._refuse_hopeless(run, run.last_words())

    def _falls_behind(self, run: TrialRun) -> bool:
        """Hands on what the run has measured since; tells whether it should end."""
        if len(self.definition.fits) > 1:
            return False
        known = run.trial.curve
        new = {step: value for step, value in run.curve().items() if step not in known}
        known.update(new)
        verdicts = [self.study.report(run.trial.number, *measured) for measured in new.items()]
        return any(verdicts)

    def _fit_done(self, place: int, run: TrialRun) -> None:
        if not (curve := run.curve()):
            self._close_without_metric(place, run)
            return
        run.keep_result()
        behind = False
        if len(self.definition.fits) > 1:
            n_done = len(run.results)
            run.trial.curve[n_done] = run.mean
            behind = self.study.report(run.trial.number, n_done, run.mean)
        if run.is_complete:
            self._close_complete(place, run, f" at step {max(curve):,}")
        elif behind or run.is_asked_to_stop:
            self._close(place, run, PRUNED)
        else:
            self.study.note(run.trial.number, **run.notes())
            run.start()

    def _close_complete(self, place: int, run: TrialRun, where: str = "") -> None:
        if len(run.results) > 1:
            where = f" over fits of {', '.join(f'{r:.5g}' for r in run.results.values())}"
        because = f"{self.definition.metric.name} is {run.mean}{where}"
        self._close(place, run, FINISHED if math.isfinite(run.mean) else FAILED, because)
        self._refuse_hopeless(run, f"{because}.")

    def _close_without_metric(self, place: int, run: TrialRun) -> None:
        because = no_metric(self.definition.metric.name, run.logged())
        self._close(place, run, FAILED, because)
        if not any(trial.state in (FINISHED, PRUNED) for trial in self.study.trials()):
            raise ConfigError(because)

    def _close(self, place: int, run: TrialRun, state: str, because: str = "") -> None:
        self._active.pop(place, None)
        trial, notes = run.trial, run.notes()
        if state == FAILED:
            notes["because"] = because[:500] or run.last_words()[-500:]
        self.study.note(trial.number, **notes)
        self.study.tell(trial.number, state, run.mean if state == FINISHED else None)
        self._say(told(self.definition, self.study.trials(), trial.number, self.n_trials))

    def _refuse_hopeless(self, run: TrialRun, because: str) -> None:
        trials = self.study.trials()
        failed = [trial for trial in trials if trial.state == FAILED]
        if len(failed) >= GIVE_UP and not any(t.state in (FINISHED, PRUNED) for t in trials):
            raise TrainingError(
                f"The first {len(failed)} trials all failed, the last one so: {because}"
                f" Its log is {self.layout.log(run.trial)}. Correct the run files or the ranges,"
                " and start the sweep anew."
            )

    # -- the end -----------------------------------------------------------------------------

    def _end_all(self) -> None:
        """Ends the trials that still run, with their checkpoints; they stay open in the study."""
        for run in self._active.values():
            run.stop()
        for run in self._active.values():
            while run.ended() is None:
                if len(self._signals) > 1:
                    run.kill()
                time.sleep(POLL_SECONDS)
        with suppress(StorageLost):  # then they are taken up from what the study knows
            for run in self._active.values():
                self.study.note(run.trial.number, **run.notes())
        self._active.clear()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Notes Ctrl-C and SIGTERM instead of dying of them; a notebook's thread cannot."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, self._hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if not self._signals:
            self._say("stopping: each trial writes a checkpoint (again to stop at once)")
        self._signals.append(number)
