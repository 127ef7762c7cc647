"""What draws the values of a sweep's trials."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from roots.sweeps.definition import Definition
from roots.sweeps.parameters import Parameter
from roots.sweeps.storage import optuna


class Sampler(optuna.samplers.BaseSampler):
    """Draws for each trial from a seed of its own, so that it depends on the trial's number."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._inner: Any = None

    def before_trial(self, study: Any, trial: Any) -> None:
        """Makes what draws for this trial."""
        seeds = np.random.SeedSequence([self._definition.draw_seed, trial.number])
        seed = int(seeds.generate_state(1)[0])
        if self._definition.method == "bayes":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._inner = optuna.samplers.TPESampler(
                    seed=seed,
                    n_startup_trials=n_random(self._definition.run_cap),
                    multivariate=True,
                    constant_liar=True,
                )
        else:
            self._inner = optuna.samplers.RandomSampler(seed=seed)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        """Asks what draws."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        """Asks what draws."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Any, trial: Any, param_name: str, param_distribution: Any
    ) -> Any:
        """Asks what draws; the values of a grid are counted through."""
        if self._definition.method != "grid":
            return self._inner.sample_independent(study, trial, param_name, param_distribution)
        place = trial.number
        for parameter in reversed(self._definition.parameters):
            place, here = divmod(place, parameter.n_points)
            if parameter.name == param_name:
                return here
        raise KeyError(param_name)


def n_random(run_cap: int) -> int:
    """Gives how many trials of `bayes` are drawn at random before there is something to go by."""
    return min(10, max(4, run_cap // 4)) if run_cap else 10


def distribution(parameter: Parameter, method: str) -> Any:
    """Gives the space that Optuna searches."""
    kinds = optuna.distributions
    if method == "grid":
        return kinds.IntDistribution(0, parameter.n_points - 1)
    if parameter.scale == "choice":
        return kinds.CategoricalDistribution(parameter.labels)
    if parameter.scale == "whole":
        return kinds.IntDistribution(int(parameter.low), int(parameter.high))
    return kinds.FloatDistribution(parameter.low, parameter.high, log=parameter.scale == "log")
