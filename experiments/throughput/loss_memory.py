"""How much memory and time the projection and the loss take, by the size of the vocabulary.

    python experiments/throughput/loss_memory.py

One forward and backward pass over 4,096 positions of width 384 under bf16 autocast on the CPU, each
way in a process of its own: what the process's peak rises above what it holds before (weights and
hidden states included), and the median seconds of a pass after the first.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch import nn

from roots.objectives import NextToken

KERNELS = ("plain", "fused", "torch")
VOCABULARIES = (8192, 32_000, 128_000)
POSITIONS, WIDTH, PASSES = 4096, 384, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("KERNEL", "V"), help="measure one, here")
    asked = parser.parse_args()
    if asked.one:
        print(*measure(asked.one[0], int(asked.one[1])))
        return
    print("| vocabulary | " + " | ".join(KERNELS) + " |")
    print("|---|" + "---|" * len(KERNELS))
    for size in VOCABULARIES:
        cells = [cell(kernel, size) for kernel in KERNELS]
        print(f"| {size:,} | " + " | ".join(cells) + " |", flush=True)


def cell(kernel: str, size: int) -> str:
    """Words the peak and the time of one way."""
    command = [sys.executable, __file__, "--one", kernel, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1][:80]}"
    mib, seconds = done.stdout.split()
    return f"{float(mib):,.0f} MiB, {float(seconds):.2f} s"


def measure(kernel: str, size: int) -> tuple[float, float]:
    """Gives the rise of the peak in MiB, and seconds of a pass."""
    head = nn.Linear(WIDTH, size, bias=False)
    hidden = torch.randn(1, POSITIONS, WIDTH, requires_grad=True)
    labels = torch.randint(0, size, (1, POSITIONS))
    objective = NextToken(kernel=kernel)
    step(objective, torch.randn(1, 8, WIDTH, requires_grad=True), head, labels[:, :8])
    head.weight.grad = None
    before = peak()
    taken = []
    for _ in range(PASSES):
        began = time.perf_counter()
        step(objective, hidden, head, labels)
        taken.append(time.perf_counter() - began)
        hidden.grad = head.weight.grad = None
    return (peak() - before) / 1024, statistics.median(taken[1:])


def step(objective: NextToken, hidden: torch.Tensor, head: nn.Linear, labels: torch.Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        score = objective.from_hidden(hidden, head, labels)
    (score.loss / labels.numel()).backward()


def peak() -> int:
    """The process's resident peak, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
