"""A loop without a framework, as anybody would write it who knows PyTorch.

Settings:
    loss: `theirs` (transformers' own forward and loss), or a kernel of roots: `fused`, `plain`, …
    compile: `none`, `blocks` or `network`. With `theirs`, `network` is `torch.compile` of all.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from job import BETAS, CLIP_NORM, EPS, Job, Stopwatch, main
from torch import Tensor, nn

Score = Callable[[Tensor, Tensor], Tensor]


def run(job: Job) -> None:
    """Trains with a plain loop."""
    theirs = job.settings["loss"] == "theirs"
    network, score = of_transformers(job) if theirs else of_roots(job)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=job.learning_rate, betas=BETAS, eps=EPS, weight_decay=0, fused=True
    )
    stopwatch = Stopwatch(job)
    stopwatch.describe(network)
    network.train()
    for micro_batches in job.steps_of_rows():
        for rows in micro_batches:
            loss = backward(job, rows, score)
            stopwatch.keep_loss(loss)
        nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        stopwatch.step_done()
    stopwatch.write()


def backward(job: Job, rows: Tensor, score: Score) -> Tensor:
    """Adds the gradients of one micro-batch, (B, T + 1); gives its share of the step's loss."""
    if job.device == "cuda":
        rows = rows.pin_memory().to("cuda", non_blocking=True)
    mixed = job.precision == "bf16-mixed"
    with torch.autocast(job.device, torch.bfloat16, enabled=mixed):
        loss = score(rows[:, :-1].contiguous(), rows[:, 1:].contiguous()) / job.micro_batches
    loss.backward()
    return loss


def of_transformers(job: Job) -> tuple[nn.Module, Score]:
    """Gives transformers' network and its mean loss."""
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(job.weights, dtype=torch.float32)
    network.to(job.device)
    if job.settings["compile"] != "none":
        network.compile()  # as torch.compile(network), in place

    def score(inputs: Tensor, labels: Tensor) -> Tensor:
        return network(input_ids=inputs, labels=labels, shift_labels=labels, use_cache=False).loss

    return network, score


def of_roots(job: Job) -> tuple[nn.Module, Score]:
    """Gives the same network as roots trains it: its attention, its loss, its compilation."""
    from roots.batch import TokenBatch
    from roots.networks import Pretrained, Trainable, compile_network
    from roots.objectives import NextToken

    device, mode = torch.device(job.device), job.settings["compile"]
    builder = Pretrained(path=job.weights, attention=job.attention or "auto")
    network = builder.build(None, seed=1, device=device)
    objective = NextToken(kernel=job.settings["loss"], compiled=mode != "none")
    trainable = Trainable(network, objective)
    trainable.check()
    compile_network(network, mode, device)

    def score(inputs: Tensor, labels: Tensor) -> Tensor:
        unused = torch.zeros(len(inputs), dtype=torch.int64)
        batch = TokenBatch(input_ids=inputs, labels=labels, samples=unused, step=0, n_bytes=unused)
        return trainable(batch).loss / labels.numel()

    return network, score


if __name__ == "__main__":
    main(run)
