"""What can be asked of the comparison, and what is refused before anything is done."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from contenders import CONTENDERS
from presets import PRESETS

HERE = Path(__file__).parent


class Refused(Exception):
    """The comparison cannot be made as asked; the text says what, why and the fix."""


def parser(about: str) -> argparse.ArgumentParser:
    """Says what can be asked for."""
    asked = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = asked.add_argument
    add("--preset", default="cpu-small", help=f"one of {', '.join(PRESETS)}")
    add("--only", default="", metavar="A,B", help="only these contenders; --dry-run lists them")
    add("--rounds", type=int, default=3, help="timed runs of each (default: 3)")
    add("--steps", type=int, default=20, help="timed optimizer steps (default: 20)")
    add("--warmup-steps", type=int, default=6, help="steps before them (default: 6)")
    add("--precision", default="", help="bf16-mixed or 32; default: the preset's")
    add("--text", default="", metavar="SHARDS", help="shards of roots; default: Python's sources")
    add("--work", default=str(HERE / ".work"), metavar="DIR", help="for data, logs and runs")
    add("--out", default=str(HERE / "results"), metavar="DIR", help="for the results")
    add("--torch-index", default="", metavar="URL", help="where the environments get torch from")
    add("--fresh", action="store_true", help="measure again what is finished")
    add("--dry-run", action="store_true", help="say what would be done, and do nothing")
    return asked


def check(asked: argparse.Namespace) -> None:
    """Raises Refused for what cannot work."""
    if asked.preset not in PRESETS:
        raise Refused(f"there is no --preset {asked.preset}{near(asked.preset, PRESETS)}.")
    for name in filter(None, asked.only.split(",")):
        if name not in CONTENDERS:
            raise Refused(f"--only {name}: there is no such contender{near(name, CONTENDERS)}.")
    for name in ("rounds", "steps", "warmup_steps"):
        if getattr(asked, name) < 1:
            flag = name.replace("_", "-")
            raise Refused(f"--{flag} {getattr(asked, name)} is too few. Give 1 or more.")
    if asked.precision not in ("", "32", "bf16-mixed"):
        raise Refused(f"there is no --precision {asked.precision}. Give 32 or bf16-mixed.")


def near(word: str, known: Iterable[str]) -> str:
    """Words a suggestion."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else f"; there are {', '.join(known)}"


def version_of(text: str) -> str:
    """Gives what changes with the text: a folder of shards, or the sources of this Python."""
    if not text:
        return sys.version
    manifest = Path(text) / "manifest.json"
    if not manifest.is_file():
        raise Refused(
            f"--text {text} is no folder of shards: it holds no manifest.json."
            " Make one with `roots corpus --out FOLDER`, or leave --text out."
        )
    return hashlib.sha256(manifest.read_bytes()).hexdigest()
