"""The run directory and its checkpoints: names, atomic writes, provenance, what is whole.

run.py          Run: what lies in the directory, and how it is found
checkpoint.py   Checkpoint: a folder, its record and its sums
environment.py  what the run ran on
metrics.py      the rows of metrics.csv, as text or as checked numbers
lock.py         one process trains a run, and anybody can tell which
state.py        running, finished, failed or interrupted
listing.py      the runs of a folder; which runs are meant by names and patterns
writing.py      files and folders that are there whole or not at all
places.py       whether something can be written where a flag says; a new run's directory
redaction.py    secrets do not reach a file
syncing.py      sends what W&B kept offline
command.py      `roots list` and `roots sync`
"""

from roots.runs.checkpoint import (
    CHECKPOINT_FILE,
    TRAINER_FILE,
    Checkpoint,
    file_sums,
    read_checkpoint,
    written_files,
)
from roots.runs.environment import environment_of
from roots.runs.listing import RunSummary, find_runs, list_runs, summary
from roots.runs.lock import RunLock, holder
from roots.runs.metrics import Metrics, load_metrics, read_metrics
from roots.runs.places import check_name, check_place, claim
from roots.runs.redaction import hidden_names, redact, redact_values, write_record
from roots.runs.run import (
    Run,
    network_folder,
    newest,
    open_run,
)
from roots.runs.state import RunState, state_of
from roots.runs.writing import atomic_folder, replace_folder, write_atomically

__all__ = [
    "CHECKPOINT_FILE",
    "TRAINER_FILE",
    "Checkpoint",
    "Metrics",
    "Run",
    "RunLock",
    "RunState",
    "RunSummary",
    "atomic_folder",
    "check_name",
    "check_place",
    "claim",
    "environment_of",
    "file_sums",
    "find_runs",
    "hidden_names",
    "holder",
    "list_runs",
    "load_metrics",
    "network_folder",
    "newest",
    "open_run",
    "read_checkpoint",
    "read_metrics",
    "redact",
    "redact_values",
    "replace_folder",
    "state_of",
    "summary",
    "write_atomically",
    "write_record",
    "written_files",
]
