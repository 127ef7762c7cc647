"""The LightningCLI of roots: run files that extend each other, then flags, then objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from enum import Enum
from functools import partial
from typing import Any

import yaml
from jsonargparse import ArgumentError, Namespace, set_dumper
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from roots.data import StepData
from roots.errors import ConfigError, nearest
from roots.fit.choosing import choose_strategy
from roots.fit.run_files import PARTS, with_usual, with_whole_parts
from roots.fit.trainer import Trainer
from roots.fit.trainer_settings import REFUSED
from roots.modules import StepModule
from roots.modules.building import check_together


class _Plain(yaml.SafeDumper):
    """Writes a default that is an Enum as its value, where no type says what it is."""


_Plain.add_multi_representer(Enum, lambda dumper, value: dumper.represent_data(value.value))
set_dumper(
    "yaml",
    partial(
        yaml.dump, Dumper=_Plain, default_flow_style=False, allow_unicode=True, sort_keys=False
    ),
)

DESCRIPTION = "Trains, validates, tests and predicts with a trainer, a model and data."


class CommandLine(LightningCLI):
    """Parses a merged configuration and flags, and makes trainer, model and data of them.

    Args:
        config: The merged run files.
        flags: Command-line flags, which win over the files.
    """

    def __init__(self, config: dict[str, Any], flags: Sequence[str] = ()) -> None:
        self.given = with_usual(with_whole_parts(config, where="The configuration"), flags)
        super().__init__(
            StepModule,
            StepData,
            trainer_class=Trainer,
            save_config_callback=None,
            parser_kwargs={
                "exit_on_error": False,
                "default_env": False,
                "allow_abbrev": False,
                "prog": "roots fit",
                "description": DESCRIPTION,
            },
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=list(flags),
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    model: StepModule
    datamodule: Any
    trainer: Trainer

    @property
    def resolved(self) -> dict[str, Any]:
        """The whole configuration, defaults included, as plain values."""
        text = self.parser.dump(self.config, skip_unset=False)
        resolved: dict[str, Any] = yaml.safe_load(text)
        resolved.pop("config", None)
        return resolved

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what belongs to the run as a whole."""
        parser.add_argument(
            "--name",
            type=str,
            default="run",
            help="Names the directory of a new run; one that is resumed keeps its own.",
        )
        parser.add_argument(
            "--seed",
            type=int,
            default=1,
            help="Decides weights, order and dropout; the same seed gives the same run.",
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Hands name and seed to the trainer."""
        parser.link_arguments("name", "trainer.name")
        parser.link_arguments("seed", "trainer.seed")
        _take_paths_as_they_are(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the files' text, then the flags."""
        _refuse_lightnings_own(self.given, args)
        _refuse_other_files(self.given)
        for part in PARTS:
            _refuse_misplaced(self.given.get(part), part)
        files = ["--config", yaml.safe_dump(self.given, sort_keys=False)] if self.given else []
        try:
            self.config: Namespace = parser.parse_args([*files, *_usual(self.given, args), *args])
        except ArgumentError as error:
            known = [name for action in parser._actions for name in action.option_strings]
            raise ConfigError(readable(str(error), known)) from error

    def _set_seed(self) -> None:
        """Does nothing: randomness is an argument of what needs it."""

    def instantiate_classes(self) -> None:
        """Makes the objects; a mistake in one of them is told as it is."""
        try:
            self.config_init = self.parser.instantiate(self.config)
            self.datamodule = self.config_init["data"]
            self.model = self.config_init["model"]
            trainer = self.instantiate_trainer(**self._chosen())
        except (ArgumentError, ValueError, TypeError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, ConfigError):
                raise cause from None
            if told := refusal_of_a_class(str(error)):
                raise ConfigError(told) from error
            raise
        assert isinstance(trainer, Trainer)
        self.trainer = trainer
        check_together(self.model, trainer)
        trainer.set_spec(self.resolved)

    def _chosen(self) -> dict[str, Any]:
        """Gives the strategy that the plan chose for `auto`."""
        strategy = choose_strategy(self.config_init["trainer"], self.model, self.datamodule)
        return {"strategy": strategy} if strategy else {}


def _take_paths_as_they_are(parser: LightningArgumentParser) -> None:
    """Keeps the path of a data file from becoming the file's content.

    Where an argument may be a class, jsonargparse takes the name of a file that is there for one
    with the class's configuration, and reads it: a table's path as well.
    """
    for action in parser._actions:
        if getattr(action, "sub_add_kwargs", None):
            action.sub_add_kwargs["sub_configs"] = False


def _usual(given: dict[str, Any], flags: Sequence[str]) -> list[str]:
    """Names the usual class where help is asked of what is inside one, and none is named."""
    found = []
    for part, usual in (("model", "roots.modules.CausalLM"), ("data", "roots.data.TokenCorpus")):
        asks = any(re.match(rf"--{part}\.[\w.]+\.help(=|$)", flag) for flag in flags)
        if asks and part not in given and not any(re.match(f"--{part}(=|$)", f) for f in flags):
            found.append(f"--{part}={usual}")
    return found


KEYS = ("name", "seed", *PARTS)
"""What a run file has at its left edge."""


def _refuse_other_files(config: dict[str, Any]) -> None:
    """Refuses keys that no run has, as the files of a corpus and of a sweep have them."""
    for key in config:
        if str(key).partition(".")[0] not in KEYS:
            raise ConfigError(
                f"{key!r} is no key of a run file{nearest(str(key), KEYS)}, which has"
                f" {', '.join(KEYS)}. Correct it; a file of configs/corpus is for `roots corpus`,"
                " and one of configs/sweep for `roots sweep`."
            )


def _refuse_lightnings_own(config: dict[str, Any], flags: Sequence[str]) -> None:
    in_files = config.get("trainer", {})
    for name, instead in REFUSED.items():
        flagged = any(re.match(rf"--(trainer\.)?{name}(=|$)", flag) for flag in flags)
        if name in in_files or flagged:
            raise ConfigError(f"trainer.{name} is not used: {instead}.")


NOISE = (
    "Given value",
    "Subtypes:",
    "Errors:",
    "Does not validate",
    "Expected a <class 'NoneType'>",
)
"""How the lines of a parser's message begin that say nothing of the mistake."""


def readable(message: str, flags: Sequence[str] = ()) -> str:
    """Shortens a parser's message to where the mistake is and what it is.

    Args:
        message: What jsonargparse says.
        flags: The flags that there are, to find the one that was meant.
    """
    text = _without_noise(message).rstrip(".")
    if missing := re.match(r"the following arguments are required: (.+)", text):
        return (
            f"The configuration lacks {missing[1]}. Give a run file that has it (--config"
            " configs/run/quickstart.yaml), or set it by flags."
        )
    if alone := re.match(r"unrecognized arguments: ([^- ]\S*)", text):
        text = (
            f"{alone[1]} belongs to no flag. A run file is named by --config FILE, and a run by"
            " --resume RUN (to train on) or --run RUN (to measure)"
        )
    if unknown := re.match(r"unrecognized arguments: (--[^ =]+)", text):
        text = f"There is no {unknown[1]}{_meant(unknown[1], flags)}"
    text = re.sub(r'Parser key "([^"]+)":', r"\1:", text)
    text = re.sub(r"Problem with given class_path '([^']+)':", r"\1:", text)
    text = re.sub(r"<class '([^']+)'>", r"\1", text)
    text = re.sub(r"Import path (\S+) does not correspond to a subclass of", r"\1 is no", text)
    if other := re.search(r"(\S+) is no OptimizerBuilder$", text):
        text = (
            f"{text}, but every optimizer of torch's form is run by one: set class_path to"
            f" roots.optim.TorchOptimizer and init_args.name to {other[1]}"
        )
    return (
        f"{text}. Run `roots fit --help`, or `roots fit --model.help CLASS`, for the names, and"
        " add --print_config to see what was read."
    )


def _meant(flag: str, flags: Sequence[str]) -> str:
    """Words the flag that was meant: all of one part look alike, so their last words are asked."""
    words = {known: known.rpartition(".")[2].lstrip("-") for known in flags}
    word = flag.rpartition(".")[2].lstrip("-")
    close = get_close_matches(word, sorted({*words.values()}), n=1)
    found = sorted(known for known in words if words[known] in close)
    return nearest(flag, found) or (f" (did you mean {found[0]!r}?)" if found else "")


def refusal_of_a_class(message: str) -> str:
    """Gives what a class said when it refused its arguments, where a name would do as well.

    jsonargparse tries the name, then the class, and tells of both failures in one text.

    Args:
        message: What jsonargparse says; an empty string is given for any other.
    """
    if not message.startswith("Does not validate against any of the Union subtypes"):
        return ""
    return _without_noise(message).replace("Expected a <class 'str'>", "").strip()


def _without_noise(message: str) -> str:
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(NOISE))


def _refuse_misplaced(config: Any, where: str) -> None:
    """Refuses arguments of a class that stand beside its `class_path`."""
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        if "class_path" in config and key not in ("class_path", "init_args", "dict_kwargs"):
            raise ConfigError(
                f"{where}.{key} stands beside class_path, where it says nothing. Move it to"
                f" {where}.init_args.{key}."
            )
        _refuse_misplaced(value, f"{where}.{key}")
