"""Runs a function as several ranks of one gloo group, as torchrun would start them."""

from __future__ import annotations

import multiprocessing
import os
import queue
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from tiny import without_pages


def run_ranks(
    function: Callable[..., Any], *args: Any, ranks: int = 2, timeout: float = 120
) -> list:
    """Calls `function(*args)` in `ranks` processes; gives what each returned, by rank."""
    processes, answers = start_ranks(function, *args, ranks=ranks)
    given: dict[int, tuple[bool, Any]] = {}
    try:
        given = _answers(answers, processes, timeout)
        silent = {n: process.exitcode for n, process in enumerate(processes) if n not in given}
    finally:
        for process in processes:
            process.join(10 if len(given) == len(processes) else 0)
            process.kill()
    failed = [f"rank {rank}: {answer}" for rank, (done, answer) in given.items() if not done]
    if silent:
        failed.append(f"no answer within {timeout} s; exit codes by rank: {silent}")
    assert not failed, "\n".join(failed)
    return [given[rank][1] for rank in range(ranks)]


def start_ranks(function: Callable[..., Any], *args: Any, ranks: int = 2) -> tuple[list, Any]:
    """Starts `ranks` processes that call `function(*args)`; gives them, and where they answer.

    They come from a server that has imported roots and has run nothing: a fork of the process
    of the tests would have its threads' locks and its groups, and whatever else tests left there.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = server()
    answers = context.Queue()
    here = (dict(os.environ), Path.cwd())
    processes = [
        context.Process(target=_rank, args=(function, rank, ranks, port, answers, here, args))
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    return processes, answers


@cache
def server() -> ForkServerContext:
    """A server of processes that have what a fit imports; it is ready when this returns."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded"])
    with pytest.MonkeyPatch.context() as patch:  # the server has no other way to learn of it
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    first = context.Process(target=int)
    first.start()
    first.join()  # imports can take a minute where many start at once: no rank's time runs yet
    return context


def _answers(answers: Any, processes: list, timeout: float) -> dict[int, tuple[bool, Any]]:
    """Waits for every rank, or until one has died without an answer: the others wait for it."""
    given: dict[int, tuple[bool, Any]] = {}
    end = time.monotonic() + timeout
    while len(given) < len(processes) and time.monotonic() < end:
        dead = {rank for rank, process in enumerate(processes) if process.exitcode is not None}
        try:
            rank, *answer = answers.get(timeout=1)
            given[rank] = (answer[0], answer[1])
        except queue.Empty:
            if dead - set(given):
                break
    return given


def _rank(
    function: Callable[..., Any],
    rank: int,
    ranks: int,
    port: int,
    answers: Any,
    here: tuple[dict[str, str], Path],
    args: tuple,
) -> None:
    environment, folder = here
    os.environ.clear()
    os.environ.update(
        environment,
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        GROUP_RANK="0",
        WORLD_SIZE=str(ranks),
        LOCAL_WORLD_SIZE=str(ranks),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        TORCHELASTIC_RUN_ID="test",
        OMP_NUM_THREADS="1",
    )
    os.chdir(folder)
    try:
        import torch

        torch.set_num_threads(1)
        without_pages(pytest.MonkeyPatch())  # the process ends: nothing is put back
        answers.put((rank, True, function(*args)))
    except BaseException:
        answers.put((rank, False, traceback.format_exc()))
