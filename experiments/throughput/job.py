"""What a contender's process is given, and what it measures. Needs torch and numpy, nothing else.

The watch is stopped after every optimizer step. On a GPU it notes an event, so that nobody waits
for the device except after the first step, after the warm-up, and at the end.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

PACKAGES = ("torch", "transformers", "lightning", "accelerate", "litgpt", "liger-kernel", "numpy")
BETAS, EPS, CLIP_NORM = (0.9, 0.95), 1e-8, 1.0
"""AdamW without weight decay: which matrices are decayed is where the contenders differ."""


@dataclass(frozen=True)
class Job:
    """One contender in one round.

    Args:
        contender: Its name.
        settings: Its own settings.
        attention: The attention that it takes over from another contender; may be empty.
        device: `cpu` or `cuda`.
        precision: `bf16-mixed` or `32`.
        network: Keys of transformers' Llama configuration.
        weights: The Hugging Face folder that everybody starts from.
        windows: The .npy file of tokens, (steps, sequences, T + 1): inputs and, one on, targets.
        shards: The shards that these windows are cut from, for roots.
        seq_len: Tokens in a sequence.
        sequences_per_step: Sequences of an optimizer step.
        micro_batch_size: Sequences in a forward pass.
        learning_rate: Constant.
        warmup_steps: Steps before the watch is started, at least 1.
        steps: Steps that are timed.
        started: When the process was started, in seconds since the epoch.
        scratch: A folder for what a contender cannot help writing.
        out: The file for the result.
    """

    contender: str
    settings: dict[str, Any]
    attention: str
    device: str
    precision: str
    network: dict[str, Any]
    weights: str
    windows: str
    shards: str
    seq_len: int
    sequences_per_step: int
    micro_batch_size: int
    learning_rate: float
    warmup_steps: int
    steps: int
    started: float
    scratch: str
    out: str

    @classmethod
    def read(cls, path: str | Path) -> Job:
        """Reads a job."""
        return cls(**json.loads(Path(path).read_text()))

    def write(self, path: Path) -> None:
        """Writes a job."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @property
    def total_steps(self) -> int:
        """Steps of the run."""
        return self.warmup_steps + self.steps

    @property
    def micro_batches(self) -> int:
        """Forward passes of a step."""
        return self.sequences_per_step // self.micro_batch_size

    @property
    def rows(self) -> Tensor:
        """All sequences in their order, (steps · sequences, T + 1), int64."""
        windows = np.load(self.windows, mmap_mode="r")[: self.total_steps]
        return torch.from_numpy(windows.reshape(-1, self.seq_len + 1).astype(np.int64))

    def steps_of_rows(self) -> Iterator[list[Tensor]]:
        """Yields for each optimizer step its micro-batches, (B, T + 1)."""
        for step in self.rows.split(self.sequences_per_step):
            yield list(step.split(self.micro_batch_size))


class Stopwatch:
    """Times the steps of a job and keeps its losses, on the device until the end.

    Args:
        job: The job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.on_gpu = job.device == "cuda"
        self.first_step_seconds = 0.0
        self.peak_bytes = 0
        self.parameters = 0
        self.attention = ""
        self._seconds = 0.0
        self._marks: list[Any] = []
        self._pending: list[Tensor] = []
        self._losses: list[list[Tensor]] = []

    def keep_loss(self, share: Tensor) -> None:
        """Keeps a micro-batch's share of the step's mean loss."""
        self._pending.append(share.detach())

    def describe(self, network: torch.nn.Module, *, attention: str = "") -> None:
        """Notes the size of what is trained, and which attention computes it."""
        self.parameters = sum(p.numel() for p in network.parameters())
        config = getattr(network, "config", None)
        self.attention = attention or str(getattr(config, "_attn_implementation", ""))

    def step_done(self) -> None:
        """Notes that an optimizer step was finished, or, on a GPU, enqueued."""
        self._losses.append(self._pending)
        self._pending = []
        done = len(self._losses)
        if done in (1, self.job.warmup_steps, self.job.total_steps):
            self._wait()
        if done == 1:
            self.first_step_seconds = time.time() - self.job.started
        if done >= self.job.warmup_steps:
            self._marks.append(self._mark())
        if done == self.job.warmup_steps:
            self._seconds = time.perf_counter()
        if done == self.job.total_steps:
            self._seconds = time.perf_counter() - self._seconds
            self.peak_bytes = (
                torch.cuda.max_memory_allocated() if self.on_gpu else peak_of_process()
            )

    def write(self) -> None:
        """Writes what was measured, whole or not at all.

        Raises:
            RuntimeError: The contender made fewer or more steps than it was asked for.
        """
        if len(self._losses) != self.job.total_steps:
            raise RuntimeError(
                f"{self.job.contender} made {len(self._losses)} optimizer steps, expected"
                f" {self.job.total_steps}: it does not do the work of the others."
            )
        out = Path(self.job.out)
        temporary = out.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.result(), indent=2) + "\n")
        temporary.replace(out)

    def result(self) -> dict[str, Any]:
        """Gives what was measured, as plain values."""
        step_seconds = self._step_seconds()
        tokens = self.job.seq_len * self.job.sequences_per_step
        return {
            "contender": self.job.contender,
            "tokens_per_second": tokens * self.job.steps / self._seconds,
            "median_tokens_per_second": tokens / statistics.median(step_seconds),
            "step_seconds": step_seconds,
            "first_step_seconds": self.first_step_seconds,
            "peak_bytes": self.peak_bytes,
            "losses": [float(torch.stack(shares).sum()) for shares in self._losses],
            "parameters": self.parameters,
            "attention": self.attention,
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }

    def _step_seconds(self) -> list[float]:
        pairs = zip(self._marks[:-1], self._marks[1:], strict=True)
        if self.on_gpu:
            return [before.elapsed_time(after) / 1000 for before, after in pairs]
        return [after - before for before, after in pairs]

    def _mark(self) -> Any:
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()


def peak_of_process() -> int:
    """Gives the largest resident size that this process ever had, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    """Gives the versions of the packages that decide the numbers."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main(run: Any) -> None:
    """Runs a contender as a process: `python run_….py JOB`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run(Job.read(sys.argv[1]))
