"""`roots reproduce`."""

from __future__ import annotations

import argparse
import os

from roots.errors import refusing
from roots.fit.own_arguments import whole

ABOUT = """\
Runs a run again, in a new directory, and says whether its numbers come again.

First it says where code, packages, hardware and data differ from what the run wrote down when it
began (environment.json). Then it trains, by the run's own configuration and without trackers, and
compares every reported metric but those of the machine (rates, MFU): bitwise equal, within the
tolerance, or different, and from which step on. The verdict is also in the new run's directory
(reproduction.json). Flags of `roots fit` win over the configuration, for other hardware:
--trainer.devices 1.

Exit codes: 0 bitwise equal, or within the tolerance that was asked for; 1 different; 2 a mistake in
what was given, such as other data.
"""


def main(args: list[str]) -> int:
    """Runs `roots reproduce`; gives the exit code."""
    own, flags = _arguments().parse_known_args(args)
    from roots.fit.reproduce.rerun import reproduce

    found = reproduce(own.run, steps=own.steps, tolerance=own.tolerance, flags=flags)
    trainer = found.composed.trainer
    if trainer.is_global_zero:
        _tell("then → now", found.differences, "nothing differs from what the run ran on")
        _tell("settings", found.changes, "")
        _tell("not known", found.doubts, "")
        print(f"to do again: {found.steps:,} of {trainer.max_steps:,} steps\n", flush=True)
    if own.dry_run:
        print("dry run: nothing was trained or written")
        return 0
    run, verdict = found.fit()
    if not trainer.is_global_zero:
        return 0
    print(f"\n{verdict}")
    for deviation in verdict.deviations:
        print(f"  {deviation.metric:<28} {deviation.largest:.2g} at step {deviation.step:,}")
    if verdict.kind != "bitwise" and trainer.strategy.root_device.type != "cpu":
        print("  on this device only --trainer.deterministic true asks for repeatable operations")
    print(f"run directory: {os.path.relpath(run.path)}")
    return 1 if verdict.kind == "different" else 0


def _tell(heading: str, lines: list[str], otherwise: str) -> None:
    if lines:
        print("\n".join([f"{heading}:", *(f"  {line}" for line in lines)]))
    elif otherwise:
        print(otherwise)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roots reproduce",
        usage="roots reproduce RUN [--steps N] [--tolerance R] [--dry-run] [flags of roots fit]",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.error = refusing("roots reproduce")  # type: ignore[method-assign,assignment]
    parser.add_argument("run", metavar="RUN", help="the run's directory")
    parser.add_argument(
        "--steps",
        type=whole("steps", "optimizer steps"),
        default=0,
        metavar="N",
        help="only its first N optimizer steps",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="R",
        help="relative difference that is taken for equal (default: 0, bitwise)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what differs; train nothing, write nothing"
    )
    return parser
