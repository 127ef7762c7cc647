"""roots: from raw text to a language model that is trained, measured and shipped.

    from roots import Model, DataLoader, Trainer
    data_loader = DataLoader('data.txt')
    model = Model()
    trainer = Trainer(model, data_loader)
    trainer.train()

What the package offers is loaded when it is first asked for: `import roots` imports no torch.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

# A notebook without ipywidgets is told so by tqdm; roots draws none of its bars there.
warnings.filterwarnings("ignore", message="IProgress not found")

_OFFERED = {
    "DataLoader": "roots.quick",
    "Model": "roots.quick",
    "Trainer": "roots.quick",
    "compose": "roots.fit",
    "load": "roots.fit",
    "resume": "roots.fit",
}

__all__ = ["DataLoader", "Model", "Trainer", "compose", "load", "resume"]

if TYPE_CHECKING:
    from roots.fit import compose, load, resume
    from roots.quick import DataLoader, Model, Trainer


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _OFFERED:
        return getattr(import_module(_OFFERED[name]), name)
    raise AttributeError(f"module 'roots' has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("roots-lm")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0.0.0+checkout"


def __dir__() -> list[str]:
    return sorted([*globals(), *_OFFERED])
