"""Those that fine-tune an encoder, each in a process of its own: `python fine_tuners.py JOB`."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job import peak_of_process, versions

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "run" / "minilm_sst2.yaml"
ROWS, LONGEST, POOL = 32, 128, 50
"""Rows of a step, tokens of a row, steps whose rows are sorted together (as the Trainer does)."""
RATE, DECAY, BETAS, CLIP_NORM = 5e-5, 0.01, (0.9, 0.999), 1.0


def write(path: Path, content: Any) -> None:
    """Writes JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(path)


@dataclass(frozen=True)
class Job:
    """One contender in one round.

    Args:
        contender: Its name.
        encoder: The folder of the weights.
        rows: A .jsonl file of `text` and `label`.
        precision: `bf16-mixed` or `32`.
        warmup_steps: Steps before the watch is started.
        steps: Steps that are timed.
        seed: Of the order, and of what is drawn.
        scratch: A folder for what a contender writes.
        out: The file for the result.
        made_of: Names the code and the rows, so that a result of others is not taken for one.
    """

    contender: str
    encoder: str
    rows: str
    precision: str
    warmup_steps: int
    steps: int
    seed: int
    scratch: str
    out: str
    made_of: str

    @property
    def total(self) -> int:
        """Steps of the run."""
        return self.warmup_steps + self.steps


class Watch:
    """Notes the end of each step, and the places of its rows, filled up or not."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.ends: list[float] = []
        self.masks: list[Any] = []
        self.losses: list[Any] = []

    def step(self, mask: Any, loss: Any) -> None:
        self.ends.append(time.perf_counter())
        self.masks.append(mask)
        self.losses.append(loss)

    def write(self) -> None:
        first = self.job.warmup_steps - 1
        seconds = self.ends[-1] - self.ends[first]
        timed = self.masks[first + 1 :]
        assert [len(mask) for mask in timed] == [ROWS] * self.job.steps
        n_rows, places = ROWS * len(timed), sum(mask.numel() for mask in timed)
        tokens = sum(int(mask.sum()) for mask in timed)
        tail = [float(loss) for loss in self.losses[-50:]]
        result = {
            "contender": self.job.contender,
            "rows_per_second": n_rows / seconds,
            "tokens_per_row": tokens / n_rows,
            "filling": 1 - tokens / places,
            "loss_of_last_50_steps": statistics.mean(tail),
            "peak_bytes": peak_of_process(),
            "versions": versions(),
        }
        write(Path(self.job.out), result)


# -- the contenders --------------------------------------------------------------------------------


def with_roots(job: Job) -> None:
    """By `roots.compose`, as `roots fit --config configs/run/minilm_sst2.yaml` would."""
    import lightning as L

    from roots.callbacks import Checkpoints
    from roots.fit import compose

    watch = Watch(job)

    class Ends(L.Callback):
        def on_train_batch_end(self, _: Any, module: Any, __: Any, batch: Any, *___: Any) -> None:
            watch.step(batch.inputs["attention_mask"], module.last_step.loss)

    overrides = {
        "seed": job.seed,
        "model.network.path": job.encoder,
        "model.clip_norm": CLIP_NORM,
        "model.micro_batch_size": ROWS,
        "data.train": job.rows,
        "data.val": "",
        "data.columns": {},
        "data.labels": "",
        "data.seq_len": LONGEST,
        "data.sequences_per_step": ROWS,
        "trainer.max_epochs": 0,
        "trainer.val_every_epochs": 0,
        "trainer.max_steps": job.total,
        "trainer.precision": job.precision,
        "trainer.runs_dir": job.scratch,
    }
    composed = compose(CONFIG, overrides)
    kept = [c for c in composed.trainer.callbacks if not isinstance(c, Checkpoints)]
    composed.trainer.callbacks = [*kept, Ends()]
    composed.fit()
    watch.write()


def network_and_rows(job: Job) -> tuple[Any, Any, list[dict[str, Any]]]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    rows = [json.loads(line) for line in Path(job.rows).read_text().splitlines()]
    names = sorted({row["label"] for row in rows})
    tokenizer = AutoTokenizer.from_pretrained(job.encoder)
    made = tokenizer([row["text"] for row in rows], truncation=True, max_length=LONGEST)
    encoded = [
        {"input_ids": ids, "labels": names.index(row["label"])}
        for ids, row in zip(made["input_ids"], rows, strict=True)
    ]
    network = AutoModelForSequenceClassification.from_pretrained(job.encoder, num_labels=len(names))
    return network, tokenizer, encoded


def with_raw_loop(job: Job) -> None:
    """What a careful hand writes: fused AdamW, autocast, clipping, rows of like length."""
    import torch

    torch.manual_seed(job.seed)
    network, tokenizer, rows = network_and_rows(job)
    named = list(network.named_parameters())
    decayed = [p for name, p in named if p.ndim > 1 and "embeddings" not in name]  # as roots does
    others = [p for name, p in named if p.ndim < 2 or "embeddings" in name]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)
    warm = round(0.06 * job.total)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min((n + 1) / max(1, warm), (job.total - n) / (job.total - warm))
    )
    watch = Watch(job)
    network.train()
    for _, batch in zip(range(job.total), grouped(rows, job.seed), strict=False):
        filled = tokenizer.pad([{"input_ids": r["input_ids"]} for r in batch], return_tensors="pt")
        labels = torch.tensor([r["labels"] for r in batch])
        with torch.autocast("cpu", torch.bfloat16, enabled=job.precision == "bf16-mixed"):
            loss = network(**filled, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        watch.step(filled["attention_mask"], loss.detach())
    watch.write()


def grouped(rows: list[Any], seed: int) -> Iterator[list[Any]]:
    """Sorts the rows of 50 steps by length, cuts them into steps, and takes these in any order."""
    rng = random.Random(seed)
    while True:
        order = rng.sample(rows, len(rows))
        for start in range(0, len(order) - ROWS + 1, POOL * ROWS):
            pool = sorted(order[start : start + POOL * ROWS], key=lambda r: len(r["input_ids"]))
            steps = [pool[n : n + ROWS] for n in range(0, len(pool) - ROWS + 1, ROWS)]
            yield from rng.sample(steps, len(steps))


def with_trainer(job: Job) -> None:
    """The Trainer; `trainer-grouped` with its best documented setting for rows of like length."""
    from transformers import (
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        set_seed,
    )

    set_seed(job.seed)
    network, tokenizer, rows = network_and_rows(job)
    watch = Watch(job)

    class Watched(Trainer):
        def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
            self.mask = inputs["attention_mask"]
            self.loss_now = super().training_step(model, inputs, *rest, **named).detach()
            return self.loss_now

    class Ends(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            watch.step(trainer.mask, trainer.loss_now)

    best = {"train_sampling_strategy": "group_by_length"}
    arguments = TrainingArguments(
        output_dir=job.scratch,
        per_device_train_batch_size=ROWS,
        max_steps=job.total,
        learning_rate=RATE,
        weight_decay=DECAY,
        max_grad_norm=CLIP_NORM,
        warmup_steps=round(0.06 * job.total),
        bf16=job.precision == "bf16-mixed",
        use_cpu=True,
        seed=job.seed,
        report_to=[],
        save_strategy="no",
        dataloader_drop_last=True,
        disable_tqdm=True,
        **(best if job.contender == "trainer-grouped" else {}),
    )
    trainer = Watched(
        network,
        arguments,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[Ends()],
    )
    trainer.train()
    watch.write()


CONTENDERS: dict[str, Callable[[Job], None]] = {
    "roots": with_roots,
    "raw": with_raw_loop,
    "trainer-grouped": with_trainer,
    "trainer": with_trainer,
}


def run(job: Job) -> None:
    """Trains with the contender of a job."""
    CONTENDERS[job.contender](job)


if __name__ == "__main__":
    run(Job(**json.loads(Path(sys.argv[1]).read_text())))
