"""What W&B kept of a run offline, once it has written it."""

from __future__ import annotations

import time
from pathlib import Path


def offline_file(folder: Path, *words: bytes, within_seconds: float = 30.0) -> bytes:
    """Reads the run file of an offline run; W&B's own process may write it after the run's end.

    Args:
        folder: The folder of the offline run.
        words: What it must hold in the end.
        within_seconds: When it is read as it then is.
    """
    (file,) = folder.glob("*.wandb")
    until = time.monotonic() + within_seconds
    content = file.read_bytes()
    while time.monotonic() < until and not all(word in content for word in words):
        time.sleep(0.2)
        content = file.read_bytes()
    return content
