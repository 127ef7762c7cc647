"""`roots profile`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from roots.errors import ConfigError, TrainingError
from roots.fit.own_arguments import own_parser, parse_own, whole
from roots.records import as_json
from roots.runs import check_place

ABOUT = """\
Tells where the time and the memory of a training step go, by part: attention, projection and loss,
other products, norms and elementwise work, optimizer, clipping, data, host.

It composes the run as `roots fit` does, trains --warmup-steps, then --steps without and --steps
with torch's profiler, and one more for memory and FLOPs. Where steps or their rows grow
(first_sequences_per_step, first_seq_len), all are as large as the last. There is no validation,
checkpoint, sample, tracker or run directory, and the trained weights are thrown away. It prints a
table, and writes into --out:
  table.txt      the table
  profile.json   the same numbers, in seconds and bytes
  profile.png    a bar for each part
  trace.json.gz  every operation, for https://ui.perfetto.dev or chrome://tracing
A profile that lies there is replaced, and other files stay. Operations of the backward pass count
for the part that their forward operation belongs to. The profiler takes time too, more in some
parts than in others: the rates without it and with it, which stand below the table, tell how far to
trust the shares.
"""


def main(args: list[str]) -> int:
    """Profiles a run; gives the exit code."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's library greets on stderr
    from roots.fit.compose import put_together
    from roots.fit.run_files import read_run_files

    own, flags = parse_own(_own_arguments(), args)
    config = read_run_files(own.config)
    composed = put_together(config, flags)
    out = Path(own.out or Path("profiles") / composed.trainer.name)
    check_out(out)
    _profile(composed, out, steps=own.steps, warmup_steps=own.warmup_steps)
    return 0


def check_out(out: Path) -> None:
    """Raises ConfigError when `out` is no place for a profile, or holds something else than one."""
    is_profile = (out / "profile.json").is_file()
    if out.exists() and not is_profile and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"--out {out} exists and holds no profile (no profile.json), but other things. Give a"
            f" new folder, such as --out {out / 'profile'}."
        )
    check_place(out, "--out", is_folder=True)


def _own_arguments() -> argparse.ArgumentParser:
    parser = own_parser(
        "roots profile",
        usage="roots profile --config FILE [--steps N] [--warmup-steps N] [--out DIR] [flags]",
        about=ABOUT,
    )
    parser.add_argument(
        "--steps",
        type=whole("steps", "optimizer steps"),
        default=20,
        metavar="N",
        help="optimizer steps to profile, and to time without the profiler (default: 20)",
    )
    parser.add_argument(
        "--warmup-steps",
        type=whole("warmup-steps", "optimizer steps", 0),
        default=5,
        metavar="N",
        help="optimizer steps before that; compiled code is made in them (default: 5)",
    )
    parser.add_argument("--out", metavar="DIR", help="where to write (default: profiles/<name>)")
    return parser


def _profile(composed: Any, out: Path, *, steps: int, warmup_steps: int) -> None:
    from roots.fit.profile.steps import profile_steps
    from roots.plan import plan_run

    trainer, first = composed.trainer, _is_first()
    if first:
        composed.data.prepare_data()
        plan = dict(plan_run(trainer, composed.model, composed.data).lines)
        lines = [f"  {name:<8}  {plan[name]}" for name in ("network", "step", "computes")]
        print("\n".join([trainer.name, *lines]), flush=True)
        _tell(
            f"warm-up {warmup_steps} steps, then {steps} without and {steps} with the profiler ..."
        )
    measured = profile_steps(composed, steps=steps, warmup_steps=warmup_steps)
    if trainer.is_global_zero:
        _tell("reading the trace ...")
        report = _written(composed, measured, out)
        print(f"\n{report}\n\nwritten: {out}/ (table.txt, profile.json, profile.png,", end=" ")
        print("trace.json.gz for https://ui.perfetto.dev)", flush=True)


def _written(composed: Any, measured: Any, out: Path) -> Any:
    """Writes the four files, all or none; gives the report."""
    from roots.fit.profile.books import balance
    from roots.fit.profile.figure import draw_report
    from roots.fit.profile.table import plain_report
    from roots.fit.profile.trace import read_trace

    device = composed.trainer.strategy.root_device
    with _replacing(out) as folder:
        trace = folder / "trace.json.gz"
        measured.details.export_chrome_trace(str(trace))
        details = read_trace(trace)
        measured.timing.export_chrome_trace(str(trace))
        timing = read_trace(trace)
        check_kernels(timing, device)
        books = balance(
            timing,
            details,
            held_bytes=measured.held_bytes,
            device_peak_bytes=measured.device_peak_bytes,
        )
        report = _report(composed, measured, books)
        text = as_json(plain_report(report), indent=2) + "\n"
        (folder / "profile.json").write_text(text, encoding="utf-8")
        (folder / "table.txt").write_text(f"{report}\n", encoding="utf-8")
        draw_report(report, folder / "profile.png")
    return report


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Gives a temporary folder whose files go to `out` when the block ends well."""
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix=".profile.", dir=out) as name:
            yield Path(name)
            for file in Path(name).iterdir():
                file.replace(out / file.name)
    except BaseException:
        if is_new:
            with suppress(OSError):  # which has files by now
                out.rmdir()
        raise


def check_kernels(trace: Any, device: Any) -> None:
    """Raises TrainingError when a GPU computed and the profiler saw nothing of it."""
    if device.type == "cuda" and not trace.kernels:
        raise TrainingError(
            f"The profiler saw no kernel on {device}: CUPTI, which reports them, is not allowed to"
            " or is missing. Set KINETO_LOG_LEVEL=0 to read what it says; often the driver's"
            " NVreg_RestrictProfilingToAdminUsers=0, or a container's --cap-add SYS_ADMIN, helps."
        )


def _report(composed: Any, measured: Any, books: Any) -> Any:
    from roots.fit.profile.table import Report

    trainer = composed.trainer
    device = trainer.strategy.root_device
    return Report(
        name=trainer.name,
        device=f"{device}, {type(trainer.strategy).__name__}, {trainer.precision}",
        on_device=device.type == "cuda",
        tokens_per_step=composed.data.tokens_per_step,
        plain_seconds=measured.plain_seconds / books.n_steps,
        profiled_seconds=measured.profiled_seconds / books.n_steps,
        books=books,
    )


def _is_first() -> bool:
    """Tells whether this is the first process of the machine, before they know of each other."""
    return os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")) == "0"


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
