"""The run directory and its checkpoints: names, atomic writes, provenance, what is whole."""

from roots.runs.checkpoint import (
    CHECKPOINT_FILE,
    TRAINER_FILE,
    Checkpoint,
    file_sums,
    written_files,
)
from roots.runs.run import (
    Run,
    atomic_folder,
    check_name,
    claim,
    network_folder,
    newest,
    open_run,
    read_metrics,
    redact,
    replace_folder,
    write_atomically,
)

__all__ = [
    "CHECKPOINT_FILE",
    "TRAINER_FILE",
    "Checkpoint",
    "Run",
    "atomic_folder",
    "check_name",
    "claim",
    "file_sums",
    "network_folder",
    "newest",
    "open_run",
    "read_metrics",
    "redact",
    "replace_folder",
    "write_atomically",
    "written_files",
]
