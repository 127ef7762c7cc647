"""English to German on Multi30k from nothing: three seeds, scored by sacrebleu.

    export ROOTS_DATA=~/data
    python experiments/2026-11-multi30k/run.py --work multi30k_runs
    python experiments/2026-11-multi30k/run.py --work multi30k_runs --test ~/data/multi30k/test2016

Every run is a process of its own; one that is in `--work` already is not made again, so that the
command can be interrupted and given anew. `--fraction 0.02 --seeds 1` shows in a few minutes that
everything works. Nothing is chosen by the test part: it is only read where `--test` names it
(`NAME.en` and `NAME.de`), and only by runs that are finished.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import sacrebleu

from roots.fit import read_run_files
from roots.modules import Seq2Seq
from roots.runs import Run, open_run

HERE = Path(__file__).resolve().parent
RUN_FILE = HERE.parents[1] / "configs" / "run" / "multi30k_en_de.yaml"
SEEDS = (1, 2, 3)
SHOWN = 10


def fit(work: Path, seed: int, fraction: float) -> Path:
    """Trains with a seed, unless that is done; gives the run's directory."""
    folder = work / f"seed-{seed}"
    done = folder / "done.json"
    if not done.is_file():
        recipe = read_run_files([RUN_FILE])
        warmup = recipe["model"]["init_args"]["schedule"]["init_args"]["warmup_steps"]
        command = [sys.executable, "-m", "roots", "fit", "--config", str(RUN_FILE)]
        flags = {
            "seed": seed,
            "trainer.runs_dir": folder,
            "trainer.max_epochs": recipe["trainer"]["max_epochs"] * fraction,
            "model.schedule.warmup_steps": round(warmup * fraction),
        }
        began = time.monotonic()
        subprocess.run([*command, *(f"--{k}={v}" for k, v in flags.items())], check=True)
        newest = max((folder / "multi30k_en_de").iterdir())
        record = {"run": str(newest), "seconds": time.monotonic() - began}
        done.write_text(json.dumps(record))
    return done


def result_of(done: Path, test: Path | None) -> dict[str, Any]:
    """Gathers what a finished run measured, and translates a test part where one is named."""
    record = json.loads(done.read_text())
    run = open_run(record["run"])
    with run.metrics_file.open() as file:
        last = [row for row in csv.DictReader(file) if row["val/bleu"]][-1]
    names = ("bleu", "chrf", "nats_per_token", "exact_match", "generated_rows")
    measured = {name: last.get(f"val/all_rows/{name}") or last[f"val/{name}"] for name in names}
    result = {**record, **{f"val/{name}": float(value) for name, value in measured.items()}}
    return {**result, **(translated(run, test) if test else {})}


def translated(run: Run, test: Path) -> dict[str, float]:
    """Translates a test part with the last weights and scores it."""
    sources, references = (lines(Path(f"{test}.{ending}")) for ending in ("en", "de"))
    module = Seq2Seq.load_from_checkpoint(run.last().trainer_file, map_location="cpu")
    outputs = module.predict(sources)
    return {
        "test/bleu": sacrebleu.corpus_bleu(outputs, [references]).score,
        "test/chrf": sacrebleu.corpus_chrf(outputs, [references]).score,
    }


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def table(results: list[dict[str, Any]]) -> str:
    """Words each measure as mean and spread over the seeds."""
    rows = ["| measure | mean | standard deviation | seeds |", "|---|---|---|---|"]
    for name in results[0]:
        if name == "run":
            continue
        values = [result[name] for result in results]
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        rows.append(f"| {name} | {statistics.mean(values):.4g} | {spread:.2g} | {len(values)} |")
    return "\n".join(rows)


def samples(run: Path) -> str:
    """The first ten sentences of the validation part, as the last validation wrote them."""
    kept = [json.loads(line) for line in lines(run / "samples.jsonl")][-SHOWN:]
    rows = ["| English | roots | reference |", "|---|---|---|"]
    rows += [f"| {row['source']} | {row['output']} | {row['reference']} |" for row in kept]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--fraction", type=float, default=1.0, help="share of the epochs")
    parser.add_argument("--test", type=Path, help="NAME of NAME.en and NAME.de")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    finished = [fit(given.work, seed, given.fraction) for seed in given.seeds]
    results = [result_of(done, given.test) for done in finished]
    whole = given.fraction == 1 and {*SEEDS} <= {*given.seeds}
    out = (HERE if whole else given.work) / "results.json"
    out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\n{table(results)}\n\n{samples(Path(results[0]['run']))}\n\nwritten: {out}")


if __name__ == "__main__":
    main()
