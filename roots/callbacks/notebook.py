"""What a run shows in a notebook: one place below the cell, written over again and again."""

from __future__ import annotations

import sys
from typing import Any

LINES_KEPT = 12
"""Lines that stay above the one that is written over."""


class Place:
    """A place below the cell that runs; what is shown there last stays."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, forms: dict[str, Any]) -> None:
        """Shows something in place of what was there.

        Args:
            forms: The same thing by MIME type: `{"text/plain": "step 3"}`; images as bytes.
        """
        from IPython.display import display

        if self._handle is None:
            self._handle = display(forms, raw=True, display_id=True)
        else:
            self._handle.update(forms, raw=True)


def in_notebook() -> bool:
    """Tells whether this process is the kernel of a notebook (Jupyter, Colab, VS Code)."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None
