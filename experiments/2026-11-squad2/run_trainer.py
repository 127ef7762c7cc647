"""One run of the Hugging Face Trainer, with rows and answers as in transformers' run_qa.py.

The rows are made as that example makes them (`truncation="only_second"`, `stride`, answers by the
offsets, what is not whole in a row at [CLS]), and the answers are found as its utils_qa.py finds
them: the 20 best begins with the 20 best ends of each row, no answer by the lowest score of [CLS].
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from setting import Answered, arguments, composed, write
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

N_BEST, MAX_ANSWER_TOKENS = 20, 30


def framed(tokenizer: Any, questions: Sequence[Any], data: Any) -> Any:
    return tokenizer(
        [question.text.lstrip() for question in questions],
        [question.context for question in questions],
        truncation="only_second",
        max_length=data.seq_len,
        stride=data.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )


def training_rows(tokenizer: Any, questions: Sequence[Any], data: Any) -> list[dict[str, Any]]:
    found, rows = framed(tokenizer, questions, data), []
    for row, number in enumerate(found["overflow_to_sample_mapping"]):
        start, end = labels(found, row, questions[number].span, tokenizer.cls_token_id)
        inputs = {name: found[name][row] for name in tokenizer.model_input_names}
        rows.append({**inputs, "start_positions": start, "end_positions": end})
    return rows


def labels(found: Any, row: int, span: Any, cls_id: int) -> tuple[int, int]:
    nowhere = found["input_ids"][row].index(cls_id)
    offsets, sequence_ids = found["offset_mapping"][row], found.sequence_ids(row)
    first = sequence_ids.index(1)
    last = len(sequence_ids) - 1 - sequence_ids[::-1].index(1)
    if span is None or offsets[first][0] > span[0] or offsets[last][1] < span[1]:
        return nowhere, nowhere
    while first < len(offsets) and offsets[first][0] <= span[0]:
        first += 1
    while offsets[last][1] >= span[1]:
        last -= 1
    return first - 1, last + 1


def answers(
    network: Any, tokenizer: Any, questions: Sequence[Any], data: Any, rows_at_once: int = 16
) -> Answered:
    found = framed(tokenizer, questions, data)
    null = [np.inf] * len(questions)
    best: list[tuple[float, str]] = [(-np.inf, "")] * len(questions)
    numbers = found["overflow_to_sample_mapping"]
    for begin in range(0, len(numbers), rows_at_once):
        some = range(begin, min(begin + rows_at_once, len(numbers)))
        inputs = [{n: found[n][row] for n in tokenizer.model_input_names} for row in some]
        output = network(**tokenizer.pad(inputs, return_tensors="pt"))
        for row, start, end in zip(some, output.start_logits, output.end_logits, strict=True):
            number, cls = numbers[row], found["input_ids"][row].index(tokenizer.cls_token_id)
            null[number] = min(null[number], float(start[cls] + end[cls]))
            score, place = best_span(start.numpy(), end.numpy(), found, row)
            text = questions[number].context[slice(*place)]
            best[number] = max(best[number], (score, text), key=lambda pair: pair[0])
    return [(text, float(none - score)) for none, (score, text) in zip(null, best, strict=True)]


def best_span(
    start: np.ndarray, end: np.ndarray, found: Any, row: int
) -> tuple[float, tuple[int, int]]:
    offsets, sequence_ids = found["offset_mapping"][row], found.sequence_ids(row)
    best, place = -np.inf, (0, 0)
    for first in np.argsort(start)[-1 : -N_BEST - 1 : -1]:
        for last in np.argsort(end)[-1 : -N_BEST - 1 : -1]:
            if last >= len(sequence_ids) or first >= len(sequence_ids):
                continue
            inside = sequence_ids[first] == 1 and sequence_ids[last] == 1
            if not inside or not first <= last < first + MAX_ANSWER_TOKENS:
                continue
            if start[first] + end[last] > best:
                best = start[first] + end[last]
                place = (offsets[first][0], offsets[last][1])
    return float(best), place


def main() -> None:
    given = arguments()
    run = composed(given)
    data, model = run.data, run.model
    run.trainer.settle(data)
    optimizer, path = model.optimizer_builder, model.builder.path
    tokenizer = AutoTokenizer.from_pretrained(path)
    torch.manual_seed(given.seed)
    network = AutoModelForQuestionAnswering.from_pretrained(path)
    settings = TrainingArguments(
        output_dir=str(given.folder / "trainer"),
        per_device_train_batch_size=data.sequences_per_step,
        num_train_epochs=given.epochs,
        learning_rate=optimizer.learning_rate,
        warmup_steps=model.schedule.warmup(run.trainer.max_steps),
        lr_scheduler_type="linear",
        weight_decay=optimizer.weight_decay,
        adam_beta2=optimizer.beta2,
        max_grad_norm=model.clip_norm,
        train_sampling_strategy="group_by_length",
        bf16=run.trainer.precision == "bf16-mixed",
        use_cpu=True,
        seed=given.seed,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=network,
        args=settings,
        train_dataset=training_rows(tokenizer, data.split("train").questions, data),
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    # accelerate leaves its autocast on the forward; roots is asked in float32 as well
    network = trainer.accelerator.unwrap_model(network, keep_fp32_wrapper=False).eval()
    with torch.no_grad():
        write(
            given,
            data,
            lambda questions: answers(network, tokenizer, questions, data),
            seconds=seconds,
            own={},
        )


if __name__ == "__main__":
    main()
