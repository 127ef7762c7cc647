"""A worker process: reads a job, then batches, on stdin; writes the answers on stdout.

It is a plain subprocess and not a `multiprocessing` one, because those run the caller's script
again (spawn), which a script without `if __name__ == "__main__"` does not survive, or copy a
process that has threads (fork), which may hang.

A message is a pickle; both ends are the same roots on the same machine.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, TypeVar

from roots.errors import RootsError

Payload = TypeVar("Payload")
Answer = TypeVar("Answer")
_Payload_contra = TypeVar("_Payload_contra", contravariant=True)
_Answer_co = TypeVar("_Answer_co", covariant=True)


class Job(Protocol[_Payload_contra, _Answer_co]):
    """What a worker does with every batch: small, and written as a pickle."""

    def open(self) -> Callable[[_Payload_contra], _Answer_co]:
        """Loads what it needs, once per process."""

    def failed(self, payload: _Payload_contra, why: str) -> str:
        """Words what went wrong with a batch, and the cure."""


@dataclass(frozen=True)
class Failure:
    """What went wrong with a batch.

    Args:
        why: The error in words.
        complete: Whether these say all, cure included, as roots' own errors do.
    """

    why: str
    complete: bool


def main() -> None:
    """Answers batches until stdin ends, with what came out or the words of what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    answers = _take_stdout()
    sys.path[:], job = pickle.load(sys.stdin.buffer)  # noqa: S301
    work = _opened(job)
    while True:
        try:
            payload = pickle.load(sys.stdin.buffer)  # noqa: S301
        except EOFError:
            return
        pickle.dump(_tried(work, payload), answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _opened(job: bytes) -> Callable[[Any], Any]:
    """Opens the job; where that fails, every batch is answered with why."""
    try:
        work: Callable[[Any], Any] = pickle.loads(job).open()  # noqa: S301
    except Exception as error:  # told to the parent, which raises it
        failure = _failure(error)
        return lambda _: failure
    return work


def _tried(work: Callable[[Any], Any], payload: Any) -> Any:
    try:
        return work(payload)
    except Exception as error:  # told to the parent, which raises it
        return _failure(error)


def _failure(error: Exception) -> Failure:
    ours = isinstance(error, RootsError)
    return Failure(str(error) if ours else f"{type(error).__name__}: {error}", complete=ours)


def _take_stdout() -> BinaryIO:
    """Keeps stdout for answers: whatever else prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers
