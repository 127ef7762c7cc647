"""A checkpoint that is written behind the steps that follow it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from roots.callbacks.failed_saves import Saving


class Flight:
    """One checkpoint being written, at once or by a thread; what fails in it is kept.

    The process does not end before the thread does.

    Args:
        saving: Its books.
        write: Writes what was copied, and puts the folder in its place.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        saving: Saving,
        write: Callable[[], None],
        *,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.saving = saving
        self.step_seconds = 0.0
        self.write_seconds = 0.0
        self.is_told = False
        self._write = write
        self._now = now
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Writes behind what follows."""
        self._thread = threading.Thread(target=self.run, name="roots-save")
        self._thread.start()

    def run(self) -> None:
        """Writes."""
        began = self._now()
        try:
            self._write()
        except BaseException as error:  # raised where all ranks meet
            self.saving.error = error
        self.write_seconds = self._now() - began

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is written any more."""
        return self._thread is None or not self._thread.is_alive()

    def join(self) -> None:
        """Waits until it is done."""
        if self._thread is not None:
            self._thread.join()

    @property
    def words(self) -> str:
        """Says how long it took."""
        if self._thread is None:
            return f"saved step {self.saving.step:,}: {self.step_seconds:.2f} s in the step"
        return (
            f"saved step {self.saving.step:,}: {self.step_seconds:.2f} s in the step,"
            f" {self.write_seconds:.2f} s behind it"
        )
