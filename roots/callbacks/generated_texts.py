"""What a network writes by itself, measured against references."""

from __future__ import annotations

import math
import sys
from typing import Any

import lightning as L
import torch

from roots.batch import PairBatch
from roots.errors import ConfigError
from roots.metrics import GeneratedText


class GeneratedTexts(L.Callback):
    """Lets the network write targets in each validation, and measures them: BLEU, chrF, ROUGE.

    In a validation during training the first `rows` rows of the split are written, in the last one,
    in `roots validate` and in `roots test` all of them. How a target is looked for, the module says
    (`beams`, `length_penalty`). The values are logged beside the loss (`val/bleu`, `val/chrf`,
    `val/rouge1`, …, `val/exact_match`), and `val/generated_rows`, of how many rows they are. In the
    validations of a run these are the same rows each time, so that `trainer.monitor` may name one;
    the last adds those of all rows, as `val/all_rows/bleu` and so on. A run that early stopping
    ends has none of those: `roots validate` gives them. Some rows with source, reference and output
    go to samples.jsonl in the run's directory.

    Args:
        rows: How many rows are written in a validation during training, the first of the split, in
            the order of the file; 0 writes none before that at the last step of `max_steps`, whose
            values are of all rows.
        samples: How many rows go to samples.jsonl, of those written.
        tokenizer: How sacrebleu cuts text for BLEU: `13a`, as published figures do, `intl`, `zh`,
            `char` or `none`.
        lowercase: Make BLEU and chrF blind to case.
        chrf_words: Longest n-gram of words in chrF; 2 is chrF++.
        rouge_words: What a word is for ROUGE: `english` or `unicode`.

    Raises:
        ConfigError: A negative number, or a choice that there is not.
    """

    def __init__(
        self,
        *,
        rows: int = 200,
        samples: int = 10,
        tokenizer: str = "13a",
        lowercase: bool = False,
        chrf_words: int = 0,
        rouge_words: str = "unicode",
    ) -> None:
        for name, value in (("rows", rows), ("samples", samples)):
            if value < 0:
                raise ConfigError(
                    f"GeneratedTexts: {name}={value} is no count. Set it to 0 or more."
                )
        self.rows = rows
        self.samples = samples
        self.tokenizer = tokenizer
        self.lowercase = lowercase
        self.chrf_words = chrf_words
        self.rouge_words = rouge_words
        self._first, self._all = (
            GeneratedText(
                tokenizer=tokenizer,
                lowercase=lowercase,
                chrf_words=chrf_words,
                rouge_words=rouge_words,
            )
            for _ in range(2)
        )
        self._shown: list[dict[str, Any]] = []

    @property
    def reports_later(self) -> tuple[str, ...]:
        """What the first validation need not report: it is measured in the last one only."""
        return () if self.rows else tuple(f"val/{name}" for name in GeneratedText.NAMES)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the sums."""
        for measure in (self._first, self._all):
            measure.to(pl_module.device).reset()
        self._shown = []

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Lets the rows of a batch that are asked for be written, and adds them up."""
        limit = self._limit(trainer)
        if not limit:
            return
        strategy: Any = trainer.strategy
        for part in batch.split(pl_module.micro_batch_size):
            chosen = (part.samples >= 0) & (part.samples < limit)
            mine = bool(chosen.any())
            together = not strategy.builds_whole  # then a rank without rows is needed all the same
            if strategy.sum_of_shares(chosen.sum().to(pl_module.device)) if together else mine:
                rows = chosen if mine else part.samples == part.samples[0]
                self._add(trainer, pl_module, part.only(rows), keep=mine)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Adds the ranks up and reports; all ranks come here."""
        if not self._limit(trainer):
            return
        first, whole = (_values(each, trainer.strategy) for each in (self._first, self._all))
        values = {f"{pl_module.stage}/{name}": value for name, value in first.items()}
        if whole["generated_rows"] > first["generated_rows"]:
            values |= {f"{pl_module.stage}/all_rows/{name}": v for name, v in whole.items()}
        pl_module.report(values)  # type: ignore[operator]
        self._keep(trainer)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end  # type: ignore[assignment]
    on_test_epoch_end = on_validation_epoch_end

    def check_module(self, module: Any) -> None:
        """Raises ConfigError when a module writes no targets that could be measured."""
        if not hasattr(module, "write"):
            raise ConfigError(
                "roots.callbacks.GeneratedTexts measures what a roots.modules.Seq2Seq writes for"
                f" the sources of its rows, and {type(module).__name__} writes none. Leave it out"
                " of trainer.callbacks."
            )

    def _limit(self, trainer: Any) -> float:
        """Gives how many rows are written."""
        is_last = trainer.state.fn != "fit" or trainer.global_step >= trainer.max_steps
        return math.inf if is_last else self.rows

    def _compared(self, trainer: Any) -> float:
        """Gives of how many rows the values are that are compared with other validations."""
        return (trainer.state.fn == "fit" and self.rows) or math.inf

    def _add(self, trainer: Any, module: Any, batch: PairBatch, *, keep: bool) -> None:
        with trainer.precision_plugin.forward_context(), torch.no_grad():
            outputs = module.write(batch)
        if not keep:
            return
        pairs = trainer.datamodule.pairs(module.stage)
        numbers = batch.samples.tolist()
        for measure, most in ((self._first, self._compared(trainer)), (self._all, math.inf)):
            found = [(o, pairs[n][1]) for n, o in zip(numbers, outputs, strict=True) if n < most]
            measure.update([output for output, _ in found], [reference for _, reference in found])
        for number, output in zip(numbers, outputs, strict=True):
            if number < self.samples:
                source, reference = pairs[number]
                row = {"source": source, "reference": reference, "output": output}
                self._shown.append({"step": trainer.global_step, "sample": number, **row})

    def _keep(self, trainer: Any) -> None:
        """Writes the samples of all ranks, in the order of the split, and shows the first."""
        ranks = range(trainer.strategy.world_size)
        rows = [row for rank in ranks for row in trainer.strategy.broadcast(self._shown, rank)]
        rows.sort(key=lambda row: row["sample"])
        if trainer.run is None or not trainer.is_global_zero:
            return
        trainer.run.samples.add(rows)
        for row in rows[:1]:
            sys.stderr.write(f"\nafter step {row['step']:,}: {row['source']}\n → {row['output']}\n")


def _values(measure: GeneratedText, strategy: Any) -> dict[str, float]:
    """Gives what was measured, and of how many rows, over all ranks."""
    n_rows = strategy.sum_of_shares(measure.rows.clone())
    return {**measure.values(), "generated_rows": float(n_rows)}
