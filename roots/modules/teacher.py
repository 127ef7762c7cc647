"""A teacher that is asked about the batches of a student."""

from __future__ import annotations

from typing import Any

import torch

from roots.modules.matching import Matching
from roots.objectives import Listener, Teaching


class Teacher:
    """A network that says of a batch what it thinks; no module, so that nothing trains or saves it.

    Args:
        trainable: The network, run as the student is.
        listener: Stands in it where a loss would be.
        distiller: How much it counts.
        matching: Compares the states of both; None compares none.
    """

    def __init__(
        self, trainable: Any, listener: Listener, distiller: Any, matching: Matching | None
    ) -> None:
        self.trainable = trainable
        self._listener = listener
        self._distiller = distiller
        self._matching = matching

    def __call__(self, objective: Any, batch: Any) -> Any:
        """Makes the objective of a student of what the teacher says of a batch."""
        with torch.no_grad():
            self.trainable(batch)
        said, self._listener.heard = self._listener.heard, None
        how = self._distiller
        return objective.beside(Teaching(said, how.alpha, how.temperature))

    @property
    def n_pairs(self) -> int:
        """How many blocks of the student are compared with its own."""
        return self._matching.n_pairs if self._matching else 0

    def leave(self) -> None:
        """Leaves the student as it was without a teacher."""
        if self._matching is not None:
            self._matching.leave()
