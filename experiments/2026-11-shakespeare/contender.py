"""One training run in a process of its own; writes how long each step took.

    python contender.py nanogpt --dir CLONE --out FOLDER --seed 1 -- CONFIG --key=value …
    python contender.py roots   --out FOLDER --seed 1 -- RUN_FILE.yaml name=value …

Both leave in FOLDER: steps.json, the seconds of every step (a step after which the next one
is preceded by an evaluation has that evaluation and the checkpoint in the seconds of the next), and
a checkpoint per evaluation.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import runpy
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

ITERATION = re.compile(r"^iter \d+: loss .*, time ([\d.]+)ms")
ESTIMATE = re.compile(r"^step (\d+): train loss [\d.]+, val loss ([\d.]+)")


def nanogpt(clone: Path, out: Path, seed: int, arguments: Sequence[str]) -> None:
    """Runs nanoGPT's own train.py, with another seed than 1337, and keeps every checkpoint."""
    os.chdir(clone)
    sys.path.insert(0, str(clone))
    set_seed, save = torch.manual_seed, torch.save

    def save_numbered(checkpoint: dict[str, Any], _path: str) -> None:
        save(checkpoint, out / f"step-{checkpoint['iter_num']:06d}.pt")

    torch.manual_seed = lambda _: set_seed(seed)
    torch.save = save_numbered
    _prepare(clone)
    sys.argv = ["train.py", *arguments, f"--out_dir={out}", "--always_save_checkpoint=True"]
    with (out / "log.txt").open("w", buffering=1) as log:
        sys.stdout, screen = log, sys.stdout
        try:
            runpy.run_path("train.py", run_name="__main__")
        finally:
            sys.stdout = screen
    lines = (out / "log.txt").read_text().splitlines()
    steps = [float(found[1]) / 1000 for line in lines if (found := ITERATION.match(line))]
    own = {int(f[1]): float(f[2]) for line in lines if (f := ESTIMATE.match(line))}
    write(out, steps, own, last_has_step=True)


def _prepare(clone: Path) -> None:
    """Runs nanoGPT's prepare.py on the text that we have, so that it downloads nothing."""
    folder = clone / "data" / "shakespeare_char"
    if (folder / "train.bin").exists():
        return
    text = (Path(os.environ["ROOTS_DATA"]) / "tinyshakespeare.txt").read_bytes()
    (folder / "input.txt").write_bytes(text)
    sys.modules.setdefault("requests", ModuleType("requests"))  # only for the download
    runpy.run_path(str(folder / "prepare.py"))


def roots(out: Path, seed: int, arguments: Sequence[str]) -> None:
    """Runs a run file of roots, with a stopwatch beside its callbacks."""
    import lightning as L

    from roots.fit import compose

    class Stopwatch(L.Callback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_start(self, *_: Any) -> None:
            self.times.append(time.perf_counter())

        def on_train_batch_end(self, *_: Any) -> None:
            self.times.append(time.perf_counter())

        def on_train_end(self, *_: Any) -> None:
            self.times.append(time.perf_counter())

    run_file, *overrides = arguments
    settings: dict[str, Any] = dict(each.split("=", 1) for each in overrides)
    settings |= {"seed": seed, "trainer.runs_dir": str(out), "trainer.keep_best": 1000}
    run = compose(run_file, settings)
    stopwatch = Stopwatch()
    run.trainer.callbacks.append(stopwatch)
    done = run.fit()
    for checkpoint in done.checkpoints():
        (out / f"step-{checkpoint.step:06d}").symlink_to(checkpoint.path.resolve())
    own = {c.step: c.metrics["val/nats_per_token"] for c in done.checkpoints()}
    times = stopwatch.times
    write(out, [b - a for a, b in pairwise(times)], own, last_has_step=False)


def write(out: Path, steps: list[float], own: dict[int, float], *, last_has_step: bool) -> None:
    record = {
        "seconds": [round(each, 6) for each in steps],
        "own_estimates": own,
        "last_has_step": last_has_step,
        "threads": torch.get_num_threads(),
    }
    (out / "steps.json").write_text(json.dumps(record))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("who", choices=("nanogpt", "roots"))
    parser.add_argument("--dir", type=Path, help="a clone of github.com/karpathy/nanoGPT")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    at = sys.argv.index("--")
    given, arguments = parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]
    given.out.mkdir(parents=True, exist_ok=True)
    out = given.out.resolve()
    if given.who == "nanogpt":
        nanogpt(given.dir.resolve(), out, given.seed, arguments)
    else:
        roots(out, given.seed, arguments)


if __name__ == "__main__":
    main()
