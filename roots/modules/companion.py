"""What a second network beside the one that is trained must offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar


class Companion(ABC):
    """Says something of every batch that a network is scored on; it is not trained, nor saved.

    A `Distiller` brings a teacher, a `PreferenceLM` the network as it was before training.
    """

    name: ClassVar[str]
    """What it is called in checkpoints, plans and environment.json."""

    is_cut_too: ClassVar[bool] = False
    """Whether it is cut over the devices where the network is; else each device has all of it."""

    def speaks_in(self, verb: str | None) -> bool:
        """Tells whether it is asked in a `fit`, `validate`, `test` or `predict`."""
        return verb != "predict"

    @abstractmethod
    def check_together(self, module: Any, strategy: Any, compiled: str) -> None:
        """Raises ConfigError when other settings do not work with it."""

    @abstractmethod
    def planned(self, module: Any, data: Any) -> str:
        """Checks that it fits to a module, and says what it is, as a line of a plan."""

    @abstractmethod
    def empty(self, module: Any) -> Any:
        """Makes its network without weights, on the meta device; None where it has none itself."""

    @abstractmethod
    def engage(self, module: Any, trainer: Any) -> str:
        """Builds it, and lets it speak of every batch; says in words what was done."""

    @abstractmethod
    def join(self, trainable: Any, network: Any, decide: Callable[[Any], Any]) -> Any:
        """Lets a network speak of every batch that a trainable is scored on.

        Args:
            trainable: What is trained.
            network: What `empty` makes, with weights.
            decide: Chooses which forward is run of a trainable.
        """

    @property
    @abstractmethod
    def record(self) -> dict[str, str]:
        """What a checkpoint keeps of it, as plain values."""

    @abstractmethod
    def check_saved(self, saved: Mapping[str, str] | None) -> None:
        """Raises CheckpointError when a checkpoint was made with another one."""
