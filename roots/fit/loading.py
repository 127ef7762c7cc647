"""A trained module from the files of its run, to be asked: nothing but the folder is needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from roots.errors import CheckpointError
from roots.fit.run_files import read_run_files
from roots.modules import StepModule
from roots.modules.named_weights import beside_network, load_beside
from roots.modules.question_answering import THRESHOLD
from roots.modules.sequence_classifier import PAIRS
from roots.networks.registered import import_classes_of
from roots.records import Labels, Vocabulary, rebuild
from roots.runs import open_run
from roots.strategies.sharded_files import AVERAGE, read_file, read_whole
from roots.tokenizer import FRAMED_BY, Tokenizer


@dataclass(frozen=True)
class Remembered:
    """What a module learns of its data, from the folder of a checkpoint.

    Args:
        tokenizer: What the network reads.
        seq_len: Tokens of a row at most.
        config: The network's config.json.
        arguments: Those of the data module.
        remarks: There are none.
    """

    tokenizer: Tokenizer
    seq_len: int
    config: dict[str, Any]
    arguments: dict[str, Any]
    remarks: list[str] = field(default_factory=list)
    is_ready = True
    asks = ""  # for what its module learned
    packed_by = ""  # it was proved when the run began that documents are kept apart
    groups: Sequence[str] = ()  # nothing is validated

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens of the tokenizer."""
        return self.tokenizer.vocabulary

    @property
    def labels(self) -> Labels:
        """What a classifier tells, as its configuration says it."""
        return Labels.of(self.config)

    @property
    def pairs(self) -> bool | None:
        """Whether a classifier was trained on pairs of texts; None where it does not say."""
        said = self.config.get(PAIRS)
        return None if said is None else bool(said)

    @property
    def framed_by(self) -> dict[str, int]:
        """How questions are framed."""
        return {name: self.arguments[name] for name in FRAMED_BY if name in self.arguments}

    @property
    def some_have_no_answer(self) -> bool:
        """Whether questions may have no answer: then there is a threshold."""
        return THRESHOLD in self.config

    @property
    def prefix(self) -> str:
        """What is put before every source."""
        return str(self.arguments["prefix"])

    @property
    def max_source_tokens(self) -> int:
        """Tokens of a source at most."""
        return int(self.arguments["max_source_tokens"])

    @property
    def max_target_tokens(self) -> int:
        """Tokens of a target at most."""
        return int(self.arguments["max_target_tokens"])

    def balanced_weights(self) -> list[float]:
        """Weighs all classes alike: nothing is trained."""
        return []


def load(path: str | Path, checkpoint: str = "best", *, device: str = "cpu") -> StepModule:
    """Opens the module of a run with the weights of one of its checkpoints.

    A module of a task answers by its `predict`. That of a language model, causal or masked, has
    network and tokenizer for everything that takes them, and its loss; nothing of it is compiled:

        module = roots.load("runs/quickstart/0001")
        network, tokenizer = module.trainable.network, module.tokenizer
        roots.inference.generate(network, tokenizer, "def main(")   # of a causal one
        module.trainable(batch)                 # the summed loss of a batch, and its labels

    Args:
        path: The run's directory.
        checkpoint: `best`, `last`, or a step.
        device: Where it computes.

    Returns:
        The module in evaluation mode.

    Raises:
        CheckpointError: There is no such run or checkpoint, it is damaged, or its classes cannot
            be imported.
    """
    run = open_run(path)
    saved = run.checkpoint(checkpoint)
    folder = saved.path
    config = read_run_files([run.config_file])
    spec = config["model"]
    network = {"class_path": "roots.networks.Pretrained", "init_args": {"path": str(folder)}}
    arguments = {**spec["init_args"], "network": network}
    if "compile" in arguments:
        arguments["compile"] = "none"  # each text of another length would be compiled anew
    import_classes_of(run, folder)
    module = rebuild({**spec, "init_args": arguments}, StepModule)  # type: ignore[type-abstract]
    assert isinstance(module, StepModule)
    module.learn_of(remembered(folder, config["data"]["init_args"]))
    module.build(seed=0, device=torch.device(device))
    if beside_network(module):  # the folder to use has the network alone
        load_beside(module, _weights(saved.trainer_file, config["trainer"]), saved.trainer_file)
    return module.to(device).eval()


def _weights(file: Path, trainer: dict[str, Any]) -> dict[str, Any]:
    """Reads the weights of a checkpoint as its folder to use has them: averaged, if it does."""
    saved = read_whole(file) if file.is_dir() else read_file(file, mapped=True)
    averages = [
        callback["init_args"]
        for callback in trainer.get("callbacks") or ()
        if callback["class_path"] == "roots.callbacks.WeightAverage"
    ]
    used = any(arguments.get("use", True) for arguments in averages)
    return {**saved["state_dict"], **(saved.get(AVERAGE, {}) if used else {})}


def remembered(folder: Path, arguments: dict[str, Any]) -> Remembered:
    """Reads what a checkpoint's folder knows of the data.

    Args:
        folder: The checkpoint's.
        arguments: Those of the run's data module.

    Raises:
        CheckpointError: The folder has no configuration that can be read.
    """
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} cannot be read: {error}. Use another checkpoint of the run."
        ) from error
    return Remembered(Tokenizer.load(folder), arguments.get("seq_len", 128), told, arguments)
