"""Networks of somebody's own, which transformers knows once their module is imported."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roots.errors import CheckpointError
from roots.runs import Run


def registered_causal() -> set[str]:
    """Names the classes that were registered with `AutoModelForCausalLM`."""
    from transformers import AutoModelForCausalLM

    return {cls.__name__ for cls in AutoModelForCausalLM._model_mapping._extra_content.values()}


def import_classes_of(run: Run, folder: Path) -> None:
    """Imports the modules of the classes that a run's config.yaml names for its network.

    They come from the Python path, as when the run was started. Nothing that lies in the run's own
    directory is imported.

    Args:
        run: The run.
        folder: One of its checkpoints.

    Raises:
        CheckpointError: One cannot be imported, and transformers does not know the network.
    """
    troubles = [words for path in _classes(run.config()) if (words := _imported(path, run))]
    if troubles and not _is_known(folder):
        raise CheckpointError(
            f"{folder} holds a network that transformers does not know, and {troubles[0]}. Put the"
            " folder of what defines it on the Python path (PYTHONPATH), or install it."
        )


def _classes(config: dict[str, Any]) -> Iterator[str]:
    """Lists the classes of the module and of its network, those of roots left out."""
    module: Any = config.get("model") or {}
    arguments: Any = module.get("init_args") or {}
    for spec in (arguments.get("network"), module):
        path = str(spec.get("class_path") or "") if isinstance(spec, dict) else ""
        if "." in path and not path.startswith("roots."):
            yield path


def _imported(class_path: str, run: Run) -> str:
    """Imports the module of a class; says why where that does not work."""
    name = class_path.rpartition(".")[0]
    first = name.partition(".")[0]
    if first in sys.modules and name in sys.modules:
        return ""
    try:
        if _lies_in(first, run.path.resolve()):
            return f"{class_path} lies in the run's directory, of which no code is run"
        importlib.import_module(name)
    except Exception as error:  # whatever a module of somebody raises
        return f"{class_path} cannot be imported: {type(error).__name__}: {error}"
    return ""


def _lies_in(module: str, folder: Path) -> bool:
    spec = importlib.util.find_spec(module)
    if spec is None:
        return False
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else ())]
    return any(Path(place).resolve().is_relative_to(folder) for place in places)


def _is_known(folder: Path) -> bool:
    from transformers import CONFIG_MAPPING

    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return told["model_type"] in CONFIG_MAPPING
    except (OSError, ValueError, LookupError, TypeError):
        return True  # what is wrong with it is said where it is read
