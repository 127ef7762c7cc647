"""Questions with and without answers: roots against the Hugging Face Trainer, three seeds.

    export ROOTS_DATA=~/data
    python experiments/2026-11-squad2/run.py --work squad2_runs

Every run is a process of its own; one that is in `--work` already is not made again, so the command
can be interrupted and given anew. Both projects' predictions are scored here, by one procedure:
the threshold is chosen on the training articles that were held out for it, and the figures are
those of the official definition. results.json is written beside this script when all runs of all
seeds are there, and a table is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from roots.metrics import SquadScore, best_threshold, squad_f1

HERE = Path(__file__).resolve().parent
CONTENDERS = {"roots": "run_roots.py", "Hugging Face Trainer": "run_trainer.py"}
COLUMNS = ("f1", "exact_match", "f1/HasAns", "exact_match/HasAns", "f1/NoAns")
SEEDS = (1, 2, 3)
EPOCHS, RATE, ROWS = 3.0, 1e-4, 12
NEVER = "never answers"


def scored(found: dict[str, Any]) -> dict[str, float]:
    """Scores one run.

    Args:
        found: For `threshold` and `dev`, of each question `text` (the best answer), `no_answer`
            (how much more speaks for none) and `answers` (the right ones).
    """
    held_out, dev = found["threshold"], found["dev"]
    threshold = best_threshold(
        [squad_f1(row["text"], row["answers"]) for row in held_out],
        [row["no_answer"] for row in held_out],
        [bool(row["answers"]) for row in held_out],
    ).value
    forced = forced_values(dev)
    return {
        **values_of(dev, threshold),
        "f1/HasAns, always answering": forced["f1"],
        "exact_match/HasAns, always answering": forced["exact_match"],
        "threshold": threshold,
        "held-out articles, f1": values_of(held_out, threshold)["f1"],
        "held-out articles, f1/HasAns, always answering": forced_values(held_out)["f1"],
    }


def forced_values(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Scores the best answers to the answerable questions, whatever speaks for none."""
    return values_of([row for row in rows if row["answers"]], math.inf)


def values_of(rows: list[dict[str, Any]], threshold: float) -> dict[str, float]:
    score = SquadScore(threshold=threshold)
    columns = ([row[name] for row in rows] for name in ("text", "answers", "no_answer"))
    score.update(*columns)
    return score.values()


def check(own: dict[str, float], rows: list[dict[str, Any]]) -> None:
    """Compares what roots reported of itself at the end of its run with the figures made here.

    A validation computes in the run's precision (bf16), `predict` in float32: that may turn a few
    of the 458 answers, and moves the threshold, for which reason both are scored at roots' own.
    """
    values = values_of(rows, own["val/no_answer_threshold"])
    for name in (*COLUMNS, "exact_match/NoAns"):
        if abs(own[f"val/{name}"] - values[name]) > 0.015:
            sys.exit(f"roots says {name} {own[f'val/{name}']}, scored here {values[name]}")


def table(runs: list[dict[str, Any]]) -> str:
    names = (*COLUMNS, "f1/HasAns, always answering", "exact_match/HasAns, always answering")
    lines = [
        f"| | seeds | {' | '.join(names)} | training, s |",
        f"|---|---|{'---|' * len(names)}---|",
    ]
    for contender in dict.fromkeys(run["contender"] for run in runs):
        mine = [run for run in runs if run["contender"] == contender]
        cells = [spread([run["values"][name] for run in mine], 4) for name in names]
        seconds = spread([run["seconds"] for run in mine], 0)
        lines.append(f"| {contender} | {len(mine)} | {' | '.join(cells)} | {seconds} |")
    return "\n".join(lines)


def spread(values: list[float], digits: int) -> str:
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def never(found: dict[str, Any]) -> dict[str, Any]:
    """What a program gets that answers no question."""
    silent = [{**row, "text": "", "no_answer": 0.0} for row in found["dev"]]
    values = values_of(silent, math.inf)
    forced = dict.fromkeys(
        ("f1/HasAns, always answering", "exact_match/HasAns, always answering"), 0.0
    )
    return {"contender": NEVER, "seed": 0, "seconds": 0.0, "values": {**values, **forced}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--network", default="", help="a folder with the weights; else the hub")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--learning-rate", type=float, default=RATE)
    parser.add_argument("--rows", type=int, default=ROWS, help="windows per step")
    parser.add_argument("--only", nargs="*", default=list(CONTENDERS), choices=list(CONTENDERS))
    given = parser.parse_args()
    runs = []
    for seed in given.seeds:
        for name in given.only:  # alternated, so that a slow hour strikes both
            script = HERE / CONTENDERS[name]
            asked = f"{given.learning_rate:g}-{given.epochs:g}-{given.rows}"
            folder = given.work.resolve() / f"{script.stem}-{seed}-{asked}"
            file = folder / "predictions.json"
            if not file.exists():
                folder.mkdir(parents=True, exist_ok=True)
                options = ["--network", given.network, "--epochs", str(given.epochs)]
                options += ["--learning-rate", str(given.learning_rate), "--rows", str(given.rows)]
                command = [str(script), str(folder), "--seed", str(seed), *options]
                subprocess.run([sys.executable, *command], check=True)
            found = json.loads(file.read_text())
            values = scored(found)
            if found["own"]:
                check(found["own"], found["dev"])
            seconds = round(found["seconds"], 1)
            runs.append({"contender": name, "seed": seed, "seconds": seconds, "values": values})
            print(json.dumps(runs[-1]), flush=True)
    runs.append(never(found))
    settings = (given.epochs, given.learning_rate, given.rows, len(given.only))
    whole = {*SEEDS} <= {*given.seeds} and settings == (EPOCHS, RATE, ROWS, len(CONTENDERS))
    out = HERE if whole else given.work
    (out / "results.json").write_text(json.dumps(runs, indent=1) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
