"""`roots sweep`: run a sweep file, go on with a sweep, or look at one."""

from __future__ import annotations

import argparse
import shlex

import yaml

from roots.errors import ConfigError, refusing
from roots.runs import redact_values
from roots.sweeps.opening import open_sweep, read_sweep
from roots.sweeps.places import check_places
from roots.sweeps.sweep import Sweep
from roots.sweeps.with_wandb import agent_command, register, run_agents, wandb_file
from roots.sweeps.words import fit_command, result

SWEEPS_DIR = "sweeps"
EPILOG = """\
A sweep file is a W&B sweep file (method, metric, parameters, early_terminate, run_cap, command),
with `config:` for the run file that its trials start from, as seen from the sweep file, and, if
wanted, `seeds: [1, 2, 3]`: each trial is then trained with each seed, and judged by their mean.
`folds: 5` makes each trial a cross-validation over labelled rows, judged by the mean of its folds;
the best run file then trains on all rows.

  roots sweep report DIR            writes the report of a sweep again, also while it runs
  roots sweep --resume DIR          goes on: killed trials go on from their checkpoints

Several machines share one sweep by --storage with one database or journal and the same sweep file.
PostgreSQL and MySQL need the extra `databases`. Let PGPASSWORD or ~/.pgpass hold PostgreSQL's
password: in the URL it comes into no file and no message of roots, but stands in the list of
processes (`ps`) and in the shell's history. A server that is away for less than ten minutes, or
restarts, is waited for.

Ctrl-C and SIGTERM end a sweep with a checkpoint of every trial and exit code 130. Exit codes: 0
done, 130 stopped on request, 2 a mistake in what was given, 1 the first trials all failed, or the
storage broke off."""


def main(args: list[str]) -> int:
    """Runs the verb; gives the exit code."""
    if args[:1] == ["report"]:
        return _report(args[1:])
    given = _parser().parse_args(args)
    _check(given)
    sweep = (
        open_sweep(given.resume, storage=given.storage)
        if given.resume
        else read_sweep(
            given.file,
            sweeps_dir=given.sweeps_dir or SWEEPS_DIR,
            storage=given.storage,
            folds=given.folds,
        )
    )
    if given.wandb:
        return _with_wandb(sweep, given)
    if given.dry_run:
        return _dry_run(sweep, given.trials)
    best = sweep.run(
        workers=given.workers,
        gpus_per_trial=given.gpus_per_trial,
        trials=given.trials,
        say=lambda line: print(line, flush=True),
    )
    folder = sweep.folder
    if best is None:
        print("\nno trial is finished yet, and none is left to begin")
        return 0
    print(f"\nbest: {best.label}, {result(sweep.definition, best)}")
    assert folder is not None
    print(f"report: {folder}/report.html\n\nnext:\n  {fit_command(folder)}")
    return 0


def _check(given: argparse.Namespace) -> None:
    """Refuses arguments that cannot be, or that nothing would use."""
    if bool(given.file) == bool(given.resume):
        raise ConfigError("Give one of a sweep file and --resume DIR. See `roots sweep --help`.")
    for flag, value in (("--folds", given.folds), ("--sweeps-dir", given.sweeps_dir)):
        if given.resume and value is not None:
            raise ConfigError(
                f"{flag} {value} is that of a new sweep. Leave it out, or give the sweep file."
            )
    if given.resume and given.dry_run:
        raise ConfigError(
            "--dry-run shows how a sweep begins, and that of --resume has begun. Give the sweep"
            f" file, or look at what was found: roots sweep report {given.resume}"
        )
    if given.wandb and (given.resume or given.storage or given.sweeps_dir):
        raise ConfigError(
            "--wandb keeps its trials with W&B: leave out --resume, --storage and --sweeps-dir. An"
            " agent joins a registered sweep by `wandb agent ENTITY/PROJECT/ID`."
        )
    check_places(given.workers, given.gpus_per_trial)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roots sweep",
        description="Tries settings and tells which are best.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.error = refusing("roots sweep")  # type: ignore[method-assign,assignment]
    parser.add_argument("file", nargs="?", metavar="FILE", help="sweep file")
    parser.add_argument("--resume", metavar="DIR", help="go on with the sweep in this directory")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="trials at once")
    parser.add_argument(
        "--gpus-per-trial", type=int, default=0, metavar="K", help="GPUs of each; 0: all see all"
    )
    parser.add_argument(
        "--trials", type=int, default=0, metavar="N", help="trials in all, instead of run_cap"
    )
    parser.add_argument(
        "--folds", type=int, metavar="K", help="folds of a cross-validation, instead of the file's"
    )
    _add_places(parser)
    parser.add_argument(
        "--wandb", action="store_true", help="let W&B choose the trials; start N agents here"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check all, show the first commands; run nothing"
    )
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--storage",
        default="",
        metavar="URL",
        help="a database (postgresql://…, mysql://…, sqlite:///FILE), or the path of a journal file"
        " on a shared disk, for several machines",
    )
    parser.add_argument("--sweeps-dir", metavar="DIR", help=f"folder of all sweeps ({SWEEPS_DIR})")


def _dry_run(sweep: Sweep, trials: int) -> int:
    sweep.check(prepare=False)
    shown = sweep.commands(3, trials)
    n_trials = sweep.n_trials(trials)
    n_runs, repeats = n_trials * len(sweep.definition.fits), sweep.definition.repeats
    runs = f", {n_runs} runs with {repeats} each" if repeats else ""
    print(f"{sweep.definition.name}: {n_trials} trials ({sweep.definition.method}){runs}\n")
    for command in shown:
        print(shlex.join(redact_values(command)))
    print("\ndry run: nothing was trained or written")
    return 0


def _with_wandb(sweep: Sweep, given: argparse.Namespace) -> int:
    """Registers the sweep with W&B, says how other machines join, and runs agents."""
    if given.trials:  # without a number W&B goes on until it is stopped
        sweep.n_trials(given.trials)
    content = wandb_file(sweep.definition, given.trials)
    sweep.check(prepare=not given.dry_run)
    if given.dry_run:
        print(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        print("dry run: nothing was registered")
        return 0
    path = register(sweep.definition, given.trials)
    print(f"sweep: {path}\n\nmore agents, here or elsewhere, in this folder:")
    print(f"  {shlex.join(agent_command(path))}\n", flush=True)
    run_agents(
        path,
        workers=given.workers,
        gpus_per_trial=given.gpus_per_trial,
        say=lambda line: print(line, flush=True),
    )
    return 0


def _report(args: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="roots sweep report", allow_abbrev=False)
    parser.error = refusing("roots sweep")  # type: ignore[method-assign,assignment]
    parser.add_argument("folder", metavar="DIR", help="the sweep's directory")
    parser.add_argument("--storage", default="", help="where its trials are, if not there")
    given = parser.parse_args(args)
    sweep = open_sweep(given.folder, storage=given.storage)
    page = sweep.report()
    print(f"best: {sweep.best.label}, {result(sweep.definition, sweep.best)}")
    print(f"report: {page}")
    return 0
