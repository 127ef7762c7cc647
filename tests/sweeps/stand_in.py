"""Takes the place of `roots fit` in a trial: its flags, files, signals and exit codes, no torch.

The loss of a trial falls towards (log10(learning rate) + 2)² + |rows - 8| / 8. What it does on the
way is told by the environment, as `TRIAL:STEP` or `TRIAL-fold-FOLD:STEP`, each once: KILL_AT dies
of SIGKILL, FAIL_AT ends with a message of roots, GARBLE_AT writes a row that is none, NAN_AT loses
the loss; SECONDS is the time of a step, VAL_EVERY how often it validates, SILENT trials never do.
"""

import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import yaml

from roots.runs import Run, RunLock, claim, write_atomically

STEPS = 6
stopped: list[int] = []
locks: list[RunLock] = []
signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
flags = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])


def lock_of(run: Run) -> RunLock:
    """The lock of the run, which this process holds until it ends."""
    locks.append(RunLock(run.path))
    return locks[-1]


def begin() -> tuple[Run, int]:
    if "resume" in flags:
        run = Run(flags["resume"])
        assert not lock_of(run).acquire()
        done = run.last().step
        head, *rows = run.metrics_file.read_text().splitlines(keepends=True)
        kept = [row for row in rows if int(row.split(",")[0]) <= done]
        write_atomically(run.metrics_file, "".join([head, *kept]))
        return run, done
    runs_dir = flags.get("trainer.runs_dir", "runs")
    run = claim(runs_dir, flags["name"])
    assert not lock_of(run).acquire()
    spec = {
        "name": flags["name"],
        "data": {"init_args": {"fold": flags.get("data.fold", 0), "folds": 3, "val_fraction": 0.1}},
        "trainer": {"runs_dir": runs_dir},
        "flags": flags,
    }
    write_atomically(run.config_file, yaml.safe_dump(spec))
    run.metrics_file.write_text("step,train/loss,val/loss\n")
    return run, 0


def loss(step: int, said: dict[str, str]) -> float:
    rate = float(said["model.optimizer.init_args.learning_rate"])
    rows = float(said.get("data.sequences_per_step", 8))
    more = float(said.get("seed", 0)) + 3 * float(said.get("data.fold", 0))
    return (math.log10(rate) + 2) ** 2 + abs(rows - 8) / 8 + more / 100 + 1 / step


def checkpoint(run: Run, step: int) -> None:
    record = {"step": step, "metrics": {}, "files": {}}
    write_atomically(run.checkpoint_folder(step) / "checkpoint.json", json.dumps(record))


def happens(name: str, run: Run, step: int) -> bool:
    mark = run.path / f".{name}"
    trial = run.path.parent.name.removeprefix("trial-").lstrip("0")
    if os.environ.get(name) != f"{trial}:{step}" or mark.exists():
        return False
    mark.touch()
    return True


run, done = begin()
told = yaml.safe_load(run.config_file.read_text())["flags"]
(run.path / "threads").write_text(os.environ["OMP_NUM_THREADS"])
with Path(run.path / "starts").open("a") as file:
    file.write(f"{done}\n")
for step in range(done + 1, STEPS + 1):
    time.sleep(float(os.environ.get("SECONDS", "0.02")))
    if happens("KILL_AT", run, step):
        os.kill(os.getpid(), signal.SIGKILL)
    if happens("FAIL_AT", run, step) or os.environ.get("FAIL_AT") == "all":
        sys.stderr.write("roots: The loss is nan at step 3. Set a smaller learning rate.\n")
        sys.exit(1)
    is_lost = happens("NAN_AT", run, step) or os.environ.get("NAN_AT") == "all"
    value = math.nan if is_lost else loss(step, told)
    if happens("GARBLE_AT", run, step):
        with run.metrics_file.open("a") as file:
            file.write(f"{step},?,\n")
    with run.metrics_file.open("a") as file:
        is_silent = run.path.parent.name in os.environ.get("SILENT", "").split()
        is_validated = not is_silent and step % int(os.environ.get("VAL_EVERY", "2")) == 0
        file.write(f"{step},{value},{value if is_validated else ''}\n")
    checkpoint(run, step)
    if stopped:
        sys.exit(130)
print("next:\n  roots fit --resume RUN --trainer.max_steps 12")
