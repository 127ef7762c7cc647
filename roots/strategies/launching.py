"""How the ranks of this machine are started: by the command that started the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from roots.errors import ConfigError


def is_interactive() -> bool:
    """Tells whether this is a notebook or a prompt: no command could start a second rank of it."""
    return hasattr(sys, "ps1")


class ScriptLauncher(_SubprocessScriptLauncher):
    """Starts a process for each further rank; where it cannot, a run can still be put together."""

    @property
    def is_interactive_compatible(self) -> bool:
        """Lets a notebook put such a run together: `fit` then trains it in processes apart."""
        return True

    def launch(
        self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any
    ) -> Any:
        """Starts the other ranks, and calls a function.

        One process alone is told nothing by environment variables: they would stay, and a later run
        of several would take itself for one that was started with them.

        Raises:
            ConfigError: There is no command that they could be started by, or nothing says where
                the other machines are.
        """
        if is_interactive() and self.num_processes > 1:
            raise ConfigError(
                f"{self.num_processes} devices need as many processes, which a notebook cannot make"
                " of itself. Train by roots.compose(…).fit(), which starts them as roots fit does;"
                " for anything else set trainer.devices to 1, or use the command line (roots"
                " validate, test, predict)."
            )
        by_hand = isinstance(self.cluster_environment, LightningEnvironment)  # no scheduler's
        if self.num_nodes > 1 and by_hand and "MASTER_ADDR" not in os.environ:
            raise ConfigError(
                f"num_nodes={self.num_nodes} machines are asked for, and nothing says where the"
                " others are: this one would wait for them in vain. Start the run by torchrun or"
                " SLURM (configs/launch has a script for each), or set trainer.num_nodes to 1."
            )
        if self.num_processes * self.num_nodes == 1:
            return function(*args, **kwargs)
        environment = self.cluster_environment
        environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not environment.creates_processes_externally:
            self._call_children_scripts()
            checkpoints = getattr(trainer, "checkpoints", None)
            Watch(self.procs, is_busy=lambda: getattr(checkpoints, "is_writing", False)).start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


class Watch(threading.Thread):
    """Ends all ranks of this machine once one has failed, which they may wait for for ever.

    One that was killed ends the others at once. Where one ended by itself with an error, all may be
    about to, in agreement: the first is given time, since it alone writes a checkpoint to its end
    and sends files to W&B. Lightning's own observer kills it within five seconds.

    Args:
        processes: The ranks that the first has started.
        is_busy: Whether the first is still writing a checkpoint.
        patience: Seconds that it is given, after what it writes.
        period: Seconds between two looks.
    """

    def __init__(
        self,
        processes: list[subprocess.Popen[bytes]],
        *,
        is_busy: Callable[[], bool] = lambda: False,
        patience: float = 120.0,
        period: float = 1.0,
    ) -> None:
        super().__init__(daemon=True, name="watch-of-ranks")  # ends with the process
        self.processes = processes
        self.is_busy = is_busy
        self.patience = patience
        self.period = period

    def run(self) -> None:
        """Looks until all have ended well, or one has not and the others have had their time."""
        waited = 0.0
        while any(codes := self._codes()) or None in codes:
            failed = [code for code in codes if code]
            if any(code < 0 for code in failed) or waited > self.patience:
                self._end(codes)
            waited = waited + self.period if failed and not self.is_busy() else 0.0
            time.sleep(self.period)

    def _codes(self) -> list[int | None]:
        """Gives the exit codes; None of those that run."""
        return [process.poll() for process in self.processes]

    def _end(self, codes: list[int | None]) -> None:
        number, code = next((n, code) for n, code in enumerate(codes, 1) if code)
        what = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        sys.stderr.write(
            f"\nrank {number} of this machine ended ({what}): the others are ended too\n"
        )
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        os.kill(os.getpid(), signal.SIGKILL)


class FromNotebooks(Strategy):
    """A strategy over several processes that a notebook can put a run together with."""

    def _configure_launcher(self) -> None:
        """Takes our launcher in place of Lightning's."""
        super()._configure_launcher()
        mine: Any = self._launcher
        if type(mine) is _SubprocessScriptLauncher:
            self._launcher = ScriptLauncher(
                mine.cluster_environment, mine.num_processes, mine.num_nodes
            )
