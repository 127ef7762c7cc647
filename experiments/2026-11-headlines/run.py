"""What do masked-LM pretraining and a second tokenizer give a classifier of Chinese headlines?

    export ROOTS_DATA=~/data
    python experiments/2026-11-headlines/run.py --work headlines

A small ModernBERT that reads words and pieces of words, and another that reads characters, are
trained from nothing, or pretrained first on the headlines without their labels; with the 10,000
labels of train.tsv, or with all. Self-trained are the pretrained ones that are fine-tuned once
more, on the 10,000 labels and on what both of them said of all other headlines. Together, what two
of a start say is the class with the highest mean of their probabilities. 2,000 rows of
train_more.tsv, the same number of each class, are kept apart: no tokenizer, pretraining or
classifier sees them. A linear SVM on character n-grams stands beside.

What is in `--work` already is not made again, and two commands, `--reads words` and `--reads
characters`, may share a folder and the cores; `--starts self-trained` comes after both. When all is
there, results.json is written beside this script, and a table is printed.
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
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parents[1] / "configs" / "run"
SEEDS = (1, 2, 3)
LABELS = ("10,000", "all")
READS = ("words", "characters")
STARTS = ("random weights", "pretrained", "self-trained")
EPOCHS = {"random weights": 6, "pretrained": 3, "self-trained": 3}
CHARACTERS = {"class_path": "roots.corpus.WordPiece", "init_args": {"vocab_size": 7000}}
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
    return {"10,000": small, "all": small + rest, "others": rest, "dev": dev}


def write(work: Path) -> dict[str, str]:
    """Writes the parts as tsv files; gives their paths."""
    return {
        name: written(work / f"{name.replace(',', '')}.tsv", rows)
        for name, rows in divided().items()
    }


def written(path: Path, rows: list[Row]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{row['sentence']}\t{row['label']}\n" for row in rows)
    path.write_text("sentence\tlabel\n" + lines, encoding="utf-8")
    return str(path)


def pretrain(
    paths: dict[str, str], reads: str, seed: int, given: argparse.Namespace
) -> dict[str, Any]:
    settings = {
        **common(f"{reads}_mlm", seed, given),
        "data.shards.source.rows": [paths["all"]],
        "data.shards.out": str(given.work / f"corpus-{reads}"),
        "trainer.max_steps": given.steps,
        "trainer.val_every_steps": given.steps,
    }
    if reads == "characters":
        settings["data.shards.tokenizer"] = CHARACTERS
    run, composed, seconds = fitted("bert_headlines_mlm.yaml", settings)
    return {"run": run, "seconds": seconds, "loss": composed.trainer.latest["val/loss"]}


def finetune(
    paths: dict[str, str],
    reads: str,
    start: str,
    labels: str,
    seed: int,
    given: argparse.Namespace,
) -> dict[str, Any]:
    """Fine-tunes from the run of the pretraining: from its weights, or from its shape alone."""
    pretrained = json.loads((given.work / f"{reads}-pretraining-{seed}.json").read_text())["run"]
    settings = {
        **common(f"{reads}_{start.split(maxsplit=1)[0]}", seed, given),
        "model.network.path": pretrained,
        "data.train": taught(given.work, seed) if start == "self-trained" else paths[labels],
        "data.val": paths["dev"],
        "trainer.max_epochs": EPOCHS[start] * given.fraction,
        "trainer.val_every_epochs": 0,  # once, at the end: nothing is chosen on these rows
    }
    if start == "random weights":
        from roots.runs import Run

        scratch = {"class_path": "roots.networks.Scratch", "init_args": {"config": shape()}}
        settings |= {"model.network": scratch, "data.tokenizer": str(Run(pretrained).best().path)}
        settings.pop("model.network.path")
    run, composed, seconds = fitted("bert_headlines.yaml", settings)
    texts, _ = columns(divided()["dev"])
    return {
        "run": run,
        "accuracy": composed.trainer.latest["val/accuracy"],
        "f1_macro": composed.trainer.latest["val/f1_macro"],
        "seconds": seconds,
        "said": [row["probabilities"] for row in composed.model.predict(texts)],
    }


def common(name: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    return {
        "name": name,
        "seed": seed,
        "trainer.runs_dir": str(given.work / "runs"),
        "trainer.precision": given.precision,
        "trainer.accelerator": "cpu",
        "trainer.progress": False,
    }


def fitted(config: str, settings: dict[str, Any]) -> tuple[str, Any, float]:
    from roots.fit import compose

    composed = compose(CONFIGS / config, settings)
    began = time.perf_counter()
    run = composed.fit()
    return str(run.path), composed, time.perf_counter() - began


def shape() -> dict[str, Any]:
    """The shape of the pretrained network with the head of the fine-tuned one, by the run files."""
    from roots.fit import read_run_files

    body, head = (
        read_run_files([CONFIGS / name])["model"]["init_args"]["network"]["init_args"]["config"]
        for name in ("bert_headlines_mlm.yaml", "bert_headlines.yaml")
    )
    return {**body, **head}


def taught(work: Path, seed: int) -> str:
    """Writes the 10,000 labels, and what the two pretrained by them say of the other headlines."""
    parts = divided()
    texts, _ = columns(parts["others"])
    said = [
        once(work / f"{reads}-says-{seed}.json", partial(says, work, reads, seed, texts))["said"]
        for reads in READS
    ]
    others = [
        {"sentence": text, "label": label} for text, label in zip(texts, agreed(*said), strict=True)
    ]
    return written(work / f"taught-{seed}.tsv", parts["10,000"] + others)


def says(work: Path, reads: str, seed: int, texts: list[str]) -> dict[str, Any]:
    from roots import load

    run = json.loads((work / f"{reads}-pretrained-10,000-{seed}.json").read_text())["run"]
    began = time.perf_counter()
    said = [row["probabilities"] for row in load(run).predict(texts)]
    return {"said": said, "seconds": time.perf_counter() - began}


def agreed(one: list[dict[str, float]], other: list[dict[str, float]]) -> list[str]:
    """The number of the class with the highest mean of the probabilities, for each row."""
    names = (Path(os.environ["ROOTS_DATA"]) / "thucnews" / "classes.txt").read_text().split()
    sums = (
        [first[name] + second[name] for name in names]
        for first, second in zip(one, other, strict=True)
    )
    return [str(max(range(len(names)), key=row.__getitem__)) for row in sums]


def together(work: Path, start: str, labels: str, seed: int) -> dict[str, Any] | None:
    """What the two of a start and seed say together, where both are there."""
    files = [work / f"{reads}-{start}-{labels}-{seed}.json" for reads in READS]
    if not all(file.is_file() for file in files):
        return None
    one, other = (json.loads(file.read_text())["said"] for file in files)
    _, truth = columns(divided()["dev"])
    right = sum(map(str.__eq__, agreed(one, other), truth))
    before = {"random weights": [], "pretrained": ["pretraining"]}
    before["self-trained"] = ["pretraining", "pretrained-10,000", "says"]
    files += [work / f"{reads}-{name}-{seed}.json" for reads in READS for name in before[start]]
    seconds = sum(json.loads(file.read_text())["seconds"] for file in files)
    return {"accuracy": right / len(truth), "seconds": seconds}


def svm(labels: str, start: str = "") -> dict[str, Any]:
    """What needs no network: character n-grams, weighed by TF-IDF, and a linear SVM."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    parts = divided()
    began = time.perf_counter()
    grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    judge = make_pipeline(grams, LinearSVC(C=0.5))
    judge.fit(*columns(parts[labels]))
    if start == "self-trained":
        (texts, truth), (others, _) = columns(parts[labels]), columns(parts["others"])
        judge.fit(texts + others, truth + judge.predict(others).tolist())
    texts, truth = columns(parts["dev"])
    return {"accuracy": judge.score(texts, truth), "seconds": time.perf_counter() - began}


def gathered(work: Path) -> list[dict[str, Any]]:
    """All results that are there, without what was said of each row and where the runs lie."""
    results = []
    for labels in LABELS:
        found = once(work / f"svm-{labels}.json", partial(svm, labels))
        results.append({"labels": labels, "who": "linear SVM", "seed": 0, **found})
        for start, reads, seed in product(STARTS, READS, SEEDS):
            record = work / f"{reads}-{start}-{labels}-{seed}.json"
            if record.is_file():
                told = json.loads(record.read_text())
                found = {name: told[name] for name in ("accuracy", "f1_macro", "seconds")}
                results.append(
                    {"labels": labels, "who": f"{reads}, {start}", "seed": seed, **found}
                )
        for start, seed in product(STARTS, SEEDS):
            both = together(work, start, labels, seed)
            if both:
                who = f"both together, {start}"
                results.append({"labels": labels, "who": who, "seed": seed, **both})
    few = LABELS[0]
    found = once(work / f"svm-self-trained-{few}.json", partial(svm, few, "self-trained"))
    results.append({"labels": few, "who": "linear SVM, self-trained", "seed": 0, **found})
    return results


def columns(rows: list[Row]) -> tuple[list[str], list[str]]:
    return [row["sentence"] for row in rows], [row["label"] for row in rows]


def table(results: list[dict[str, Any]]) -> str:
    lines = ["| labels | who | accuracy | seconds | seeds |", "|---|---|---|---|---|"]
    for labels, who in dict.fromkeys((r["labels"], r["who"]) for r in results):
        runs = [r for r in results if (r["labels"], r["who"]) == (labels, who)]
        accuracy = spread([run["accuracy"] for run in runs], 4)
        seconds = spread([run["seconds"] for run in runs], 0)
        lines.append(f"| {labels} | {who} | {accuracy} | {seconds} | {len(runs)} |")
    return "\n".join(lines)


def spread(values: list[float], digits: int) -> str:
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def once(record: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    if not record.is_file():
        record.parent.mkdir(parents=True, exist_ok=True)
        made = record.with_suffix(".part")
        made.write_text(json.dumps(make()) + "\n")
        made.replace(record)
    found: dict[str, Any] = json.loads(record.read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--labels", nargs="+", default=list(LABELS), choices=LABELS)
    parser.add_argument("--reads", nargs="+", default=list(READS), choices=READS)
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--steps", type=int, default=600, help="of the pretraining")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the epochs of fine-tuning")
    parser.add_argument("--precision", default="bf16-mixed", choices=["bf16-mixed", "32"])
    given = parser.parse_args()
    given.work = given.work.resolve()
    paths = write(given.work)
    for seed, reads in product(given.seeds, given.reads):
        first = given.work / f"{reads}-pretraining-{seed}.json"
        once(first, partial(pretrain, paths, reads, seed, given))
        for start, labels in product(given.starts, given.labels):
            if (start, labels) == ("self-trained", "all"):
                continue  # no headline is left that it could say something of
            record = given.work / f"{reads}-{start}-{labels}-{seed}.json"
            found = once(record, partial(finetune, paths, reads, start, labels, seed, given))
            about = f"{reads}, {start}, {labels} labels, seed {seed}"
            print(f"{about}: {found['accuracy']:.4f}", flush=True)
    results = gathered(given.work)
    n_starts = len(STARTS) * len(LABELS) - 1  # none is self-trained with all labels
    is_whole = len(results) == len(LABELS) + 1 + n_starts * len(SEEDS) * (len(READS) + 1)
    if is_whole and (given.steps, given.fraction) == (600, 1.0):
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
