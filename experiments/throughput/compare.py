"""Trains the same network on the same tokens with roots and with others, in turns.

Each contender runs in a process of its own in every round, in an order that moves on by one from
round to round. Before the first round each makes one short run, not counted, that fills its
compiler's cache. What is finished is kept: the same command goes on where it was stopped.

    python experiments/throughput/compare.py --preset cpu-small
    python experiments/throughput/compare.py --preset gpu-124m --dry-run
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import environments
import hardware
import report
from asking import Refused, check, parser, version_of
from contenders import CONTENDERS, chosen
from measuring import HERE, Launch, Measuring, say
from presets import PRESETS, Preset
from processes import Failed, commit, in_a_process


def main(arguments: list[str] | None = None, launch: Launch = in_a_process) -> int:
    """Compares.

    Returns:
        The exit code: 0; 1 when somebody failed or did other work; 2 when it cannot be made; 130
        when it was stopped.
    """
    asked = parser(str(__doc__)).parse_args(arguments)
    try:
        comparison = Comparison(asked, launch)
        if asked.dry_run:
            print(comparison.plan())
            return 0
        return comparison.run()
    except (Refused, Failed) as error:
        say(f"compare: {error}")
        return 2
    except KeyboardInterrupt:
        say(
            "\ncompare: stopped. What is finished is kept; the same command, without --fresh,"
            " goes on."
        )
        return 130


class Comparison:
    """One run of the comparison.

    Args:
        asked: The parsed arguments.
        launch: Runs a script in an environment.

    Raises:
        Refused: A name that there is not, or a number that cannot work.
    """

    def __init__(self, asked: argparse.Namespace, launch: Launch) -> None:
        check(asked)
        self.asked = asked
        self.launch = launch
        self.preset: Preset = PRESETS[asked.preset]
        if asked.precision:
            self.preset = replace(self.preset, precision=asked.precision)
        self.only = [name for name in asked.only.split(",") if name]
        self.names = chosen(self.preset.device, self.only)
        self.hardware = hardware.hardware(self.preset.device)
        self.total_steps = max(asked.warmup_steps + asked.steps, 2)
        self.text_version = version_of(asked.text)
        text = f"-{hardware.slug(asked.text)}" if asked.text else ""
        work = Path(asked.work).absolute()
        self.data = work / f"text-{self.preset.text_vocab_size}{text}"
        self.folder = work / f"{asked.preset}-{self.preset.precision}{text}"
        self.given = {
            "weights": str(self.folder / "weights"),
            "windows": str(self.folder / f"windows-{self.total_steps}.npy"),
            "shards": str(self.data / "joined"),
        }
        self.costs: dict[str, dict[str, float]] = {}
        self.measuring = Measuring(
            preset=self.preset,
            names=self.names,
            steps=asked.steps,
            warmup_steps=asked.warmup_steps,
            folder=self.folder,
            given=self.given,
            text_version=self.text_version,
            launch=launch,
        )

    def run(self) -> int:
        """Prepares, measures in turns, writes the report; gives the exit code."""
        if self.preset.device == "cuda" and not hardware.gpu_name():
            raise Refused(
                f"--preset {self.asked.preset} needs a CUDA GPU, and nvidia-smi finds none here."
                " Use --preset cpu-small, or add --dry-run to see what would be done."
            )
        warn_of_load()
        self._make_environments()
        self._prepare()
        if self.asked.fresh:
            self.measuring.forget()
        self.measuring.warm_up()
        self.measuring.in_turns(self.asked.rounds)
        return self._report()

    # -- preparing ---------------------------------------------------------------------------

    def _make_environments(self) -> None:
        for name in sorted({CONTENDERS[n].environment for n in self.names}):
            if environments.is_ready(name):
                continue
            say(f"environment {name}: installing {', '.join(environments.requirements(name))} ...")
            try:
                self.costs[name] = environments.make(name, torch_index=self.asked.torch_index)
            except environments.EnvironmentFailed as error:
                theirs = [n for n in self.names if CONTENDERS[n].environment == name]
                self.measuring.give_up(theirs, str(error))
            else:
                say(f"environment {name}: made in {environments.words(self.costs[name])}")

    def _prepare(self) -> None:
        wanted = {
            **self.given,
            "text": str(Path(self.asked.text).absolute()) if self.asked.text else "",
            "text_version": self.text_version,
            "text_vocab_size": self.preset.text_vocab_size,
            "corpus": str(self.data / "corpus"),
            "network": self.preset.network,
            "seq_len": self.preset.seq_len,
            "sequences_per_step": self.preset.sequences_per_step,
            "steps": self.total_steps,
        }
        job = self.folder / f"prepared-{self.total_steps}.json"
        if job.is_file() and json.loads(job.read_text()) == wanted:
            return
        say("preparing text, windows and weights ...")
        self.folder.mkdir(parents=True, exist_ok=True)
        asked = write(wanted, job.with_suffix(".job"))
        self.launch(HERE / "prepare.py", "here", asked, asked.with_suffix(".log"), {})
        write(wanted, job)  # now it is true

    # -- telling -----------------------------------------------------------------------------

    def plan(self) -> str:
        """Words what would be done."""
        preset, asked = self.preset, self.asked
        peers = sorted({CONTENDERS[n].environment for n in self.names} - {"here"})
        lines = [
            f"{asked.preset}: {preset.about}",
            f"  on         {self.hardware or 'a GPU, which this machine has not'}",
            f"  network    {json.dumps(preset.network)}",
            f"             {preset.n_parameters:,} parameters,"
            f" {16 * preset.n_parameters / 2**30:.2f} GiB with gradients and AdamW's state",
            f"  step       {preset.sequences_per_step} sequences of {preset.seq_len:,} ="
            f" {preset.tokens_per_step:,} tokens, in micro-batches of {preset.micro_batch_size}",
            f"  precision  {preset.precision}; fused AdamW, rate {preset.learning_rate:g}, clip 1",
            f"  text       {asked.text or 'the sources of this Python'}, {self.total_steps} steps ="
            f" {self.total_steps * preset.tokens_per_step:,} tokens",
            f"  rounds     {asked.rounds} of {asked.warmup_steps} + {asked.steps} steps, after one"
            " of 2 steps that is not counted",
            f"  writes     {self.folder}",
            f"             {self.results}.json, .md, .png",
            *(f"  makes      environment {environments.description(name)}" for name in peers),
            "contenders",
            *(f"  {name:25} {CONTENDERS[name].words}" for name in self.names),
        ]
        return "\n".join(lines)

    @property
    def results(self) -> Path:
        """The results' files, without their endings."""
        parts = [self.asked.preset, hardware.slug(self.hardware) or "gpu"]
        parts += [self.asked.precision] if self.asked.precision else []
        parts += ["own-text"] if self.asked.text else []
        parts += ["part"] if self.only else []
        return Path(self.asked.out) / "-".join(parts)

    def _report(self) -> int:
        failures = self.measuring.failures
        runs = {name: self._rounds_of(name) for name in self.names if name not in failures}
        summary = {
            **self._provenance(),
            **report.summarise(runs, cold=self._cold(), precision=self.preset.precision),
        }
        report.write(summary, self.results)
        print(f"\n{report.markdown(summary)}\n")
        say(f"written: {self.results}.json, .md, .png")
        for problem in summary["disagreements"]:
            say(f"NOT THE SAME WORK: {problem}")
        return 1 if failures or summary["disagreements"] else 0

    def _rounds_of(self, name: str) -> list[dict[str, Any]]:
        numbers = range(1, self.asked.rounds + 1)
        return [run for number in numbers if (run := self.measuring.finished(name, number))]

    def _cold(self) -> dict[str, float]:
        """Gives the seconds to the first step of runs that began without a compiler's cache."""
        found = {name: self.measuring.finished(name, 0) for name in self.names}
        return {
            name: run["first_step_seconds"] for name, run in found.items() if run and run["cold"]
        }

    def _provenance(self) -> dict[str, Any]:
        return {
            "preset": self.asked.preset,
            **asdict(self.preset),
            "parameters": self.preset.n_parameters,
            "hardware": self.hardware,
            "commit": commit(),
            "rounds": self.asked.rounds,
            "warmup_steps": self.asked.warmup_steps,
            "steps": self.asked.steps,
            "failures": self.measuring.failures,
            "environments": self.costs,
        }


def write(content: dict[str, Any], path: Path) -> Path:
    """Writes a file of JSON; gives its path."""
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def warn_of_load() -> None:
    """Tells when the machine has other work to do."""
    if hardware.load() > 0.5:
        say(
            f"other work is running here (load {hardware.load():.1f}): the times will be worth"
            " little. Wait until it is quiet, and run again with --fresh."
        )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
