"""The trials of a sweep, kept by Optuna."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from roots.sweeps.definition import Definition
from roots.sweeps.sampler import Sampler, distribution
from roots.sweeps.storage import Storage, optuna
from roots.sweeps.trial import FAILED, FINISHED, PRUNED, RUNNING, Trial

TrialState = optuna.trial.TrialState
_STATES = {
    TrialState.COMPLETE: FINISHED,
    TrialState.PRUNED: PRUNED,
    TrialState.FAIL: FAILED,
    TrialState.RUNNING: RUNNING,
}
_OPTUNAS = {name: state for state, name in _STATES.items()}
Method = TypeVar("Method", bound=Callable[..., Any])


def _kept(method: Method) -> Method:
    """Repeats a method of the study once when a statement of it was cut off, then tells that.

    So each may be done twice: it reads, or it writes the same at the same place.
    """

    @functools.wraps(method)
    def asked(self: Study, *args: Any, **kwargs: Any) -> Any:
        with suppress(optuna.exceptions.StorageInternalError):
            return method(self, *args, **kwargs)
        try:
            return method(self, *args, **kwargs)
        except optuna.exceptions.StorageInternalError as error:
            assert self.storage is not None
            raise self.storage.lost(error) from None

    return cast(Method, asked)


class Study:
    """Says what the next trial tries, whether one should end, and keeps what came out.

    What trial `n` of a grid or a random search tries is a function of the definition and of `n`
    alone; with `bayes` also of the trials that are done. So a sweep that goes on, or that several
    machines share, draws nothing twice.

    Args:
        definition: The sweep.
        storage: A database's URL, or a journal file on a disk that machines share; a `Path` is a
            file of SQLite; empty keeps the trials in memory.
        name: The study's name in the storage.

    Raises:
        ConfigError: The storage cannot be opened.
        MissingExtra: The package that speaks with the storage is not installed.
    """

    def __init__(self, definition: Definition, storage: str | Path = "", name: str = "") -> None:
        self.definition = definition
        self.name = name
        self.storage = Storage(storage) if storage else None
        self._trials: dict[int, Any] = {}
        opened = self.storage.open() if self.storage else None
        try:
            self._study = optuna.create_study(
                study_name=name or None,
                storage=opened,
                direction="maximize" if definition.metric.maximize else "minimize",
                sampler=Sampler(definition),
                pruner=_Pruner(definition),
                load_if_exists=True,
            )
        except optuna.exceptions.StorageInternalError as error:
            assert self.storage is not None
            raise self.storage.refused(error.__cause__ or error) from None

    def while_away(self, *, gives_up: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Takes what is done while the storage is away.

        Args:
            gives_up: Tells whether to wait no longer.
            say: Shows a line when the waiting begins, and one when it ends.
        """
        if self.storage is not None:
            self.storage.gives_up, self.storage.say = gives_up, say

    def ask(self, n_trials: int) -> Trial | None:
        """Begins the next trial; None when there are `n_trials`."""
        trial = self._next(n_trials)
        return None if trial is None else self._drawn(trial, n_trials)

    @_kept
    def _next(self, n_trials: int) -> Any:
        return None if len(self._begun()) >= n_trials else self._study.ask()

    @_kept
    def _drawn(self, trial: Any, n_trials: int) -> Trial | None:
        if trial.number >= n_trials:  # another machine was faster; it keeps its number
            self._study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            return None
        self._trials[trial.number] = trial
        return Trial(trial.number, RUNNING, self._draw(trial))

    @_kept
    def drawn_again(self, trial: Trial) -> Trial:
        """Draws what a trial tries, where the process that began it was killed before it had."""
        self._trials.pop(trial.number, None)
        begun = self._running(trial.number)  # its draws begin anew
        if "values" not in begun.user_attrs:
            trial.values = self._draw(begun)
        return trial

    def _draw(self, trial: Any) -> dict[str, Any]:
        """Gives every parameter its value, and writes them down; one that has its own keeps it."""
        for parameter in self.definition.searched:
            name, space = parameter.name, distribution(parameter, self._method)
            if name in trial.params and self._method == "random" and not space.single():
                self._study.sampler.sample_independent(self._study, trial, name, space)  # is passed
            trial._suggest(name, space)
        values = self._values(trial.params)
        trial.set_user_attr("values", values)
        return values

    @_kept
    def note(self, number: int, **notes: Any) -> None:
        """Writes something down of a running trial."""
        for key, value in notes.items():
            self._running(number).set_user_attr(key, value)

    @_kept
    def report(self, number: int, step: int, value: float) -> bool:
        """Takes an intermediate value; tells whether the trial should end."""
        trial = self._running(number)
        known = self._study._storage.get_trial(trial._trial_id).intermediate_values
        if step not in known:
            trial.report(value, step)
        return bool(trial.should_prune())

    @_kept
    def tell(self, number: int, state: str, value: float | None = None) -> None:
        """Ends a trial."""
        trial = self._running(number)
        if state == FINISHED:
            self._study.tell(trial, value, skip_if_finished=True)
        else:
            self._study.tell(trial, state=_OPTUNAS[state], skip_if_finished=True)
        del self._trials[number]

    @_kept
    def trials(self) -> list[Trial]:
        """Lists the trials in the order of their starts."""
        return [
            Trial(
                number=trial.number,
                state=_STATES.get(trial.state, RUNNING),
                values=self._drawn_values(trial),
                value=_value(trial),
                curve=dict(sorted(trial.intermediate_values.items())),
                notes={k: v for k, v in trial.user_attrs.items() if k != "values"},
            )
            for trial in self._begun()
        ]

    @_kept
    def importances(self) -> dict[str, float]:
        """Gives the share of the variance of the results that each parameter explains.

        Returns:
            Shares that add up to 1, the largest first; empty where too few trials are done.

        Source:
            Hutter et al., ICML 2014 (fANOVA).
        """
        names = {p.name for p in self.definition.searched}
        done = [
            t
            for t in self.trials()
            if t.state == FINISHED and t.value is not None and names <= t.values.keys()
        ]
        varied = [
            p.name
            for p in self.definition.searched
            if len({str(t.values[p.name]) for t in done}) > 1
        ]
        if len(done) < 4 or not varied or len({t.value for t in done}) == 1:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(
            self._study, evaluator=evaluator, params=varied
        )
        return {name: float(share) for name, share in found.items()}

    @property
    def _method(self) -> str:
        return self.definition.method

    @_kept
    def namesakes(self) -> list[str]:
        """Lists the studies in the same storage of sweeps that have this one's name alone."""
        alike = re.compile(rf"{re.escape(self.definition.name)}-[0-9a-f]{{8}}")
        every = optuna.get_all_study_names(self._study._storage)
        return [other for other in every if other != self.name and alike.fullmatch(other)]

    def _begun(self) -> list[Any]:
        """Lists Optuna's trials without those that were given back; the next ask takes these."""
        found = self._study.get_trials(deepcopy=False)
        return [trial for trial in found if trial.state != TrialState.WAITING]

    def _drawn_values(self, trial: Any) -> dict[str, Any]:
        """Gives the values as they were written down; choices as they are in the sweep file.

        In what was written down, keys of a table that are numbers became words.
        """
        kept = trial.user_attrs.get("values", {})
        numbers = {
            parameter.name for parameter in self.definition.parameters if not parameter.choices
        }
        kept = {name: value for name, value in kept.items() if name in numbers}
        return {**self._values(trial.params), **kept}

    def _values(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Makes the parameters' values of the numbers that Optuna keeps."""
        values: dict[str, Any] = {}
        for parameter in self.definition.parameters:
            if parameter.is_constant:
                values[parameter.name] = parameter.choices[0]
            elif parameter.name not in found:
                continue
            elif self._method == "grid":
                values[parameter.name] = parameter.point(int(found[parameter.name]))
            else:
                values[parameter.name] = parameter.value(found[parameter.name])
        return values

    def _running(self, number: int) -> Any:
        """Finds a running trial, also one that an earlier process began."""
        if number not in self._trials:
            found = self._study.get_trials(deepcopy=False)[number]
            self._trials[number] = optuna.trial.Trial(self._study, found._trial_id)
        return self._trials[number]


class _Pruner(optuna.pruners.BasePruner):
    """Asks the sweep's rule."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition

    def prune(self, study: Any, trial: Any) -> bool:
        """Tells whether a trial should end."""
        if self._definition.early is None:
            return False
        everyone = [self._costs(t) for t in study.get_trials(deepcopy=False)]
        return self._definition.early.stops(self._costs(trial), everyone)

    def _costs(self, trial: Any) -> list[float]:
        values = sorted(trial.intermediate_values.items())
        return [self._definition.metric.cost(value) for _, value in values]


def _value(trial: Any) -> float | None:
    if trial.state == TrialState.COMPLETE:
        return float(trial.value)
    curve: Sequence[float] = [v for _, v in sorted(trial.intermediate_values.items())]
    return curve[-1] if curve and math.isfinite(curve[-1]) else None
