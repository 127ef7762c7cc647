"""Do several small classifiers together beat a linear SVM on Chinese headlines?

    export ROOTS_DATA=~/data
    python experiments/2026-11-headlines/ensemble.py --work headlines

Three members of a seed are each pretrained on the headlines without their labels and fine-tuned
with 10,000 labels and with all of them; what an ensemble says is the class with the highest mean of
their probabilities. Members are independent: `--seeds 1 --members 0` trains one, so that each core
can train its own. What is in `--work` already is not made again. When all are there, ensemble.json
is written beside this script, and a table is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from run import CONFIGS, HERE, LABELS, SEEDS, columns, divided, once, spread, svm, write

MEMBERS = 3
STEPS = 2500
EPOCHS = {"10,000": 2, "all": 4}
NETWORK = {
    "model_type": "modernbert",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "mlp_dropout": 0.1,
    "attention_dropout": 0.1,
    "embedding_dropout": 0.1,
}


def muon(rate: float, others: float, **more: float) -> dict[str, Any]:
    settings = {"learning_rate": rate, "adamw_learning_rate": others, "weight_decay": 0.05, **more}
    return {"class_path": "roots.optim.Muon", "init_args": settings}


def pretrain(paths: dict[str, str], seed: int, given: argparse.Namespace) -> dict[str, Any]:
    settings = {
        **common(seed, given),
        "model.network.config": NETWORK,
        "model.optimizer": muon(4e-3, 2e-3),
        "model.schedule.warmup_steps": max(1, given.steps // 13),
        "data.masking.rate": 0.3,
        "data.shards.source.rows": [paths["all"]],
        "data.shards.out": str(given.work / "corpus"),
        "trainer.max_steps": given.steps,
        "trainer.val_every_steps": given.steps,
    }
    run, trainer, seconds = fitted("bert_headlines_mlm.yaml", settings)
    return {"run": run, "seconds": seconds, "loss": trainer.trainer.latest["val/loss"]}


def finetune(
    paths: dict[str, str], labels: str, seed: int, given: argparse.Namespace, pretrained: str
) -> dict[str, Any]:
    settings = {
        **common(seed, given),
        "model.network.path": pretrained,
        "model.network.config": {"classifier_dropout": 0.2, "classifier_pooling": "mean"},
        "model.optimizer": muon(1e-3, 1e-3, beta2=0.999),
        "model.label_smoothing": 0.1,
        "data.train": paths[labels],
        "data.val": paths["dev"],
        "trainer.max_epochs": EPOCHS[labels] * given.fraction,
        "trainer.val_every_epochs": 0,
    }
    run, composed, seconds = fitted("bert_headlines.yaml", settings)
    texts, _ = columns(divided()["dev"])
    said = [row["probabilities"] for row in composed.model.predict(texts)]
    accuracy = composed.trainer.latest["val/accuracy"]
    return {"run": run, "accuracy": accuracy, "seconds": seconds, "probabilities": said}


def common(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    return {
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


def member(number: int, seed: int, paths: dict[str, str], given: argparse.Namespace) -> None:
    """Trains one member of the ensemble of a seed, as far as it is not there yet."""
    own = 10 * seed + number
    first = once(given.work / f"member-pretrain-{own}.json", lambda: pretrain(paths, own, given))
    for labels in given.labels:
        found = once(
            given.work / f"member-{labels}-{own}.json",
            lambda labels=labels: finetune(paths, labels, own, given, first["run"]),
        )
        print(f"seed {seed}, member {number}, {labels} labels: {found['accuracy']:.4f}", flush=True)


def together(labels: str, seed: int, given: argparse.Namespace) -> dict[str, Any] | None:
    """What the members of a seed say together, where all are there."""
    files = [given.work / f"member-{labels}-{10 * seed + m}.json" for m in range(MEMBERS)]
    firsts = [given.work / f"member-pretrain-{10 * seed + m}.json" for m in range(MEMBERS)]
    if not all(file.is_file() for file in files):
        return None
    found = [json.loads(file.read_text()) for file in files]
    names = list(found[0]["probabilities"][0])
    _, truth = columns(divided()["dev"])
    each = np.array([[[row[n] for n in names] for row in f["probabilities"]] for f in found])
    right = np.array([names.index(label) for label in named(truth)])
    return {
        "labels": labels,
        "seed": seed,
        "ensemble": float((each.mean(0).argmax(1) == right).mean()),
        "members": [float(share) for share in (each.argmax(2) == right).mean(1)],
        "seconds": sum(f["seconds"] for f in found)
        + sum(json.loads(first.read_text())["seconds"] for first in firsts),
    }


def named(labels: list[str]) -> list[str]:
    """The files hold numbers of classes; what a classifier says are their names."""
    names = (Path(os.environ["ROOTS_DATA"]) / "thucnews" / "classes.txt").read_text().split()
    return [names[int(label)] for label in labels]


def table(results: list[dict[str, Any]], machine: dict[str, float]) -> str:
    lines = [
        "| labels | linear SVM | one member | their ensemble | core-minutes | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for labels in LABELS:
        mine = [r for r in results if r["labels"] == labels]
        if mine:
            one = spread([share for r in mine for share in r["members"]], 4)
            several = spread([r["ensemble"] for r in mine], 4)
            minutes = spread([r["seconds"] / 60 for r in mine], 0)
            cells = (labels, f"{machine[labels]:.4f}", one, several, minutes, str(len(mine)))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--members", nargs="+", type=int, default=list(range(MEMBERS)))
    parser.add_argument("--labels", nargs="+", default=list(LABELS), choices=LABELS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the pretraining")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the epochs of fine-tuning")
    parser.add_argument("--precision", default="bf16-mixed", choices=["bf16-mixed", "32"])
    given = parser.parse_args()
    given.work = given.work.resolve()
    paths = write(given.work)
    for seed in given.seeds:
        for number in given.members:
            member(number, seed, paths, given)
    machine = {
        labels: once(given.work / f"svm-{labels}.json", lambda labels=labels: svm(labels))
        for labels in LABELS
    }
    pairs = [(labels, seed) for seed in SEEDS for labels in LABELS]
    results = [found for pair in pairs if (found := together(*pair, given))]
    if len(results) == len(pairs) and (given.steps, given.fraction) == (STEPS, 1.0):
        out = [{**r, "svm": machine[r["labels"]]["accuracy"]} for r in results]
        (HERE / "ensemble.json").write_text(json.dumps(out, indent=1) + "\n")
    print(table(results, {name: found["accuracy"] for name, found in machine.items()}))


if __name__ == "__main__":
    main()
