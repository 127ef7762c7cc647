"""Shipping a network: `export` writes a Hugging Face folder that says what it holds.

The names are imported when they are first used, because `roots --help` must not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roots.deployment.exporting import export
    from roots.deployment.manifest import ExportManifest

_HOMES = {"ExportManifest": "manifest", "export": "exporting"}

__all__ = ["ExportManifest", "export"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'roots.deployment' has no attribute {name!r}")
    return getattr(import_module(f"roots.deployment.{_HOMES[name]}"), name)
