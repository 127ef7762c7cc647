"""How fast do shards become batches, beside Hugging Face Arrow, litdata and a bare memmap loop?

    PYTHONPATH=. python experiments/corpus/loader.py --work /tmp/loader

Every contender reads the same tokens, each in a process of its own. A process reads all rows once
and sums a hash of each, which must be equal for all; then they take turns to read them again, and
the seconds of processor time, of all threads of the process, are what counts. litdata, which would
replace torch, gets an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

import loader_prepare as prepare

HERE = Path(__file__).parent
LITDATA = ["litdata", "obstore", "tifffile", "boto3", "botocore", "s3transfer", "jmespath"]
LITDATA += ["python-dateutil", "six"]
Job = dict[str, Any]
GOALS = {"Hugging Face Arrow": 2.5, "litdata": 1.2, "bare memmap": 0.6}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="a folder for what is read")
    parser.add_argument("--tokens", type=float, default=32e6)
    parser.add_argument("--shards", type=Path, help="real text, a corpus; none draws tokens")
    parser.add_argument("--seq-len", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=32, help="of a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=float, default=1e9, help="tokens of the sparse corpus")
    parser.add_argument("--without-litdata", action="store_true")
    parser.add_argument("--out", type=Path, default=None, help="where to write the numbers")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    n_rows = int(asked.tokens) // asked.seq_len // asked.rows * asked.rows
    job = {"work": str(asked.work), "seq_len": asked.seq_len, "rows": asked.rows, "n": n_rows}
    job["vocabulary"] = prepare.VOCABULARY
    prepare.all_but_litdata(asked.work, n_rows, asked.seq_len, asked.shards)
    prepare.sparse(asked.work / "large", int(asked.large))
    arrow = ("Hugging Face Arrow", "Arrow, as run_clm.py writes it", "Arrow, as much as roots")
    here = ("roots", *arrow, "bare memmap")
    pythons = dict.fromkeys(here, sys.executable)
    if not asked.without_litdata:
        pythons["litdata"] = litdata_environment(asked.work / "litdata-environment")
    if not pythons.get("litdata", "here"):
        del pythons["litdata"]
    if "litdata" in pythons:
        run(pythons["litdata"], {**job, "contender": "prepare litdata"})
    found = measure(pythons, job, asked.rounds)
    large = [run(sys.executable, {**job, "contender": "large"}) for _ in range(asked.rounds)]
    report(found, large, n_rows * asked.seq_len)
    if asked.out:
        asked.out.write_text(json.dumps({"rows": found, "large": large}, indent=2) + "\n")
    return check(found)


def litdata_environment(folder: Path) -> str:
    """Makes an environment with litdata, which takes all else from this one.

    Returns:
        Its Python; empty, with the reason printed, where it cannot be made.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        packages = next(folder.glob("lib/python*/site-packages"))
        (packages / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
        install = [str(python), "-m", "pip", "install", "-q", "--no-deps", *LITDATA]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"without litdata: pip could not install it: {done.stderr.strip()[-300:]}")
    can = subprocess.run([str(python), "-c", "import litdata"], capture_output=True, check=False)
    if can.returncode:
        print(f"without litdata: it cannot be imported: {can.stderr.decode().strip()[-300:]}")
    return "" if can.returncode else str(python)


def measure(pythons: dict[str, str], job: Job, rounds: int) -> dict[str, Job]:
    """Starts the contenders, and lets one after another read all rows, again and again."""
    started = {name: start(python, {**job, "contender": name}) for name, python in pythons.items()}
    found = {name: {**answer(process), "seconds": []} for name, process in started.items()}
    for _ in range(rounds):
        for name, process in started.items():
            process.stdin.write("again\n")
            process.stdin.flush()
            found[name]["seconds"].append(answer(process)["seconds"])
    for process in started.values():
        process.stdin.close()
        process.wait()
    return found


def start(python: str, job: Job) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [python, str(HERE / "loader_job.py"), json.dumps(job)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)


def answer(process: subprocess.Popen[str]) -> Job:
    line = process.stdout.readline()
    if not line:
        sys.exit(f"a contender ended with {process.wait()} before it answered: {process.args}")
    found: Job = json.loads(line)
    return found


def run(python: str, job: Job) -> Job:
    """Starts a process that answers once."""
    process = start(python, job)
    out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{job['contender']} ended with {process.returncode}")
    return json.loads(out.splitlines()[-1]) if out.strip() else {}


def report(found: dict[str, Job], large: list[Job], n: int) -> None:
    names = ("roots-lm", "torch", "numpy", "datasets", "pyarrow")
    print(f"{n:,} tokens; {processor()}; Python {platform.python_version()};", end=" ")
    print(", ".join(f"{name} {version(name)}" for name in names if has(name)))
    print("| who | million tokens per CPU-second (median) | CPU-seconds, least to most |")
    print("|---|---|---|")
    medians = {}
    for name, each in found.items():
        seconds = each["seconds"]
        medians[name] = n / statistics.median(seconds) / 1e6
        spread = f"{min(seconds):.2f} to {max(seconds):.2f} ({len(seconds)} rounds)"
        print(f"| {each['who']} | {medians[name]:.1f} | {spread} |")
    print("\n| roots against | ratio | goal |\n|---|---|---|")
    for name in sorted(medians.keys() - {"roots"}):
        print(f"| {name} | {medians['roots'] / medians[name]:.2f} | {GOALS.get(name, '')} |")
    for what, goal in (("first_batch_seconds", 0.5), ("anonymous_mib", 50.0)):
        every = [each[what] for each in large]
        print(f"| {what} | {min(every):.3f} to {max(every):.3f} | at most {goal} |")
    print(
        f"(the large corpus: {large[0]['tokens']:,} tokens, {large[0]['gigabytes']:.1f} GB;", end=""
    )
    print(f" {large[0]['read']:,} tokens of it were read for the memory)")


def check(found: dict[str, Job]) -> int:
    """Finds out whether all read the same tokens, each row once."""
    sums = {name: each["sum"] for name, each in found.items()}
    same = len(set(sums.values())) == 1
    print(f"all read the same rows: {'yes' if same else f'NO, {sums}'}")
    return 0 if same else 1


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")


def has(name: str) -> bool:
    try:
        return bool(version(name))
    except ImportError:
        return False


if __name__ == "__main__":
    sys.exit(main())
