"""Near-duplicate removal: roots beside datatrove, in CPU-seconds, with recall and precision.

python experiments/2026-11-near-duplicates/compare.py
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import texts
import truth

from roots.corpus.lowercase_words import lowercase_words

HERE = Path(__file__).parent
CONTENDERS = ("roots", "datatrove-same", "datatrove-default")
REQUIREMENTS = (
    *("datatrove==0.10.1", "spacy[ja]==3.8.18", "tokenizers==0.23.3"),
    *("xxhash<4", "regex", "tldextract", "orjson", "fasteners"),
)
THRESHOLD = 0.8


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=200, help="real text to take, at least")
    parser.add_argument("--planted", type=int, default=2000, help="near copies to make of it")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs")
    parser.add_argument("--default-rounds", type=int, default=1, help="and datatrove's default")
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="folder for what is made")
    parser.add_argument("--datatrove", type=Path, help="a Python that has datatrove")
    asked = parser.parse_args(arguments)
    asked.work.mkdir(parents=True, exist_ok=True)
    corpus = asked.work / "corpus.jsonl"
    size = texts.write(corpus, round(asked.megabytes * 1e6), asked.planted)
    print(f"{size}\n{_cpu()}, Python {platform.python_version()}", flush=True)
    peer = asked.datatrove or _environment(asked.work / "environment")
    seconds = _rounds(asked, corpus, peer)
    quality = _judged(corpus, asked.work)
    _report(seconds, quality)
    ours = quality["roots"]
    assert ours["recall"] >= 0.98, ours
    assert ours["precision"] >= 0.99, ours
    return 0


def _rounds(asked: argparse.Namespace, corpus: Path, peer: Path) -> dict[str, list[float]]:
    """Runs the contenders in turns; gives the CPU-seconds of each process."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for turn in range(asked.rounds):
        for name in CONTENDERS:
            if name == "datatrove-default" and turn >= asked.default_rounds:
                continue
            seconds[name].append(_cpu_seconds(_command(name, corpus, asked.work, peer)))
            print(f"round {turn}: {name} {seconds[name][-1]:.2f} s", flush=True)
    return seconds


def _command(name: str, corpus: Path, work: Path, peer: Path) -> list[str]:
    files = [str(corpus), str(work / f"{name}.dropped")]
    contender, _, splitter = name.partition("-")
    if contender == "roots":
        return [sys.executable, str(HERE / "run_roots.py"), *files]
    return [str(peer), str(HERE / "run_datatrove.py"), splitter, *files]


def _cpu_seconds(command: list[str]) -> float:
    """Runs a command on one thread; gives the seconds of it and its children, user and system."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    log = Path(command[-1]).with_suffix(".log")
    before = os.times()
    with log.open("w") as file:
        done = subprocess.run(command, env=os.environ | one, stdout=file, stderr=file, check=False)
    after = os.times()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    return sum(after[2:4]) - sum(before[2:4])


def _judged(corpus: Path, work: Path) -> dict[str, dict[str, float]]:
    """Compares what each contender dropped with the exact truth, under the words of roots."""
    documents = texts.read(corpus)
    places = {name: place for place, (name, _) in enumerate(documents)}
    alike = truth.pairs(truth.sets([text for _, text in documents], lowercase_words), THRESHOLD)
    quality = {}
    for name in CONTENDERS:
        file = work / f"{name}.dropped"
        if file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()
            quality[name] = _quality({places[line] for line in lines}, alike)
    return quality


def _quality(dropped: set[int], alike: dict[tuple[int, int], float]) -> dict[str, float]:
    """Tells which of the alike pairs are resolved, and which of the dropped have an alike one.

    `lost` counts the dropped documents of which nothing alike is kept.
    """
    resolved = {pair for pair in alike if dropped & set(pair)}
    near = {pair for pair, similarity in alike.items() if similarity < 0.85}
    twins = {place for pair in alike for place in pair}
    safe = {a for pair in alike for a, b in (pair, pair[::-1]) if b not in dropped}
    return {
        "dropped": len(dropped),
        "pairs": len(alike),
        "recall": len(resolved) / len(alike),
        "recall_below_0.85": len(resolved & near) / max(len(near), 1),
        "precision": len(dropped & twins) / max(len(dropped), 1),
        "lost": len(dropped - safe),
    }


def _report(seconds: dict[str, list[float]], quality: dict[str, dict[str, float]]) -> None:
    ours = seconds["roots"]
    for name, each in ((name, each) for name, each in seconds.items() if each):
        ratios = [theirs / one for theirs, one in zip(each, ours, strict=False)]
        print(
            f"{name}: {statistics.median(each):.1f} CPU-s ({min(each):.1f} to {max(each):.1f},"
            f" n={len(each)}), {statistics.median(ratios):.2f} x roots"
            f" ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    print(json.dumps(quality, indent=1))


def _environment(folder: Path) -> Path:
    """Makes an environment for datatrove, once."""
    python = folder / "bin" / "python"
    if not (folder / "complete").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *REQUIREMENTS], check=True)
        (folder / "complete").touch()
    return python


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
