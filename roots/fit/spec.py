"""The configuration of a run as config.yaml has it, with what the run decided itself."""

from __future__ import annotations

from typing import Any

import lightning as L

from roots.records import plain


class HasSpec(L.Trainer):
    """Lightning's Trainer, which forgets what it was made with; this one writes it down."""

    name: str
    seed: int
    _arguments: dict[str, Any]
    _spec: dict[str, Any] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What this trainer was made with, before names became objects."""
        return self._arguments

    @property
    def spec(self) -> dict[str, Any]:
        """The plain form of the whole run: what config.yaml holds."""
        if self._spec is not None:
            return self._spec
        trainer = {k: v for k, v in self._arguments.items() if k not in ("name", "seed")}
        return {
            "name": self.name,
            "seed": self.seed,
            "model": self.lightning_module.spec,
            "data": self.datamodule.spec,  # type: ignore[attr-defined]
            "trainer": plain(trainer),
        }

    def set_spec(self, spec: dict[str, Any]) -> None:
        """Takes the resolved configuration that this trainer was made from.

        A precision that was chosen for this device is written down by its name, so that the run
        goes on with it elsewhere.
        """
        self._spec = spec
        if spec["trainer"]["precision"] == "auto":
            spec["trainer"]["precision"] = str(self.precision).removesuffix("-true")

    def write_down(self, attention: str) -> None:
        """Takes the attention that was chosen for this run into its configuration."""
        if self._spec is not None:
            network = self._spec["model"]["init_args"]["network"]
            network["init_args"]["attention"] = attention

    def write_down_rows(self, rows: int) -> None:
        """Takes the size of micro-batches that was found for this run into its configuration."""
        if self._spec is not None:
            self._spec["model"]["init_args"]["micro_batch_size"] = rows
