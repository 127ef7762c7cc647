"""`roots fit`, `validate`, `test` and `predict`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from roots.data import TaskData
from roots.errors import ConfigError
from roots.fit.closing import closing, complete
from roots.fit.compose import Composed, from_run, put_together, resumed
from roots.fit.loading import remembered
from roots.fit.measured import check_tokens, keep, measured_on
from roots.fit.own_arguments import given_word, own_parser, parse_own
from roots.fit.predictions import check_file, gathered, refuse_what_is_read, write_rows
from roots.fit.run_files import read_run_files
from roots.fit.trainer import Trainer
from roots.plan import plan_run, refuse_early
from roots.runs import Run, check_place, write_atomically


def main(verb: str, args: list[str]) -> int:
    """Runs one of the four verbs; gives the exit code."""
    own, flags = parse_own(_own_arguments(verb), args)
    config = read_run_files(own.config)
    return _fit(own, config, flags) if verb == "fit" else _evaluate(verb, own, config, flags)


STOPPING = """\
Ctrl-C, SIGTERM and SIGUSR1 end a run after its step, on all ranks, with a checkpoint and exit code
130. Where the step validates, that is done first, once the step is saved; after the last step the
run goes to its end. A second signal ends either at once. A run goes on with --resume: from the
newest checkpoint whose files are as they were written (each is checked against its sha256). Exit
codes: 0 done, 130 stopped on request, 2 a mistake in what was given, 1 the run went wrong. Under
SLURM, #SBATCH --signal=USR1@120 asks two minutes before the end; Kubernetes sends SIGTERM. Two
processes cannot resume one run."""


def _own_arguments(verb: str) -> argparse.ArgumentParser:
    parser = own_parser(f"roots {verb}", end=STOPPING if verb == "fit" else "")
    if verb == "fit":
        parser.add_argument(
            "--resume",
            type=given_word("resume"),
            metavar="RUN",
            help="go on in this run directory, or `auto`: the newest",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be done; train nothing"
        )
        return parser
    words = {name: given_word(name) for name in ("run", "checkpoint", "to", "from")}
    parser.add_argument(
        "--run", type=words["run"], metavar="RUN", help="take configuration and weights from a run"
    )
    parser.add_argument(
        "--checkpoint",
        type=words["checkpoint"],
        metavar="WHICH",
        help="of a run: best (default), last, or a step",
    )
    if verb == "predict":
        parser.add_argument(
            "--to", type=words["to"], metavar="FILE", help="where to write (default: in the run)"
        )
        parser.add_argument(
            "--from",
            dest="asked",
            type=words["from"],
            metavar="FILE",
            help="what to predict: rows need no labels, a .txt has a text on each line (default:"
            " the configuration's test rows, else its validation rows)",
        )
    return parser


def _fit(own: argparse.Namespace, config: dict[str, Any], flags: list[str]) -> int:
    composed = _resumed(own.resume, config, flags) if own.resume else put_together(config, flags)
    if _is_first():
        _check_place(composed.trainer)
        if not own.dry_run:
            refuse_early(composed.trainer, composed.model, composed.data)
            composed.data.prepare_data()
        plan = plan_run(composed.trainer, composed.model, composed.data, memory=own.dry_run)
        _say(f"{composed.trainer.name}\n{plan}\n")
    if own.dry_run:
        _say("dry run: nothing was trained or written")
        return 0
    trainer = composed.trainer
    if trainer.has_ended:
        _say(complete(composed))
        return 0
    began = time.monotonic()
    run = composed.fit()
    if trainer.is_global_zero:
        _say(closing(run, composed, time.monotonic() - began))
    return 0


def _check_place(trainer: Trainer) -> None:
    """Raises ConfigError when the run's directory cannot be written."""
    if trainer.run is not None:
        check_place(trainer.run.path, "--resume", is_folder=True)
    else:
        place = Path(trainer.runs_dir) / trainer.name
        check_place(place, "trainer.runs_dir", is_folder=True)


def _resumed(which: str, config: dict[str, Any], flags: list[str]) -> Composed:
    composed, changes = resumed(which, config, flags)
    for change in changes:
        _say(f"changed at resume: {change}")
    assert composed.checkpoint is not None
    for folder, wrong in composed.trainer.passed_over.items():
        _say(f"passed over: {os.path.relpath(folder)}: {wrong}")
    _say(f"resuming from {os.path.relpath(composed.checkpoint.parent)}\n")
    return composed


def _evaluate(verb: str, own: argparse.Namespace, config: dict[str, Any], flags: list[str]) -> int:
    if own.run and config:
        raise ConfigError("--run brings its own configuration: leave out --config, or --run.")
    if own.checkpoint and not own.run:
        raise ConfigError(
            f"--checkpoint {own.checkpoint} chooses among those of a run, and none is named. Add"
            " --run RUN, or leave it out."
        )
    own.checkpoint = own.checkpoint or "best"
    composed = from_run(own.run, own.checkpoint, flags) if own.run else put_together(config, flags)
    if verb == "predict":
        _predict(composed, own)
        return 0
    _make_ready(verb, composed, own)
    composed.evaluate(verb)
    if composed.trainer.is_global_zero:
        _tell(composed, verb, own)
    return 0


def _tell(composed: Composed, verb: str, own: argparse.Namespace) -> None:
    """Prints what was measured, and keeps it with the run that it was measured of."""
    _tell_remarks(composed)
    trainer = composed.trainer
    for name, value in trainer.latest.items():
        print(f"{name:<24} {value:.6g}")
    if not own.run:
        return
    run = Run(own.run)
    on = measured_on(run, composed, verb)
    numbers = {"checkpoint": own.checkpoint, **trainer.latest}
    file = keep(run, verb, on, numbers, trainer.details)
    if on.unlike:
        print(f"kept in {file}, because these are not the run's own data: {'; '.join(on.unlike)}")


def _tell_remarks(composed: Composed) -> None:
    """Says what was found when the rows were read: left out, cut, trained on as well."""
    for remark in dict.fromkeys(composed.data.remarks):
        print(remark, file=sys.stderr, flush=True)


def _make_ready(verb: str, composed: Composed, own: argparse.Namespace) -> None:
    """Refuses data in other tokens than the run's, and lets rows be read by what it knows."""
    if own.run:
        if not composed.data.is_ready and _is_first():
            composed.data.prepare_data()
        assert composed.checkpoint is not None
        check_tokens(Run(own.run), composed.checkpoint.parent, composed.data)
        _recall(verb, composed, own)


def _recall(verb: str, composed: Composed, own: argparse.Namespace) -> None:
    """Lets rows be read by what the checkpoint knows, so that the training rows may be gone.

    It does not where classes are weighed, or a threshold is chosen, by training rows.
    """
    assert composed.checkpoint is not None
    if not isinstance(composed.data, TaskData):
        return
    arguments = read_run_files([Run(own.run).config_file])["data"]["init_args"]
    told = remembered(composed.checkpoint.parent, arguments)
    held_out = getattr(composed.data, "threshold_fraction", 0.0) > 0
    chooses = verb == "validate" and held_out and told.some_have_no_answer
    if verb == "predict" or not (chooses or getattr(composed.model, "balance", False)):
        _refuse_other_than(arguments, composed.config["data"]["init_args"], own.run)
        composed.data.recall(told)


def _refuse_other_than(trained: dict[str, Any], asked: dict[str, Any], run: str) -> None:
    """Raises ConfigError where rows are to be read by another tokenizer or other labels."""
    for name in ("tokenizer", "labels"):
        if asked.get(name) != trained.get(name):
            raise ConfigError(
                f"--data.{name} {asked.get(name)!r}: a trained network keeps the {name} that it"
                f" was trained with, and {run} has them. Leave it out."
            )


def _ask(data: Any, path: str) -> None:
    """Sets the file of the rows to predict."""
    if not isinstance(data, TaskData):
        raise ConfigError(
            f"--from {path}: {type(data).__name__} reads tokens, not rows of a task. Leave it out;"
            " a causal language model continues a text by `roots generate`, a masked one guesses"
            " hidden tokens by `roots fill`."
        )
    data.predict_from = path


def _predict(composed: Composed, own: argparse.Namespace) -> None:
    """Writes what the network says of every row, from all ranks."""
    if not (own.run or own.to):
        raise ConfigError("Nowhere to write to: give --to FILE, or --run RUN.")
    path = Path(own.to or f"{own.run}/predictions.jsonl")
    check_file(path)  # before the rows are read
    _make_ready("predict", composed, own)
    if own.asked:
        _ask(composed.data, own.asked)
    refuse_what_is_read(path, composed.data, endings=composed.model.other_forms([]))
    result = composed.evaluate("predict")
    rows = [composed.data.told(row) for row in gathered(composed.trainer, result)]
    if composed.trainer.is_global_zero:
        _tell_remarks(composed)
        write_rows(rows, path)
        files = [path]
        for ending, text in composed.model.other_forms(rows).items():
            files.append(path.with_suffix(ending))
            write_atomically(files[-1], text)
        print(f"{len(rows):,} rows: {', '.join(map(str, files))}")


def _is_first() -> bool:
    """Tells whether this is the first process of the machine, before they know of each other."""
    return os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")) == "0"


def _say(text: str) -> None:
    if _is_first():
        sys.stderr.flush()
        print(text, flush=True)
