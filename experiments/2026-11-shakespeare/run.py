"""roots against nanoGPT on tiny Shakespeare: loss over wall time, three seeds, alternated.

    export ROOTS_DATA=~/data
    python experiments/2026-11-shakespeare/run.py --nanogpt ~/nanoGPT --work shakespeare_runs

Every run is a process of its own; a run that is in `--work` already is not made again, so the
command can be interrupted and given anew. `--fraction 0.1` makes a tenth of the steps, to see that
everything works. At the end results.json and curve.png are written (beside this script; into the
work folder where a part was asked for), and a table is printed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from score import nats_per_character, open_nanogpt, open_roots, validation_ids

from roots.fit import read_run_files

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parents[1] / "configs" / "run"
EVALUATIONS = 8
"""Evaluations of a run, evenly spread; nanoGPT has one after each 250 of its 2,000 steps."""

NANOGPT = [  # the command of nanoGPT's README, but for the numbers of steps, which are below
    "config/train_shakespeare_char.py",
    *("--device=cpu", "--eval_iters=20", "--log_interval=1", "--block_size=64", "--batch_size=12"),
    *("--n_layer=4", "--n_head=4", "--n_embd=128", "--dropout=0.0"),
]
GPT2, FAST = CONFIGS / "shakespeare_gpt2.yaml", CONFIGS / "shakespeare_fast.yaml"
WINDOWS = "data.init_args.max_val_sequences=480"  # per evaluation, as many as nanoGPT: 2 · 20 · 12

CONFIG = "model.init_args.network.init_args.config"
GPT2_NETWORK = read_run_files([GPT2])["model"]["init_args"]["network"]["init_args"]["config"]
COSINE = {"class_path": "roots.optim.WarmupCosine", "init_args": {"warmup_steps": 50, "floor": 0.1}}
ADAMW = {  # with the best rate for it in tuning.jsonl
    "class_path": "roots.optim.AdamW",
    "init_args": {"learning_rate": 3e-3, "weight_decay": 0.1, "beta2": 0.99},
}

CONTENDERS: dict[str, list[str]] = {
    "nanoGPT": ["--compile=False"],
    "nanoGPT, compiled": ["--compile=True"],
    "roots, GPT-2": [str(GPT2), WINDOWS],
    "roots, GPT-2, compiled": [str(GPT2), WINDOWS, "model.init_args.compile=network"],
    "roots, fast": [str(FAST), WINDOWS],
    "fast, compiled": [str(FAST), WINDOWS, "model.init_args.compile=network"],
    "fast, but AdamW": [str(FAST), WINDOWS, f"model.init_args.optimizer={json.dumps(ADAMW)}"],
    "fast, but GPT-2": [str(FAST), WINDOWS, f"{CONFIG}={json.dumps(GPT2_NETWORK)}"],
    "fast, but its cosine": [str(FAST), WINDOWS, f"model.init_args.schedule={json.dumps(COSINE)}"],
}
PEER = "nanoGPT"


def steps_of(name: str, fraction: float) -> int:
    """Gives the optimizer steps of a run, a multiple of the evaluations."""
    if name.startswith(PEER):
        steps = 2000
    else:
        steps = read_run_files([CONTENDERS[name][0]])["trainer"]["max_steps"]
    return max(round(steps * fraction / EVALUATIONS), 2) * EVALUATIONS


def train(name: str, seed: int, folder: Path, given: argparse.Namespace) -> None:
    steps = steps_of(name, given.fraction)
    every = steps // EVALUATIONS
    if name.startswith(PEER):
        who = ["nanogpt", "--dir", str(given.nanogpt)]
        numbers = [f"--max_iters={steps}", f"--lr_decay_iters={steps}", f"--eval_interval={every}"]
        arguments = [*NANOGPT, *CONTENDERS[name], *numbers]
        if given.fraction < 1:
            arguments.append(f"--warmup_iters={max(round(100 * given.fraction), 1)}")
    else:
        who = ["roots"]
        numbers = [f"trainer.max_steps={steps}", f"trainer.val_every_steps={every}"]
        arguments = [*CONTENDERS[name], *numbers]
        if given.fraction < 1:
            arguments.append("model.init_args.schedule.init_args.warmup_steps=1")
    where = ["--out", str(folder), "--seed", str(seed), "--", *arguments]
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was interrupted
    subprocess.run([sys.executable, str(HERE / "contender.py"), *who, *where], check=True)


def timeline(record: dict[str, Any], every: int) -> dict[int, tuple[float, float]]:
    """Gives, for each evaluated step, the seconds until its loss was known.

    Start-up, the first step and the first evaluation, in which things are compiled and allocated,
    are left out of both: they count as the median of the others. (nanoGPT evaluates before its
    first step, too: that is left out with it.) Without evaluations, a step that an evaluation
    preceded counts as the median of the others.

    Returns:
        Step → seconds of the steps alone, and with evaluations and checkpoints.
    """
    seconds = record["seconds"]
    usual = statistics.median(s for i, s in enumerate(seconds) if i % every)
    seconds = [usual, *seconds[1:]]
    seconds[every] = statistics.median(seconds[2 * every : -1 : every])
    alone = [usual if i % every == 0 else s for i, s in enumerate(seconds)]
    points = {}
    for step in range(every, len(seconds), every):
        is_last = step == len(seconds) - 1
        evaluation = seconds[step] - (0 if is_last and not record["last_has_step"] else usual)
        points[step] = (sum(alone[:step]), sum(seconds[:step]) + evaluation)
    return points


def result_of(name: str, seed: int, folder: Path, clone: Path) -> dict[str, Any]:
    """Scores every checkpoint of a run on the whole validation text."""
    record = json.loads((folder / "steps.json").read_text())
    checkpoints = sorted(folder.glob("step-*"))
    every = int(checkpoints[0].stem.removeprefix("step-"))
    times, ids, points = timeline(record, every), validation_ids(), []
    for checkpoint in checkpoints:
        opened = (
            open_nanogpt(checkpoint, clone) if name.startswith(PEER) else open_roots(checkpoint)
        )
        logits_of, n_parameters = opened
        step = int(checkpoint.stem.removeprefix("step-"))
        points.append(
            {
                "step": step,
                "seconds": round(times[step][0], 2),
                "seconds_with_evaluations": round(times[step][1], 2),
                "nats": round(nats_per_character(logits_of, ids), 4),
                "own_estimate": round(record["own_estimates"][str(step)], 4),
            }
        )
    usual = statistics.median(s for i, s in enumerate(record["seconds"]) if i % every)
    return {
        "contender": name,
        "seed": seed,
        "parameters": n_parameters,
        "threads": record["threads"],
        "milliseconds_per_step": round(1000 * usual, 2),
        "points": points,
    }


def seconds_to(target: float, result: dict[str, Any], clock: str) -> float | None:
    """Interpolates when the loss on the whole validation text first was `target` or less."""
    before: dict[str, Any] | None = None
    for point in result["points"]:
        if point["nats"] <= target:
            if before is None:
                return float(point[clock])
            share = (before["nats"] - target) / (before["nats"] - point["nats"])
            return float(before[clock] + share * (point[clock] - before[clock]))
        before = point
    return None


def summary(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Puts the seeds of each contender together; the target is nanoGPT's mean final loss."""
    finals = [r["points"][-1]["nats"] for r in results if r["contender"] == PEER]
    target = statistics.mean(finals)
    rows = []
    for name in CONTENDERS:
        runs = [r for r in results if r["contender"] == name]
        row: dict[str, Any] = {"contender": name, "seeds": len(runs), "target": round(target, 4)}
        row["nats"] = [r["points"][-1]["nats"] for r in runs]
        row["milliseconds_per_step"] = [r["milliseconds_per_step"] for r in runs]
        for clock in ("seconds", "seconds_with_evaluations"):
            row[clock] = [r["points"][-1][clock] for r in runs]
            row[f"{clock}_to_target"] = [seconds_to(target, r, clock) for r in runs]
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    def words(values: list[float | None], digits: int) -> str:
        found = [value for value in values if value is not None]
        if len(found) < len(values) or not found:
            return f"reached by {len(found)} of {len(values)}"
        spread = f" ± {statistics.stdev(found):.{digits}f}" if len(found) > 1 else ""
        return f"{statistics.mean(found):.{digits}f}{spread}"

    lines = [
        f"target: {rows[0]['target']:.4f} nats per character on the whole validation text",
        "| contender | nats at the end | ms per step | s, steps alone | s, with evaluations"
        " | s to the target, steps alone | with evaluations |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            words(row["nats"], 4),
            words(row["milliseconds_per_step"], 1),
            words(row["seconds"], 1),
            words(row["seconds_with_evaluations"], 1),
            words(row["seconds_to_target"], 1),
            words(row["seconds_with_evaluations_to_target"], 1),
        ]
        lines.append(f"| {row['contender']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: list[dict[str, Any]], target: float, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for number, name in enumerate(CONTENDERS):
        runs = [r for r in results if r["contender"] == name]
        for i, run in enumerate(runs):
            xs = [point["seconds"] for point in run["points"]]
            ys = [point["nats"] for point in run["points"]]
            label = name if i == 0 else None
            axes.plot(xs, ys, ".-", color=f"C{number}", lw=1, alpha=0.8, label=label)
    axes.axhline(target, color="black", lw=0.8, ls="--", label=f"nanoGPT at its end: {target:.3f}")
    axes.set_xlabel("seconds of training, without start-up and evaluations")
    axes.set_ylabel("nats per character, whole validation text")
    axes.set_ylim(top=max(2.7, target + 0.2))
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, required=True, help="a clone of its repository")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fraction", type=float, default=1.0, help="share of the steps to make")
    parser.add_argument("--only", nargs="*", default=list(CONTENDERS), choices=list(CONTENDERS))
    given = parser.parse_args()
    results = []
    for seed in range(1, given.seeds + 1):
        for name in given.only:  # alternated, so that a slow hour strikes all of them
            folder = given.work.resolve() / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            result = folder / "result.json"
            if not (folder / "steps.json").exists():
                train(name, seed, folder, given)
            if not result.exists():
                scored = result_of(name, seed, folder, given.nanogpt.resolve())
                result.write_text(json.dumps(scored))
            results.append(json.loads(result.read_text()))
            print(json.dumps(results[-1]), flush=True)
    if PEER not in given.only:
        return
    rows = [row for row in summary(results) if row["seeds"]]
    everything = given.fraction == 1 and len(rows) == len(CONTENDERS)
    out = HERE if everything else given.work
    content = {"summary": rows, "runs": results}
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    draw(results, rows[0]["target"], out / "curve.png")
    print(table(rows))


if __name__ == "__main__":
    main()
