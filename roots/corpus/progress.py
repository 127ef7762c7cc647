"""The line on stderr that tells how far a pass is, and how long it will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

_SECONDS_ON_TERMINAL = 0.2
_SECONDS_IN_LOG = 10.0


class Progress:
    """Shows share of the bytes, documents per second, and the time left.

    On a terminal one line is updated; elsewhere a plain line appears every ten seconds.

    Args:
        label: What is being done.
        total_bytes: How much there is to do; 0 when that is not known.
        show: False for silence.
        stream: Where to write.
        clock: Seconds, rising.
    """

    def __init__(
        self,
        *,
        label: str,
        total_bytes: int,
        show: bool,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = label
        self.total_bytes = total_bytes
        self.show = show
        self.stream = stream if stream is not None else sys.stderr
        self.clock = clock
        self.n_documents = 0
        self.n_bytes = 0
        self._terminal = self.stream.isatty()
        self._started = self._shown = clock()

    def add(self, n_bytes: int) -> None:
        """Counts one document of `n_bytes`."""
        self.n_documents += 1
        self.n_bytes += n_bytes
        if self.show:
            self._update()

    def finish(self) -> None:
        """Writes the last line, with the time that was taken."""
        if self.show:
            seconds = self.clock() - self._started
            self._write(
                f"{self.label}: {self.n_documents:,} documents, {megabytes(self.n_bytes)},"
                f" {seconds:.1f} s ({megabytes(self.n_bytes / max(seconds, 1e-9))}/s)",
                last=True,
            )

    def line(self) -> str:
        """Words the present state."""
        seconds = max(self.clock() - self._started, 1e-9)
        text = f"{self.label}: {self.n_documents / seconds:,.0f} documents/s"
        if not self.total_bytes:
            return f"{text}, {megabytes(self.n_bytes)}"
        share = min(self.n_bytes / self.total_bytes, 1.0)
        left = seconds * (1 - share) / max(share, 1e-9)
        return f"{text}, {share:.0%} of {megabytes(self.total_bytes)}, {left:,.0f} s left"

    def _update(self) -> None:
        now = self.clock()
        if now - self._shown >= (_SECONDS_ON_TERMINAL if self._terminal else _SECONDS_IN_LOG):
            self._shown = now
            self._write(self.line(), last=False)

    def _write(self, text: str, *, last: bool) -> None:
        if self._terminal:
            self.stream.write(f"\r\x1b[K{text}" + ("\n" if last else ""))
        else:
            self.stream.write(text + "\n")
        self.stream.flush()


def megabytes(n_bytes: float) -> str:
    """Writes bytes for a reader: `12.1 MB`, `3.4 GB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes:,.0f} bytes"
