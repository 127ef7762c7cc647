"""A student's blocks, compared with those of its teacher on every batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from roots.batch import PairBatch, Score, StepBatch, TaskBatch, labelled
from roots.errors import ConfigError
from roots.networks import blocks_of
from roots.objectives import unlikeness

LAYERS = ("last", "all")
PART = "hidden_loss"
"""The name that it is reported under."""


class Matching:
    """Adds to a student's loss how unlike its blocks arrange a row to its teacher's blocks.

    Hooks on both networks note what the chosen blocks put out, and one on the student's forward
    adds the comparison to its score: for each row the mean over the pairs, times the row's labels,
    so that the sum over micro-batches and ranks is that of the step.

    Args:
        student: The trainable whose score is added to.
        teacher: The teacher's network; it is asked before the student's blocks are run.
        layers: `last` compares the last blocks; `all` each block of the student with the one of the
            teacher that lies as deep.
        weight: Of the comparison beside the rest of the loss.

    Raises:
        ConfigError: The student leaves out blocks at random as it is trained.
    """

    def __init__(self, student: Any, teacher: nn.Module, *, layers: str, weight: float) -> None:
        _check_runs_all(student.network.config)
        self.weight = weight
        self._pairs: list[tuple[_Output, _Output, bool]] = []
        mine, theirs = _towers(student.network), _towers(teacher)
        for name, blocks in mine.items():
            for one, other in _as_deep(len(blocks), len(theirs[name]), layers):
                outputs = _Output(blocks[one]), _Output(theirs[name][other])
                self._pairs.append((*outputs, name == "decoder"))
        self._added = student.register_forward_hook(self._add)

    @property
    def n_pairs(self) -> int:
        """How many blocks of the student are compared."""
        return len(self._pairs)

    def leave(self) -> None:
        """Takes the hooks away."""
        self._added.remove()
        for mine, theirs, _ in self._pairs:
            mine.remove()
            theirs.remove()

    def _add(self, _module: nn.Module, given: tuple[StepBatch], score: Score) -> Score:
        (batch,) = given
        weights = labelled(batch.labels).reshape(len(batch), -1).sum(1)  # B
        each = []
        for mine, theirs, in_decoder in self._pairs:
            ours = mine.taken()  # B T D
            real = _real(batch, ours, in_decoder=in_decoder)
            each.append(unlikeness(ours, theirs.taken(), real))
        apart = (torch.stack(each).mean(0) * weights).sum()
        parts = {**score.parts, PART: apart.detach()}
        return score._replace(loss=score.loss + self.weight * apart, parts=parts)


class _Output:
    """Keeps what a block put out last.

    Args:
        block: Gives its states, or they are the first of what it gives.
    """

    def __init__(self, block: nn.Module) -> None:
        self._last: Tensor | None = None
        self._hook = block.register_forward_hook(self._note)
        self.remove = self._hook.remove

    def taken(self) -> Tensor:
        """Gives it, and lets it go."""
        assert self._last is not None
        last, self._last = self._last, None
        return last

    def _note(self, _module: nn.Module, _given: Any, output: Any) -> None:
        self._last = output[0] if isinstance(output, tuple) else output


def _check_runs_all(config: Any) -> None:
    for name in ("layerdrop", "encoder_layerdrop", "decoder_layerdrop"):
        if share := getattr(config, name, 0.0):
            raise ConfigError(
                "distiller.hidden_weight compares blocks, and this network leaves out some of them"
                f" at random ({name}={share:g}). Set network.config.{name} to 0, or"
                " distiller.hidden_weight to 0."
            )


def _towers(network: Any) -> dict[str, Sequence[nn.Module]]:
    """Gives the blocks of a network; of an encoder-decoder those of either apart."""
    blocks = blocks_of(network)
    if not network.config.is_encoder_decoder:
        return {"": blocks}
    inside = {id(module) for module in network.base_model.decoder.modules()}
    return {
        "encoder": [block for block in blocks if id(block) not in inside],
        "decoder": [block for block in blocks if id(block) in inside],
    }


def _as_deep(mine: int, theirs: int, layers: str) -> list[tuple[int, int]]:
    """Pairs blocks of two networks, counted from 0; the last ones are always a pair."""
    if layers == "last":
        return [(mine - 1, theirs - 1)]
    return [(i, -(-(i + 1) * theirs // mine) - 1) for i in range(mine)]  # rounded up


def _real(batch: StepBatch, states: Tensor, *, in_decoder: bool) -> Tensor:
    """Tells which positions of a batch are not there to fill a row up, (B, T)."""
    n_rows, width = states.shape[:2]
    if isinstance(batch, PairBatch) and in_decoder:
        return labelled(batch.labels)
    mask = batch.inputs.get("attention_mask") if isinstance(batch, TaskBatch) else None
    if mask is None:
        mask = getattr(batch, "attention_mask", None)
    if mask is not None:
        there: Tensor = mask.bool()
        return there
    documents: Tensor | None = getattr(batch, "document_ids", None)
    if documents is not None:
        return documents >= 0
    lengths: Tensor = getattr(batch, "lengths", torch.full((n_rows,), width))
    return (torch.arange(width) < lengths[:, None]).to(states.device)
