"""A run's twin at Weights & Biases: one W&B run for one run directory, however often it resumes."""

from __future__ import annotations

import io
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from functools import partial
from string import ascii_lowercase, digits
from typing import Any
from urllib.parse import urlsplit

import lightning as L
from lightning.pytorch.loggers import WandbLogger

from roots.callbacks.stop_signals import Interrupted
from roots.callbacks.told import told_if_it_fails
from roots.errors import CheckpointError, ConfigError
from roots.runs import Checkpoint, Run, redact_values, write_atomically

ID_FILE = "wandb.json"
"""The id and project of the run's W&B run, so that a resumed fit goes on with it."""
FILES = ("config.yaml", "environment.json")


class WandbRun(L.Callback):
    """Sends samples, the figure, configuration and environment, and closes the W&B run.

    Numbers go there through the logger, step by step.

    Args:
        checkpoints: Send the newest and the best checkpoint as artifacts when the fit ends, with
            the aliases `last` and `best`.
    """

    def __init__(self, *, checkpoints: bool = False) -> None:
        self.checkpoints = checkpoints
        self._n_samples = 0

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sends the samples that came since."""
        if trainer.state.fn == "fit":
            self._send_samples(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sends what a finished fit leaves."""
        self._send_samples(trainer)
        with told_if_it_fails(trainer, "not all files of the run were sent to W&B"):
            self._send_files(trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Closes the W&B run, which the next run of this process would go on with."""
        _finish(trainer, exit_code=0)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Closes the W&B run as one that failed; what was stopped on request sends its files."""
        if isinstance(exception, Interrupted):
            self.on_fit_end(trainer, pl_module)
        _finish(trainer, exit_code=1)

    def _send_samples(self, trainer: Any) -> None:
        logger = _logger(trainer)
        if logger is None:
            return
        with told_if_it_fails(trainer, "the samples were not sent to W&B"):
            records = trainer.run.samples.read()
            if len(records) == self._n_samples:
                return
            self._n_samples = len(records)
            for name, columns, rows in sample_tables(records):
                logger.log_table(name, columns=columns, data=rows, step=trainer.global_step)

    def _send_files(self, trainer: Any) -> None:
        logger = _logger(trainer)
        if logger is None:
            return
        run: Run = trainer.run
        figure = run.path / "loss.png"
        if figure.is_file():
            logger.log_image("loss", [str(figure)], step=trainer.global_step)
        with redirect_stderr(io.StringIO()):  # it warns that these are links, as they are to be
            for name in FILES:
                logger.experiment.save(str(run.path / name), base_path=str(run.path), policy="now")
        for checkpoint, aliases in named_checkpoints(run) if self.checkpoints else []:
            logger.experiment.log_artifact(_artifact(run, checkpoint), aliases=aliases)


def sample_tables(
    records: Sequence[dict[str, Any]],
) -> Iterator[tuple[str, list[str], list[list[Any]]]]:
    """Gives a table for each set of keys, told without secrets: its name, columns and rows.

    `Samples` and `GeneratedTexts` keep other things of a text. The first table is `samples`, the
    next `samples_2`.
    """
    rows: dict[tuple[str, ...], list[list[Any]]] = {}
    for record in records:
        rows.setdefault(tuple(record), []).append(redact_values(list(record.values())))
    for number, columns in enumerate(rows, start=1):
        yield "samples" if number == 1 else f"samples_{number}", list(columns), rows[columns]


def named_checkpoints(run: Run) -> list[tuple[Checkpoint, list[str]]]:
    """Gives the newest checkpoint and the best one with their aliases, once where they are one."""
    try:
        last, best = run.last(), run.best()
    except CheckpointError:  # stopped before there was one
        return []
    if last.step == best.step:
        return [(last, ["last", "best", f"step-{last.step}"])]
    return [(best, ["best", f"step-{best.step}"]), (last, ["last", f"step-{last.step}"])]


def open_wandb(trainer: Any) -> WandbLogger:
    """Opens the W&B run before the network is built; all ranks learn when it cannot be opened.

    Raises:
        ConfigError: W&B cannot be reached, refuses the key, or another W&B run is open.
    """
    run, first = trainer.run, trainer.is_global_zero
    make = partial(wandb_logger, run, trainer.name, trainer.spec)
    refused = ""
    try:
        logger = make(is_first=first)
        refused = _refused(logger, run) if first else ""
    except (CheckpointError, OSError) as error:
        refused = f"W&B cannot be opened: {error}"
    if refused := trainer.strategy.broadcast(refused):
        raise ConfigError(refused)
    if first and logger.experiment.offline and not logger.experiment.disabled:
        trainer.say(f"W&B keeps the run offline; send it there with: roots sync {run.path}")
    return logger


def _refused(logger: WandbLogger, run: Run) -> str:
    """Opens the W&B run; says why that failed, or nothing."""
    import wandb

    if wandb.run is not None and wandb.run.id != logger.version:
        return (
            f"The W&B run {wandb.run.id} is open in this process: the fit would log into it and"
            " close it. Close it first (wandb.finish()), or leave trainer.wandb out."
        )
    try:
        _ = logger.experiment
    except (wandb.errors.Error, ValueError, OSError) as error:
        return (
            f"W&B cannot be opened ({type(error).__name__}: {' '.join(str(error).split())}). Look"
            " at the network and the key (wandb login, or WANDB_API_KEY); or set"
            f" WANDB_MODE=offline and send the run later, by roots sync {run.path}."
        )
    return ""


def wandb_logger(
    run: Run, name: str, config: dict[str, Any], *, is_first: bool = True
) -> WandbLogger:
    """Makes what opens a W&B run: as WANDB_MODE says, else online with a key and offline without.

    A run that was tracked before goes on with its W&B run.

    Args:
        run: The run.
        name: Its name.
        config: Its configuration, which is told without secrets.
        is_first: Whether this is the first rank, the one that tracks.
    """
    from wandb import Settings

    # W&B reads the environment once in a process, and a notebook may change it between fits
    mode: Any = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    silent: Any = os.environ.get("WANDB_SILENT") or True
    twin = _twin(run) if is_first else {"id": None, "project": "roots"}
    return WandbLogger(
        **twin,
        resume="allow",
        name=f"{name}/{run.path.name}",
        save_dir=str(run.path),
        config=redact_values(config),
        # it would copy the command line and whatever is printed, secrets and all
        settings=Settings(x_disable_meta=True, console="off", mode=mode, silent=silent),
    )


def _twin(run: Run) -> dict[str, Any]:
    """Gives id and project of the run's W&B run; chosen, and written down, the first time."""
    file = run.path / ID_FILE
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return {"id": str(told["id"]), "project": str(told["project"])}
    except FileNotFoundError:
        new = "".join(secrets.choice(ascii_lowercase + digits) for _ in range(8))  # as W&B does
        if "WANDB_SWEEP_ID" in os.environ:  # an agent has chosen it, and no other is taken
            new = os.environ.get("WANDB_RUN_ID", new)
        twin = {"id": new, "project": os.environ.get("WANDB_PROJECT", "roots")}
        write_atomically(file, json.dumps(twin, indent=2) + "\n")
        return twin
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file} is damaged ({error!r}). Remove it to track the rest of the run as a W&B run of"
            " its own, or write the id of the former one there."
        ) from error


def _artifact(run: Run, checkpoint: Checkpoint) -> Any:
    from wandb import Artifact

    artifact = Artifact(
        f"{run.path.parent.name}-{run.path.name}",
        type="checkpoint",
        metadata={"step": checkpoint.step, **checkpoint.metrics},
    )
    artifact.add_dir(str(checkpoint.path))
    return artifact


def _logger(trainer: Any) -> WandbLogger | None:
    found = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    return found[0] if found and trainer.is_global_zero else None


def _finish(trainer: Any, *, exit_code: int) -> None:
    logger = _logger(trainer)
    if logger is not None and trainer.state.fn == "fit":
        with told_if_it_fails(trainer, "the W&B run was not closed"):
            logger.experiment.finish(exit_code=exit_code)


def _has_key() -> bool:
    """Tells whether there is a key for the server, W&B's own or one that WANDB_BASE_URL names."""
    import netrc

    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(server) is not None
    except (OSError, netrc.NetrcParseError):
        return False
