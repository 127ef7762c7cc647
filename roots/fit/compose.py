"""The same run in a notebook or test as on the command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from roots.callbacks.stop_signals import Interrupted, how_to_go_on
from roots.errors import CheckpointError, ConfigError
from roots.fit.apart import fit_apart, needs_processes, settings_of
from roots.fit.command_line import CommandLine
from roots.fit.run_files import merge, read_run_files
from roots.fit.trainer import Trainer
from roots.fit.unchanged import (
    differences,
    other_rows_validated_on,
    refuse_hidden,
    refuse_other_companion,
    refuse_other_network,
    refuse_other_shapes,
    refuse_replaced_data,
)
from roots.inference import generate
from roots.modules import StepModule
from roots.records import expanded, plain
from roots.runs import TRAINER_FILE, Run, newest, open_run, redact_values


@dataclass
class Composed:
    """A run that is ready to start.

    Args:
        config: The resolved configuration, as plain values; what a run chooses itself (precision,
            attention) is in it once it was chosen.
        trainer: The trainer.
        model: The LightningModule.
        data: The LightningDataModule.
        checkpoint: The checkpoint to go on from; None starts anew.
    """

    config: dict[str, Any]
    trainer: Trainer
    model: StepModule
    data: Any
    checkpoint: Path | None = None
    as_made: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if needs_processes(self.trainer):  # they learn of no later change
            self.as_made = settings_of(self)

    def fit(self) -> Run:
        """Trains, once; gives the run's directory. `roots.resume` goes on with it.

        A fit that is interrupted leaves the module with its weights, ready to be used. In a
        notebook, several devices are trained on in processes of their own, and `model` then has the
        weights of their last checkpoint.

        Raises:
            Interrupted: It was asked to stop, by Ctrl-C or a notebook's stop button: after the step
                and with a checkpoint; asked twice, at once and without one.
            ConfigError: It was trained already.
        """
        if needs_processes(self.trainer):
            return fit_apart(self)
        try:
            self.trainer.fit(
                self.model,
                datamodule=self.data,
                ckpt_path=str(self.checkpoint) if self.checkpoint else None,
                weights_only=True,
            )
        except SystemExit as ended:  # what Lightning makes of a KeyboardInterrupt
            if not isinstance(ended.__context__, KeyboardInterrupt):
                raise
            raise Interrupted(self._stopped_at_once()) from ended.__context__
        assert self.trainer.run is not None
        return self.trainer.run

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int = 200,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 0.95,
        seed: int = 1,
    ) -> str:
        """Continues a text with the network as it is now; of a fit that was interrupted too.

        Args:
            prompt: The beginning.
            max_tokens: Tokens to write at most.
            temperature: Sharpness of the choice; 0 takes the likeliest token.
            top_k: Choose among so many likeliest tokens; 0 is off.
            top_p: Choose among the likeliest tokens that hold this share of the probability.
            seed: The same seed gives the same text.

        Returns:
            The continuation, without the prompt.

        Raises:
            ConfigError: There is no network yet, or it does not write texts from left to right.
        """
        if self.model.trainable is None:
            raise ConfigError("The run has no network yet. Call its fit().")
        if not self.model.causal:
            raise ConfigError(
                f"{type(self.model).__name__} does not continue texts. Train a"
                " roots.modules.CausalLM, or ask this one by evaluate('predict')."
            )
        write = partial(
            generate,
            self.model.trainable.network,
            self.data.tokenizer,
            prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
        text: str = self.model.trainable.within(write)
        return text

    def _stopped_at_once(self) -> str:
        run = self.trainer.run
        steps = [c.step for c in run.checkpoints()] if run else []
        words = f"Stopped at once, in the step after {self.trainer.global_step:,}"
        if run is None or not steps:
            return f"{words}. There is no checkpoint to go on from: compose it anew."
        newest_one = f"the newest checkpoint, step {max(steps):,}"
        return f"{words}. Go on from {newest_one}, with: {how_to_go_on(run)}"

    def evaluate(self, verb: str) -> Any:
        """Runs Lightning's `validate`, `test` or `predict` on the checkpoint's weights."""
        return getattr(self.trainer, verb)(
            self.model,
            datamodule=self.data,
            ckpt_path=str(self.checkpoint) if self.checkpoint else None,
            weights_only=True,
        )


def compose(
    run_files: str | Path | Sequence[str | Path] | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
) -> Composed:
    """Puts a run together from run files, or from what they would say, and dotted overrides.

    Args:
        run_files: One file, several (later ones win), or a dictionary in their form.
        overrides: Dotted names and values, `{"trainer.max_steps": 100}`; they win over the files.

    Raises:
        ConfigError: What is said cannot be run.
    """
    if isinstance(run_files, Mapping):
        config = plain(run_files)
    elif isinstance(run_files, (str, Path)):
        config = read_run_files([run_files])
    else:
        config = read_run_files(run_files)
    return put_together(config, _flags(overrides))


def resume(run: str | Path, overrides: Mapping[str, Any] | None = None) -> Composed:
    """Puts together a run that goes on from its newest checkpoint, as `roots fit --resume` does.

    Says what is changed in it, and which damaged checkpoint was passed over.

    Args:
        run: The run's directory.
        overrides: Dotted names and values, `{"trainer.max_steps": 200}`; they win over its own.

    Raises:
        CheckpointError: There is no such run or checkpoint, or a changed setting changes shapes.
        ConfigError: What is said cannot be run.
    """
    composed, changes = resumed(expanded(str(run)), {}, _flags(overrides))
    for change in changes:
        sys.stderr.write(f"changed at resume: {change}\n")
    for folder, wrong in composed.trainer.passed_over.items():
        sys.stderr.write(f"passed over: {folder}: {wrong}\n")
    return composed


def put_together(config: dict[str, Any], flags: Sequence[str]) -> Composed:
    """Parses a merged configuration with flags, and makes the objects."""
    parsed = CommandLine(config, flags)
    parsed.datamodule.take_tokenizer_of(parsed.model.builder)
    return Composed(parsed.trainer.spec, parsed.trainer, parsed.model, parsed.datamodule)


def resumed(which: str, config: dict[str, Any], flags: Sequence[str]) -> tuple[Composed, list[str]]:
    """Puts together a run that goes on where it stopped.

    The run's own configuration comes first, then the run files given beside it, then the flags.

    Args:
        which: A run's directory, or `auto` for the newest run of the configured name.
        config: The merged run files that were given; may be empty.
        flags: Command-line flags.

    Returns:
        The run, and what differs from before: each setting as `name: old → new`, and the rows that
        are validated on.

    Raises:
        CheckpointError: There is no such run or checkpoint, or a changed setting changes shapes.
    """
    if which == "auto":
        named = CommandLine(config, flags).trainer
        run = newest(named.runs_dir, named.name)
    else:
        run = open_run(which)
    before = read_run_files([run.config_file])
    refuse_hidden(run, merge(before, config), flags)
    composed = put_together(merge(before, config), flags)
    changes = differences(redact_values(before), redact_values(composed.config))
    refuse_other_shapes(changes)
    refuse_replaced_data(run, composed.data)
    composed.checkpoint = composed.trainer.resume(run)
    refuse_other_network(composed.checkpoint.parent, composed.model.builder, changes)
    refuse_other_companion(run, composed.model)
    composed.trainer.settle(composed.data)
    composed.__post_init__()  # what was settled is no change
    if composed.data.is_ready:
        step = composed.trainer.resumed_from
        changes += other_rows_validated_on(run, step, composed.data, changes)
        composed.model.schedule.check(composed.trainer.max_steps)
    return composed, changes


def from_run(path: str, which: str, flags: Sequence[str]) -> Composed:
    """Puts together a run's configuration and the weights of one of its checkpoints.

    Raises:
        CheckpointError: There is no such run or checkpoint, or its file is damaged, or a corpus
            would be made in place of another.
    """
    run = open_run(path)
    composed = put_together(read_run_files([run.config_file]), flags)
    refuse_replaced_data(run, composed.data)
    checkpoint = run.checkpoint(which)
    if wrong := checkpoint.damage(TRAINER_FILE):
        steps = ", ".join(str(c.step) for c in run.checkpoints() if c.step != checkpoint.step)
        raise CheckpointError(
            f"{checkpoint.path} is damaged: {wrong}. Take another with --checkpoint: the run has"
            f" those of the steps {steps or '(none)'}."
        )
    composed.checkpoint = checkpoint.trainer_file
    return composed


def _flags(overrides: Mapping[str, Any] | None) -> list[str]:
    return [f"--{name}={_flag(value)}" for name, value in (overrides or {}).items()]


def _flag(value: Any) -> str:
    if isinstance(value, (str, Path)):
        return str(value)
    text = yaml.safe_dump(plain(value), default_flow_style=True, width=sys.maxsize)
    return text.removesuffix("...\n").strip()
