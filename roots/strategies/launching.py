"""How the ranks of this machine are started: by the command that started the first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
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
        return super().launch(function, *args, trainer=trainer, **kwargs)


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
