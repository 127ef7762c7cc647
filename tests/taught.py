"""Runs with a teacher, and the numbers of a run."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from roots.runs import Run


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def numbers(run: Run, *names: str) -> torch.Tensor:
    rows = [[float(row[n] or "nan") for n in names] for row in rows_of(run)]
    return torch.tensor(rows, dtype=torch.float64)


def taught(config: dict[str, Any], teacher: Path | str, **settings: Any) -> dict[str, Any]:
    """The same run with a teacher."""
    arguments = {"teacher": str(teacher), **settings}
    distiller = {"class_path": "roots.modules.Distiller", "init_args": arguments}
    model = config["model"]
    init_args = {**model["init_args"], "distiller": distiller}
    return {**config, "model": {**model, "init_args": init_args}}
