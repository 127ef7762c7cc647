"""Arguments of the verbs that use a network: how they are parsed, and how one is named."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from roots.errors import ConfigError, refusing
from roots.records import expanded, is_folder
from roots.runs import open_run


class Parser(argparse.ArgumentParser):
    """A parser that raises ConfigError for a wrong argument, in place of printing all its usage."""

    def error(self, message: str) -> NoReturn:
        """Raises what argparse found."""
        refusing(self.prog)(message)


def add_source(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that name a network."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", metavar="RUN", help="a run's directory: runs/quickstart/0001")
    source.add_argument(
        "--model",
        metavar="FOLDER",
        help="a checkpoint, a Hugging Face folder, or a name on the Hugging Face hub",
    )
    parser.add_argument(
        "--checkpoint", metavar="WHICH", help="of a run: best (default), last, or a step"
    )


def named_source(given: argparse.Namespace) -> tuple[str, str]:
    """Gives the path of the network, and which checkpoint of a run.

    Raises:
        CheckpointError: `--run` is no run.
        ConfigError: A checkpoint is named of something that has only one network.
    """
    if given.run is not None:
        path = Path(expanded(given.run))
        holds_runs = is_folder(path) and any(path.glob("[0-9]*/config.yaml"))
        if not holds_runs:  # else `find` tells which runs are in it
            open_run(path)
        return str(path), given.checkpoint or "best"
    if given.checkpoint is not None:
        raise ConfigError(
            f"--checkpoint {given.checkpoint} chooses among those of a run, and --model"
            f" {given.model} is one network. Leave it out, or name the run with --run."
        )
    return given.model, "best"
