"""What does masked-LM pretraining on 41,000 Chinese headlines give a classifier of headlines?

    export ROOTS_DATA=~/data
    python experiments/2026-11-headlines/run.py --work headlines

A small BERT is trained from nothing, or pretrained first on the headlines without their labels;
with the 10,000 labels of train.tsv, or with all. 2,000 rows of train_more.tsv, the same number of
each class, are kept apart: no tokenizer, pretraining or classifier sees them. A linear SVM on
character n-grams stands beside. What is in `--work` already is not made again. At the end
results.json is written (beside this script; into the work folder where a part was asked for), and
a table is printed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parents[1] / "configs" / "run"
SEEDS = (1, 2, 3)
LABELS = ("10,000", "all")
STARTS = ("random weights", "pretrained")
EPOCHS = {("random weights", "10,000"): 12, ("random weights", "all"): 6,
          ("pretrained", "10,000"): 6, ("pretrained", "all"): 4}  # fmt: skip
PER_CLASS = 200

Row = dict[str, str]


def read(name: str) -> list[Row]:
    path = Path(os.environ["ROOTS_DATA"]) / "thucnews" / name
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def divided() -> dict[str, list[Row]]:
    """Gives `10,000` and `all` rows to train on, and `dev`."""
    small, more = read("train.tsv"), read("train_more.tsv")
    seen = {row["sentence"] for row in small}
    random.Random(0).shuffle(more)
    left: dict[str, int] = defaultdict(lambda: PER_CLASS)
    dev, rest = [], []
    for row in more:
        is_dev = left[row["label"]] > 0 and row["sentence"] not in seen
        left[row["label"]] -= is_dev
        (dev if is_dev else rest).append(row)
    return {"10,000": small, "all": small + rest, "dev": dev}


def write(work: Path) -> dict[str, str]:
    """Writes the three parts as tsv files; gives their paths."""
    paths = {}
    for name, rows in divided().items():
        path = work / f"{name.replace(',', '')}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{row['sentence']}\t{row['label']}\n" for row in rows)
        path.write_text("sentence\tlabel\n" + lines, encoding="utf-8")
        paths[name] = str(path)
    return paths


def pretrain(paths: dict[str, str], seed: int, given: argparse.Namespace) -> dict[str, Any]:
    from roots.fit import compose

    settings = {
        "seed": seed,
        "data.shards.source.rows": [paths["all"]],
        "data.shards.out": str(given.work / "corpus"),
        "trainer.runs_dir": str(given.work / "runs"),
        "trainer.precision": given.precision,
        "trainer.accelerator": "cpu",
        "trainer.progress": False,
        "trainer.max_steps": given.steps,
        "model.schedule.warmup_steps": max(1, given.steps // 13),
    }
    composed = compose(CONFIGS / "bert_headlines_mlm.yaml", settings)
    began = time.perf_counter()
    run = composed.fit()
    seconds = time.perf_counter() - began
    latest = composed.trainer.latest
    return {"run": str(run.path), "seconds": seconds, "loss": latest["val/loss"]}


def finetune(
    paths: dict[str, str], labels: str, seed: int, given: argparse.Namespace, start: str
) -> dict[str, Any]:
    """Fine-tunes; `start` is the run of the pretraining, its weights taken or only its shape."""
    from roots.fit import compose

    pretrained = json.loads((given.work / f"pretrain-{seed}.json").read_text())["run"]
    settings = {
        "seed": seed,
        "model.network.path": pretrained,
        "data.train": paths[labels],
        "data.val": paths["dev"],
        "trainer.runs_dir": str(given.work / "runs"),
        "trainer.precision": given.precision,
        "trainer.accelerator": "cpu",
        "trainer.progress": False,
        "trainer.max_epochs": EPOCHS[start, labels] * given.fraction,
    }
    if start == "random weights":
        from roots.runs import Run

        mlm = Run(pretrained).best().path
        settings |= {
            "model.network": {
                "class_path": "roots.networks.Scratch",
                "init_args": {"config": shape_of(mlm)},
            },
            "data.tokenizer": str(mlm),
        }
        settings.pop("model.network.path")
    composed = compose(CONFIGS / "bert_headlines.yaml", settings)
    began = time.perf_counter()
    run = composed.fit()
    seconds = time.perf_counter() - began
    latest = composed.trainer.latest
    return {
        "run": str(run.path),
        "accuracy": latest["val/accuracy"],
        "f1_macro": latest["val/f1_macro"],
        "seconds": seconds,
    }


def shape_of(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_text())
    names = ("model_type", "hidden_size", "intermediate_size", "num_hidden_layers")
    others = ("num_attention_heads", "max_position_embeddings")
    return {name: config[name] for name in (*names, *others)}


def svm(labels: str) -> dict[str, Any]:
    """What needs no network: character n-grams, weighed by TF-IDF, and a linear SVM."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    parts = divided()
    began = time.perf_counter()
    grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    judge = make_pipeline(grams, LinearSVC(C=0.5))
    judge.fit(*columns(parts[labels]))
    texts, truth = columns(parts["dev"])
    return {"accuracy": judge.score(texts, truth), "seconds": time.perf_counter() - began}


def columns(rows: list[Row]) -> tuple[list[str], list[str]]:
    return [row["sentence"] for row in rows], [row["label"] for row in rows]


def table(results: list[dict[str, Any]]) -> str:
    lines = ["| labels | start | accuracy | seconds | seeds |", "|---|---|---|---|---|"]
    for labels in LABELS:
        for start in ("linear SVM", *STARTS):
            runs = [r for r in results if (r["labels"], r["start"]) == (labels, start)]
            if not runs:
                continue
            accuracy = spread([run["accuracy"] for run in runs], 4)
            seconds = spread([run["seconds"] for run in runs], 0)
            lines.append(f"| {labels} | {start} | {accuracy} | {seconds} | {len(runs)} |")
    return "\n".join(lines)


def spread(values: list[float], digits: int) -> str:
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def once(record: Path, make: Any) -> dict[str, Any]:
    if not record.is_file():
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(make(), indent=1) + "\n")
    found: dict[str, Any] = json.loads(record.read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--labels", nargs="+", default=list(LABELS), choices=LABELS)
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--steps", type=int, default=4000, help="of the pretraining")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the epochs of fine-tuning")
    parser.add_argument("--precision", default="bf16-mixed", choices=["bf16-mixed", "32"])
    given = parser.parse_args()
    given.work = given.work.resolve()
    paths, results = write(given.work), []
    for labels in given.labels:
        found = once(given.work / f"svm-{labels}.json", lambda labels=labels: svm(labels))
        results.append({"labels": labels, "start": "linear SVM", "seed": 0, **found})
    for seed in given.seeds:
        first = given.work / f"pretrain-{seed}.json"
        print(once(first, lambda seed=seed: pretrain(paths, seed, given)), flush=True)
        for start in given.starts:
            for labels in given.labels:
                record = given.work / f"{start}-{labels}-{seed}.json"
                about = (paths, labels, seed, given, start)
                found = once(record, lambda about=about: finetune(*about))
                results.append({"labels": labels, "start": start, "seed": seed, **found})
                print(json.dumps(results[-1]), flush=True)
    out = HERE if whole(given) else given.work
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


def whole(given: argparse.Namespace) -> bool:
    return (
        tuple(given.seeds) == SEEDS
        and tuple(given.labels) == LABELS
        and tuple(given.starts) == STARTS
        and (given.steps, given.fraction) == (4000, 1.0)
    )


if __name__ == "__main__":
    main()
