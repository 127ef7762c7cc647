"""Runs: the trainer, run files put together, and the command line."""

from roots.fit.compose import compose, resume
from roots.fit.loading import load
from roots.fit.run_files import merge, read_run_files
from roots.fit.trainer import Trainer

__all__ = ["Trainer", "compose", "load", "merge", "read_run_files", "resume"]
