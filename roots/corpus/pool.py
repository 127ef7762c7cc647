"""The worker processes, seen from the parent: batches in, encoded batches out, in order."""

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
from typing import TypeVar

from roots.corpus.worker import Encoded, encode
from roots.errors import DataError
from roots.tokenizer import Tokenizer

Batch = TypeVar("Batch")

_WORKER = "import sys; from roots.corpus.worker import main; main(sys.argv[1])"
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


def encode_in_order(
    batches: Iterable[Batch], texts_of: Callable[[Batch], list[str]], folder: Path, workers: int
) -> Generator[tuple[Batch, Encoded]]:
    """Encodes the texts of every batch; the order does not depend on the number of workers.

    Args:
        batches: Streamed; a few per worker are held at a time.
        texts_of: Takes the texts out of a batch.
        folder: The folder of the tokenizer.
        workers: Processes; with 1 it is done in this one.

    Raises:
        DataError: A worker could not encode a batch, or was killed.
    """
    if workers == 1:
        tokenizer = Tokenizer.load(folder)
        yield from ((batch, encode(tokenizer, texts_of(batch))) for batch in batches)
        return
    pool = _Pool(folder, workers)
    try:
        yield from pool.map(batches, texts_of)
    finally:
        pool.close()


class _Pool:
    """As many threads as processes; a thread hands a batch to an idle process and waits."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._processes = [_start(folder) for _ in range(workers)]
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="roots-encode")

    def map(
        self, batches: Iterable[Batch], texts_of: Callable[[Batch], list[str]]
    ) -> Iterator[tuple[Batch, Encoded]]:
        waiting: deque[tuple[Batch, Future[Encoded]]] = deque()
        for batch in batches:
            waiting.append((batch, self._threads.submit(self._encode, texts_of(batch))))
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

    def _encode(self, texts: list[str]) -> Encoded:
        process = self._idle.get()
        try:
            answer = _ask(process, texts)
        finally:
            self._idle.put(process)
        if isinstance(answer, str):
            raise DataError(
                f"A text that begins {texts[0][:60]!r}, or one of the {len(texts) - 1:,} after it,"
                f" could not be encoded: {answer}. Try the tokenizer on it alone."
            )
        return answer


def _start(folder: Path) -> subprocess.Popen[bytes]:
    """Starts a worker that finds this very roots, and looks for modules in no working directory."""
    ours = str(Path(__file__).resolve().parents[2])
    paths = [ours, os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "TOKENIZERS_PARALLELISM": "false",
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _WORKER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


def _ask(process: subprocess.Popen[bytes], texts: list[str]) -> Encoded | str:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pickle.dump(texts, process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
        answer: Encoded | str = pickle.load(process.stdout)  # noqa: S301
    except (EOFError, OSError, pickle.UnpicklingError) as error:
        raise DataError(
            f"An encoding worker ended with exit code {process.wait()} in the middle of its work"
            " (-9: killed, most likely for memory). Run again with fewer workers."
        ) from error
    return answer


def _close(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # the last bytes have no reader any more
                pipe.close()
