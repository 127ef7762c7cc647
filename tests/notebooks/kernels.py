"""Executes notebooks as a person would, in a kernel of this Python and this checkout."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
SETTINGS = "parameters"
"""The tag of the cell with a notebook's settings, as papermill has it."""


def install_kernel(folder: Path) -> dict[str, str]:
    """Writes a kernel of this interpreter; gives the variables by which it is found first."""
    kernel = folder / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    said = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(said))
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        "JUPYTER_PATH": str(folder / "jupyter"),
        "IPYTHONDIR": str(folder / "ipython"),  # nobody's own start-up files
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
    }


def read(name: str) -> NotebookNode:
    """Reads a notebook by the beginning of its name."""
    (path,) = NOTEBOOKS.glob(f"{name}_*.ipynb")
    return nbformat.read(path, as_version=4)


def execute(notebook: NotebookNode, folder: Path, settings: dict[str, Any] | None = None) -> None:
    """Runs all cells in `folder`, with settings in place of those of the notebook."""
    if settings:
        tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
        place = next(n for n, each in enumerate(tags) if SETTINGS in each)
        lines = "\n".join(f"{name} = {value!r}" for name, value in settings.items())
        notebook.cells.insert(place + 1, new_code_cell(lines))
    client = NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()


def printed(notebook: NotebookNode) -> str:
    """Gives all that was printed to stdout."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def shown(notebook: NotebookNode, mime: str) -> list[str]:
    """Gives all that was displayed in a form, such as image/png."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.data[mime] for output in outputs if mime in output.get("data", {})]
