"""Sizes, steps, rates and files of a run, before a single step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from roots.data import share_of
from roots.optim import Schedule
from roots.plan.flops import USUAL_MFU, work_of
from roots.plan.footprint import Planner
from roots.plan.memory import memory_of, planner_of
from roots.plan.target import Target
from roots.precision import multiplies_bfloat16

BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Plan:
    """What a run will be.

    Args:
        lines: Name and words, in the order to be read.
        table: The ways to split the run, where that was asked.
    """

    lines: list[tuple[str, str]]
    table: str = ""

    def __str__(self) -> str:
        """Lays the lines out as two columns, the table below them."""
        width = max(len(name) for name, _ in self.lines)
        lines = "\n".join(f"  {name:<{width}}  {words}" for name, words in self.lines)
        return f"{lines}\n\n{self.table}" if self.table else lines


def plan_run(
    trainer: Any,
    model: Any,
    data: Any,
    *,
    target: Target | None = None,
    mfu: float = USUAL_MFU,
    memory: bool = False,
) -> Plan:
    """Checks that a run can start and says what it will be; builds the network without memory.

    Args:
        trainer: The run's.
        model: The run's.
        data: The run's.
        target: Devices to plan for other than the trainer's.
        mfu: Share of the peak that is reached.
        memory: Find out what it needs, and how it could be split; it takes seconds.

    Raises:
        ConfigError: The schedule does not fit into the steps, the ranks do not divide the
            sequences, or the network is too short for them.
    """
    data.take_tokenizer_of(model.builder)
    trainer.settle(data)
    model.schedule.check(trainer.max_steps)
    ranks = _ranks(trainer, target)
    share = share_of(data.sequences_per_step, rank=0, ranks=ranks)
    data.check_ranks(ranks, trainer.resumed_from)
    model.learn_of(data)
    config = model.builder.network_config(model.vocabulary, model.head)
    model.builder.check_seq_len(config, data.seq_len)
    companion = model.companion
    beside = [(companion.name, companion.planned(model, data))] if companion else []
    network = model.builder.empty(config, model.head)
    planner = planner_of(trainer, model, data, target)
    needs, table = memory_of(planner, trainer) if memory else ([], "")
    products = planner.precision.products
    return Plan(
        [
            ("network", _network(network, config)),
            *beside,
            ("step", _step(data, model, share.rows, ranks)),
            ("run", _run(trainer, data)),
            ("learning rate", _rates(model, trainer.max_steps)),
            ("computes", _there(planner) if target else _computes(trainer)),
            *work_of(network, trainer, model, data, target=target, products=products, mfu=mfu),
            *needs,
            ("data", data.describe()),
            *data.forecast(trainer.max_steps),
            ("writes", _writes(trainer)),
        ],
        table,
    )


def refuse_early(trainer: Any, model: Any, data: Any) -> None:
    """Refuses what `plan_run` would, as far as it is known before the data are made.

    Args:
        trainer: The run's.
        model: The run's.
        data: The run's; where none are made of text, the plan comes at once.

    Raises:
        ConfigError: The schedule does not fit into the steps, or the network is too short.
    """
    if not data.made_folders:  # whether they are ready is not asked: that may read all the text
        return
    if not trainer.epochs:
        model.schedule.check(trainer.max_steps)
    config = model.builder.network_config(None, model.head)
    model.builder.check_seq_len(config, data.seq_len)


def _ranks(trainer: Any, target: Target | None) -> int:
    if target is not None:
        return target.ranks // int(trainer.strategy.ranks_per_share)
    return trainer.strategy.data_parallel_size if trainer.world_size > 1 else 1


def _network(network: Any, config: Any) -> str:
    n = sum(p.numel() for p in network.parameters())
    n_trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    embedding = network.get_input_embeddings().weight.numel()
    some = "" if n == n_trained else f"; {n_trained:,} ({n_trained / n:.2%}) are trained"
    return (
        f"{config.model_type}, {short(n)} parameters ({n:,}; {embedding:,} of them the"
        f" {config.vocab_size:,} embeddings{some})"
    )


def _step(data: Any, model: Any, rows: int, ranks: int) -> str:
    if model.seeks_rows:
        size = f"{data.sequences_per_step:,} {data.rows_are} of {data.seq_len:,}"
        return f"{size}, in forward passes of as many rows as fit (micro_batch_size: auto)"
    passes = -(-rows // model.micro_batch_size)
    length = f"{data.seq_len:,}" if data.same_lengths else f"up to {data.seq_len:,}"
    about = "" if data.same_lengths else "about "
    over = f" on each of {ranks} ranks" if ranks > 1 else ""
    plural = "es" if passes > 1 else ""
    tokens = f"{about}{data.tokens_per_step:,.0f}"
    return (
        f"{data.sequences_per_step:,} {data.rows_are} of {length} = {tokens} tokens, in"
        f" {passes} forward pass{plural} of {min(model.micro_batch_size, rows)}{over}"
        f"{data.growth}"
    )


def _run(trainer: Any, data: Any) -> str:
    n_rows = data.rows_until(trainer.max_steps)
    total = round(n_rows / data.sequences_per_step * data.tokens_per_step)
    about = "" if data.same_lengths else "about "
    words = f"{trainer.max_steps:,} steps = {about}{short(total)} tokens ({total:,})"
    if data.is_ready and data.n_train:
        words += f", {n_rows / data.n_train:.2f} epochs"
    return words


def _rates(model: Any, total_steps: int) -> str:
    peak = model.optimizer_builder.learning_rate
    curve = rate_curve(model.schedule, total_steps)
    first, last = (peak * model.schedule.factor(n, total_steps) for n in (0, total_steps - 1))
    return f"{first:.2e} {curve} {last:.2e}, peak {peak:.2e} ({type(model.schedule).__name__})"


def rate_curve(schedule: Schedule, total_steps: int, width: int = 32) -> str:
    """Draws a schedule as a row of bars."""
    points = [round(i * (total_steps - 1) / (width - 1)) for i in range(width)]
    factors = [schedule.factor(step, total_steps) for step in points]
    return "".join(BARS[round(f * (len(BARS) - 1))] for f in factors)


def _there(planner: Planner) -> str:
    target, precision = planner.target, planner.precision
    many = f"{target.ranks} x " if target.ranks > 1 else ""
    on = f" on {target.nodes} machines" if target.nodes > 1 else ""
    return f"{many}{target.name}{on}, {precision.precision}: {precision.summary}"


def _computes(trainer: Any) -> str:
    summary, precision = trainer.precision_plugin.summary, trainer.precision_plugin.precision
    device = trainer.strategy.root_device
    words = f"{device.type}, {type(trainer.strategy).__name__}, {precision}: {summary}"
    if "bf16" in precision and not multiplies_bfloat16(device):
        words += "; this device has no units for bfloat16, 32 is many times faster"
    return words


def _writes(trainer: Any) -> str:
    every = trainer.checkpoints.every_steps or trainer.val_every_steps or trainer.max_steps
    where = trainer.run.path if trainer.run else f"{trainer.runs_dir}/{trainer.name}/<number>"
    return (
        f"{where}/: config.yaml, environment.json, metrics.csv,"
        f" loss.png, report.html, checkpoints/ (every {every:,} steps; the newest and the"
        f" best {trainer.checkpoints.keep_best} stay)"
    )


def short(n: int) -> str:
    """Words a large number: `4.1 M`."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if float(f"{n:.3g}") >= size:  # 999,999 is 1 M
            return f"{n / size:.3g} {letter}"
    return str(n)
