"""The worker processes, seen from the parent: batches in, answers out, in order."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from roots.corpus.worker import Answer, Failure, Job, Payload
from roots.errors import ConfigError, DataError

Batch = TypeVar("Batch")

_WORKER = "from roots.corpus.worker import main; main()"
_IN_FLIGHT = 3
"""Batches per worker that wait or are at work: this bounds the memory."""
_BYTES_PER_WORKER = 4 * 2**20
"""Less text than this is not worth the start of a further process."""


def choose_workers(workers: int, n_bytes: int) -> int:
    """Turns 0 into one per core, though not more than the text is worth."""
    if workers:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, n_bytes // _BYTES_PER_WORKER))


def map_in_order(
    batches: Iterable[Batch],
    payload_of: Callable[[Batch], Payload],
    job: Job[Payload, Answer],
    workers: int,
) -> Generator[tuple[Batch, Answer]]:
    """Does the job on every batch; the order does not depend on the number of workers.

    Args:
        batches: Streamed; a few per worker are held at a time.
        payload_of: Takes out of a batch what a worker needs.
        job: What to do with it.
        workers: Processes; with 1 it is done in this one.

    Raises:
        ConfigError: The job cannot be sent to another process.
        DataError: A worker failed on a batch, or was killed.
    """
    if workers == 1:
        work = job.open()
        yield from ((batch, work(payload_of(batch))) for batch in batches)
        return
    pool = _Pool(job, workers)
    try:
        yield from pool.map(batches, payload_of)
    finally:
        pool.close()


class _Pool:
    """As many threads as processes; a thread hands a batch to an idle process and waits."""

    def __init__(self, job: Job[Any, Any], workers: int) -> None:
        self._job = job
        message = _message(job)
        self._processes = [_start(message) for _ in range(workers)]
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="roots-corpus")

    def map(
        self, batches: Iterable[Batch], payload_of: Callable[[Batch], Any]
    ) -> Iterator[tuple[Batch, Any]]:
        waiting: deque[tuple[Batch, Future[Any]]] = deque()
        for batch in batches:
            waiting.append((batch, self._threads.submit(self._answer, payload_of(batch))))
            if len(waiting) >= _IN_FLIGHT * len(self._processes):
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            _close(process)

    def _answer(self, payload: Any) -> Any:
        try:
            message = pickle.dumps(payload, protocol=pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            why = f"it cannot be sent to a worker process ({error}); keep plain values as metadata"
            raise DataError(self._job.failed(payload, why)) from error
        process = self._idle.get()
        try:
            answer = _ask(process, message)
        finally:
            self._idle.put(process)
        if isinstance(answer, Failure):
            why = answer.why
            raise DataError(why if answer.complete else self._job.failed(payload, why))
        return answer


def _message(job: Job[Any, Any]) -> bytes:
    """Packs the job with the module search path of this process, so that a worker finds the same.

    Raises:
        ConfigError: Something in the job cannot be written as a pickle.
    """
    try:
        return pickle.dumps((sys.path, pickle.dumps(job)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{type(job).__name__} cannot be sent to a worker process: {error}. Make its parts of"
            " plain values and of functions and classes that a module defines, or set workers to 1."
        ) from error


def _start(message: bytes) -> subprocess.Popen[bytes]:
    """Starts a worker that finds this very roots, and looks for modules in no working directory."""
    ours = str(Path(__file__).resolve().parents[2])
    paths = [ours, os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "TOKENIZERS_PARALLELISM": "false",
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert process.stdin is not None
    with suppress(OSError):  # one that is dead already is told of when it is asked
        process.stdin.write(message)
        process.stdin.flush()
    return process


def _ask(process: subprocess.Popen[bytes], message: bytes) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(message)
        process.stdin.flush()
        return pickle.load(process.stdout)  # noqa: S301
    except (EOFError, OSError, pickle.UnpicklingError) as error:
        raise DataError(
            f"A corpus worker ended with exit code {process.wait()} in the middle of its work"
            " (-9: killed, most likely for memory). Run again with fewer workers."
        ) from error


def _close(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # the last bytes have no reader any more
                pipe.close()
