"""Runs a function as several ranks of one gloo group, as torchrun would start them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any


def run_ranks(
    function: Callable[..., Any], *args: Any, ranks: int = 2, timeout: float = 120
) -> list:
    """Forks `ranks` processes that call `function(*args)`; gives what each returned, by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [
        context.Process(target=_rank, args=(function, rank, ranks, port, queue, args))
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    try:
        answers = [queue.get(timeout=timeout) for _ in processes]
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    failed = [answer[2] for answer in answers if answer[1] == "failed"]
    assert not failed, failed[0]
    return [answer[2] for answer in sorted(answers, key=lambda answer: answer[0])]


def _rank(
    function: Callable[..., Any], rank: int, ranks: int, port: int, queue: Any, args: tuple
) -> None:
    os.environ.update(
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
    import torch

    torch.set_num_threads(1)
    try:
        queue.put((rank, "done", function(*args)))
    except BaseException:
        queue.put((rank, "failed", traceback.format_exc()))
