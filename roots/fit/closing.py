"""What `roots fit` says at the end of a run: what came out, and what can be done next."""

from __future__ import annotations

import os
import shlex

from roots.callbacks import Samples
from roots.callbacks.utilization import share_in_words
from roots.data import ChatData, TaskData
from roots.fit.compose import Composed
from roots.fit.trainer import Trainer
from roots.networks import MASKED_LM
from roots.runs import Run


def complete(composed: Composed) -> str:
    """Words that a run which is resumed has ended already, and what would let it go on."""
    trainer = composed.trainer
    if trainer.stopped_early:
        return (
            f"The run stopped early, after {trainer.resumed_from:,} of {trainer.max_steps:,} steps:"
            f" {trainer.stopped_early}. To train on, give it more patience ({_more(trainer)}), or"
            " set that to 0."
        )
    steps = f"{trainer.max_steps:,} steps"
    return f"The run has all its {steps} already. To train on, add {_more(trainer)}."


def closing(run: Run, composed: Composed, seconds: float) -> str:
    """Words what came out of a fit, and the commands that come next."""
    trainer = composed.trainer
    measured = trainer.latest
    words = [f"{trainer.global_step:,} steps in {seconds:.0f} s"]
    if rate := measured.get("train/tokens_per_second_median"):  # none where only the end was made
        words.append(f"{rate:,.0f} tokens/s (median)")
    words += [share] if (share := share_in_words(measured)) else []
    for name in dict.fromkeys(("val/loss", "val/bits_per_byte", trainer.checkpoints.monitor)):
        if name in measured:
            words.append(f"{name} {measured[name]:.4f}")
    words += [f"stopped early: {trainer.stopped_early}"] if trainer.stopped_early else []
    words += [_cut_short(trainer)] if trainer.cut_short else []
    where = os.path.relpath(run.path)
    more = "" if trainer.cut_short else f" {_more(trainer)}"
    return "\n".join(
        [
            f"\n{' · '.join(words)}",
            f"\nrun directory: {where}{_pictures(run)}",
            "\nnext:",
            *_uses(composed, where),
            f"  roots fit --resume {where}{more}",
        ]
    )


def _cut_short(trainer: Trainer) -> str:
    """Words that a callback ended the run; one that does so at once would do it again."""
    if trainer.global_step > trainer.resumed_from:
        return trainer.cut_short
    return (
        f"{trainer.cut_short}, before a first one was made. To go on, change trainer.callbacks: a"
        " Timer counts the time of earlier fits too"
    )


def _more(trainer: Trainer) -> str:
    """Words the flag by which a run goes on that has ended: more of what ended it."""
    if trainer.stopped_early:
        return f"--trainer.early_stopping {2 * trainer.arguments['early_stopping']}"
    if trainer.epochs:
        return f"--trainer.max_epochs {2 * trainer.epochs:g}"
    return f"--trainer.max_steps {2 * trainer.max_steps}"


def _pictures(run: Run) -> str:
    page = run.path / "report.html"
    return f"   (page: {os.path.relpath(page)})" if page.is_file() else ""


def _uses(composed: Composed, where: str) -> list[str]:
    """Words what can be done with the network now: it writes on, guesses, or judges rows."""
    data = composed.data
    if composed.model.causal:
        name = composed.trainer.name
        return [
            f"  roots generate --run {where} {_asked(composed)}",
            f"  roots export --run {where}{_merged(composed)} --to exported/{name}",
        ]
    if composed.model.head == MASKED_LM:
        mask = data.tokenizer.settings["mask_token"]
        return [f'  roots fill --run {where} "a text with a {mask} in it"']
    if not isinstance(data, TaskData):
        return []
    return [f"  roots predict --run {where} --from {'texts.txt' if data.line() else 'rows.jsonl'}"]


def _asked(composed: Composed) -> str:
    """Words how the network is asked: as it was trained to be, or as the run itself asked it."""
    if isinstance(composed.data, ChatData):
        return '--chat "Who are you?"'
    callbacks = composed.trainer.callbacks  # type: ignore[attr-defined]
    samples = [each for each in callbacks if isinstance(each, Samples)]
    prompt = samples[0].prompts[0] if samples else "the beginning of a text"
    return f"--prompt {shlex.quote(prompt)}"


def _merged(composed: Composed) -> str:
    return " --merge" if composed.model.builder.adapter else ""
