"""litgpt, by its own way in: `litgpt.pretrain.setup`, which compiles the network.

Settings: arguments of its `TrainArgs`, such as `log_interval`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litgpt.pretrain
import torch
from job import BETAS, CLIP_NORM, EPS, Job, Stopwatch, main
from litgpt import Config
from litgpt.args import EvalArgs, TrainArgs
from litgpt.data import DataModule
from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset


class Measured(Exception):
    """All steps are done: litgpt would write a checkpoint now, which nobody asks for."""


class FusedAdamW(torch.optim.AdamW):
    """Torch's AdamW, fused: litgpt asks for that on a GPU only, and the others have it."""

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


class MicroBatches(IterableDataset):
    """The micro-batches in their order; asked for the next step's first, the last step is done."""

    def __init__(self, job: Job, stopwatch: Stopwatch) -> None:
        self.job = job
        self.stopwatch = stopwatch

    def __iter__(self) -> Iterator[Tensor]:
        for micro_batches in self.job.steps_of_rows():
            yield from micro_batches
            self.stopwatch.step_done()
        raise Measured


class Windows(DataModule):
    """The windows of the job; litgpt looks at one validation batch before it starts."""

    def __init__(self, job: Job, stopwatch: Stopwatch) -> None:
        super().__init__()
        self.job = job
        self.stopwatch = stopwatch

    def connect(self, *_: Any, **__: Any) -> None:
        """Takes nothing: the windows are tokens already."""

    def train_dataloader(self) -> DataLoader:
        return DataLoader(
            MicroBatches(self.job, self.stopwatch),
            batch_size=None,
            pin_memory=self.job.device == "cuda",
        )

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.job.rows[: self.job.micro_batch_size], batch_size=len(self.job.rows))


def run(job: Job) -> None:
    """Trains with litgpt."""
    torch.set_float32_matmul_precision("high")  # as its command line does
    stopwatch = Stopwatch(job)
    keep_losses(job, stopwatch)
    optimizer = {"lr": job.learning_rate, "betas": BETAS, "eps": EPS, "weight_decay": 0.0}
    try:
        litgpt.pretrain.setup(
            model_name="llama",
            model_config=config(job),
            out_dir=Path(job.scratch),
            precision="bf16-mixed" if job.precision == "bf16-mixed" else "32-true",
            initial_checkpoint_dir=converted(job),
            data=Windows(job, stopwatch),
            train=train_args(job),
            eval=EvalArgs(interval=job.total_steps + 1, final_validation=False),
            optimizer={"class_path": "run_litgpt.FusedAdamW", "init_args": optimizer},
            devices=1,
            logger_name="csv",
            seed=1,
        )
    except Measured:
        stopwatch.write()


def train_args(job: Job) -> TrainArgs:
    """Says what makes it the same work as everybody's; all else stays as it is by default."""
    return TrainArgs(
        global_batch_size=job.sequences_per_step,
        micro_batch_size=job.micro_batch_size,
        max_tokens=(job.total_steps + 1) * job.sequences_per_step * job.seq_len,
        max_norm=CLIP_NORM,
        min_lr=job.learning_rate,  # a cosine from the rate to the rate
        lr_warmup_steps=0,
        save_interval=None,
        tie_embeddings=job.network["tie_word_embeddings"],
        **job.settings,
    )


def config(job: Job) -> Config:
    """Writes the network in litgpt's keys."""
    keys = job.network
    return Config(
        name="llama",
        block_size=job.seq_len,
        vocab_size=keys["vocab_size"],
        padded_vocab_size=keys["vocab_size"],
        n_layer=keys["num_hidden_layers"],
        n_head=keys["num_attention_heads"],
        n_query_groups=keys["num_key_value_heads"],
        n_embd=keys["hidden_size"],
        intermediate_size=keys["intermediate_size"],
        norm_class_name="RMSNorm",
        norm_eps=keys["rms_norm_eps"],
        rope_base=int(keys["rope_theta"]),
        rotary_percentage=1.0,
        mlp_class_name="LLaMAMLP",
        parallel_residual=False,
        bias=False,
    )


def converted(job: Job) -> Path:
    """Gives the weights in litgpt's names, converted by its own function on the first call."""
    folder = Path(job.weights).with_name("weights-litgpt")
    file = folder / "lit_model.pth"
    if not file.is_file():
        folder.mkdir(exist_ok=True)
        weights: dict[str, Tensor] = {}
        copy_weights_hf_llama(
            config(job), {}, weights, load_file(Path(job.weights) / "model.safetensors")
        )
        temporary = folder / "lit_model.tmp"
        torch.save(weights, temporary)
        temporary.replace(file)
    return folder


def keep_losses(job: Job, stopwatch: Stopwatch) -> None:
    """Puts a reference to each training loss aside, as litgpt's `fit` computes them."""
    compute = litgpt.pretrain.chunked_cross_entropy

    def computed(logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        loss = compute(logits, targets, **options)
        if loss.requires_grad and loss.device.type == job.device:  # not to count FLOPs, nor to test
            stopwatch.keep_loss(loss / job.micro_batches)
        return loss

    litgpt.pretrain.chunked_cross_entropy = computed
    setup = litgpt.pretrain.initialize_weights

    def described(fabric: Any, model: torch.nn.Module, **sizes: Any) -> None:
        setup(fabric, model, **sizes)
        tied = job.network["tie_word_embeddings"]
        stopwatch.describe(model, attention="litgpt's own (sdpa)")
        stopwatch.parameters -= model.lm_head.weight.numel() if tied else 0

    litgpt.pretrain.initialize_weights = described


if __name__ == "__main__":
    main(run)
