"""Sweeps: many runs that differ in some settings, and which of them is best.

definition.py   the sweep file, in W&B's form
metric.py       what trials are judged by
fits.py         the fits of a trial: seeds and folds
parameters.py   one parameter, its values and how they are searched
reading.py      the parameters of a sweep file
hyperband.py    which trials end early
checks.py       what is refused before the first trial
trial.py        the record of a trial, and where its runs are
storage.py      where Optuna keeps the trials: a file, a database, a journal
sampler.py      what a trial tries, drawn by its number
study.py        the trials, by Optuna
places.py       GPUs and cores of a trial
trial_run.py    one trial: its processes and its metrics file
engine.py       several trials at once, followed to their ends
words.py        trials in words and in order
figures.py      what is drawn of a sweep
report.py       the page, and the best trial as a run file
sweep.py        all of it as an object
opening.py      sweeps from a file, or from a directory
with_wandb.py   the same file with W&B's engine
command.py      `roots sweep`
"""

from roots.sweeps.definition import Definition, read_definition
from roots.sweeps.hyperband import Hyperband
from roots.sweeps.metric import Metric
from roots.sweeps.opening import open_sweep, read_sweep
from roots.sweeps.parameters import Parameter
from roots.sweeps.sweep import Sweep

__all__ = [
    "Definition",
    "Hyperband",
    "Metric",
    "Parameter",
    "Sweep",
    "open_sweep",
    "read_definition",
    "read_sweep",
]
