"""What a micro-batch keeps for its backward pass, found by running it without numbers.

The network, its loss, the precision's autocast and the recomputation of blocks are the run's own;
only the tensors have no content (torch's FakeTensorMode), so a network of any size takes the memory
and the time of its Python code. No formula knows the layers of an architecture; none is needed.

What is not seen: scratch memory inside kernels, what an allocator loses between pieces, and what
`compile` saves, which keeps less than is counted here. On a GPU, attention keeps what it keeps on a
CPU (its output and a number per row) where torch has a kernel of the flash kind for the shapes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

from roots.batch import StepBatch, each
from roots.errors import ConfigError
from roots.modules import PreferenceLM, Seq2Seq, TaskModule
from roots.networks import MaskedTrainable, blocks_of, recompute
from roots.networks.dropout import quicken_dropout
from roots.networks.mlm_heads import in_two
from roots.networks.tiled import TILED
from roots.objectives.chunk_rows import rows_for
from roots.plan.ledger import BACKWARD, LOSS, Ledger
from roots.plan.widest import widest_batch

CPU = torch.device("cpu")
"""Tensors without numbers must say where they lie; a torch without CUDA has no graph for others."""


@dataclass(frozen=True)
class Recomputation:
    """What blocks forget and compute again in the backward pass, as `fsdp` has it.

    Args:
        mode: `none`, `selective` or `full`.
        every_blocks: Only every so many-th block does.
    """

    mode: str = "none"
    every_blocks: int = 1


NOTHING = Recomputation()


@dataclass(frozen=True)
class Conditions:
    """Under which a micro-batch is run.

    Args:
        kind: The kind of device, which decides the chunks of the fused loss: `cuda` or `cpu`.
        precision: The precision plugin of the run.
        gathered: The format that weights are gathered in where they are cut; None leaves them.
        recomputation: What is computed again.
        gradients_there: Gradients of micro-batches before, or their buckets, lie in memory already
            and are counted elsewhere.
    """

    kind: str
    precision: Any
    gathered: torch.dtype | None = None
    recomputation: Recomputation = NOTHING
    gradients_there: bool = True


@dataclass(frozen=True)
class Passage:
    """The memory of one micro-batch's forward and backward pass, beside what is always there.

    Args:
        kept_bytes: In use when the forward pass has ended.
        at_peak: In use at the fullest moment, by part.
    """

    kept_bytes: int
    at_peak: dict[str, int]


class Unknown(ConfigError):
    """A network that cannot be run without numbers, since what it does depends on them."""


def passage(model: Any, data: Any, network: Any, rows: int, conditions: Conditions) -> Passage:
    """Runs a micro-batch without numbers.

    Args:
        model: The LightningModule, which has learned of its data.
        data: Its data.
        network: Empty, on the meta device; it is used up.
        rows: Rows of the micro-batch.
        conditions: Those of the run.

    Raises:
        Unknown: What the network does depends on numbers (routing to experts, for one).
    """
    _set_attention(network, model.builder.attention)
    beside = model.companion.empty(model) if model.companion else None
    batch = widest_batch(model, data, rows)
    mode = _Numberless(allow_non_fake_inputs=True)
    logging.getLogger(fake_tensor.__name__).setLevel(logging.CRITICAL)  # it is told below
    try:
        with mode, torch.compiler.set_stance("force_eager"), rows_for(conditions.kind):
            trainable = _trainable(model, network, conditions)
            if model.companion:
                _join(model.companion, beside, trainable, conditions)
            return _run(trainable, _on(mode, batch), conditions)
    except RuntimeError as error:  # numbers are asked for, or a kernel has no form without them
        first = str(error).strip().splitlines()[:1] or [""]
        raise Unknown(
            f"{type(network).__name__} cannot be run without numbers ({type(error).__name__}:"
            f" {first[0]})"
        ) from error


class _Numberless(FakeTensorMode):
    """Tensors without content, but for those that only the host reads: they keep theirs."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if tensors and not any(isinstance(t, FakeTensor) or t.is_meta for t in tensors):
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)


def _set_attention(network: Any, name: str) -> None:
    """Takes the attention that is set; the one that a run would choose keeps as much as sdpa."""
    if name not in ("auto", TILED) and not name.startswith("flash"):
        network.set_attn_implementation(name)


def _trainable(model: Any, network: Any, conditions: Conditions) -> Any:
    network.to_empty(device=CPU)
    network.tie_weights(recompute_mapping=False)
    trainable = model.trainable_of(network).train()
    _presume_forward(trainable)
    conditions.precision.convert_module(trainable)
    _gather(trainable, conditions.gathered)
    if isinstance(model, TaskModule | Seq2Seq | PreferenceLM) and conditions.kind == "cpu":
        quicken_dropout(network, CPU)
    how = conditions.recomputation
    recompute(blocks_of(network), how.mode, every_blocks=how.every_blocks)
    return trainable


def _gather(module: torch.nn.Module, dtype: torch.dtype | None) -> None:
    """Takes weights in the format in which they are gathered, where they are cut."""
    for parameter in module.parameters() if dtype is not None else ():
        parameter.data = parameter.data.to(dtype)


def _join(companion: Any, network: Any, trainable: Any, conditions: Conditions) -> None:
    if network is not None:
        network.to_empty(device=CPU)
        network.tie_weights(recompute_mapping=False)
        conditions.precision.convert_module(network)
        _gather(network, conditions.gathered if companion.is_cut_too else None)
    companion.join(trainable, network, _presume_forward)


OWN_FORWARD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_router_logits")
"""Keys of configurations whose logits are not those of the head: `Trainable.check` proves it on
numbers, which there are none of."""


def _presume_forward(trainable: Any) -> None:
    """Takes the forward that `check` would find right."""
    config = trainable.network.config
    if isinstance(trainable, MaskedTrainable):
        trainable.head = in_two(trainable.network)
    elif own := [key for key in OWN_FORWARD if getattr(config, key, None) not in (None, False, 1)]:
        trainable.own_forward_because = f"its configuration has {own[0]}"


def _run(trainable: Any, batch: StepBatch, conditions: Conditions) -> Passage:
    parameters = [p for p in trainable.parameters() if p.requires_grad]
    if conditions.gradients_there:
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter)
    given = [t for field in fields(batch) for t in tree_leaves(getattr(batch, field.name))]
    held = [*_tensors(trainable), *given]
    if trainable.companion is not None:
        held += _tensors(trainable.companion.trainable)
    gradients = [p.grad for p in parameters if p.grad is not None]
    ledger = Ledger(t for t in (*held, *gradients) if isinstance(t, Tensor))
    _mark_loss(trainable, ledger)
    with ledger:
        with conditions.precision.forward_context():
            score = trainable(batch)
        kept = ledger.now
        ledger.part = BACKWARD
        score.loss.backward()
    made = [] if conditions.gradients_there else [p.grad for p in parameters if p.grad is not None]
    return Passage(kept, ledger.at_peak(made))


def _tensors(module: torch.nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _mark_loss(trainable: Any, ledger: Ledger) -> None:
    """Books what is made from the projection to the vocabulary on as that of the loss."""

    def begins(*_: Any) -> None:
        ledger.part = LOSS

    if head := trainable.network.get_output_embeddings():
        head.register_forward_pre_hook(begins)
    trainable.objective = _Marked(trainable.objective, begins)


class _Marked:
    """An objective that says when it is asked."""

    def __init__(self, objective: Any, says: Any) -> None:
        self._objective, self._says = objective, says

    def __call__(self, *given: Any) -> Any:
        self._says()
        return self._objective(*given)

    def beside(self, said: Any) -> Any:
        return _Marked(self._objective.beside(said), self._says)

    def from_hidden(self, *given: Any) -> Any:
        self._says()
        return self._objective.from_hidden(*given)

    def from_logits(self, *given: Any) -> Any:
        self._says()
        return self._objective.from_logits(*given)


def _on(mode: FakeTensorMode, batch: StepBatch) -> StepBatch:
    """Takes the content out of a batch's tensors, but of those that the host reads."""
    moved = {
        field.name: each(mode.from_tensor, value)
        for field in fields(batch)
        if field.name not in batch.ON_HOST
        and isinstance(value := getattr(batch, field.name), (Tensor, dict))
    }
    return replace(batch, **moved)
