"""Every rank holds a share of each weight, and the whole of a block only while it computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.optim import Optimizer

from roots.errors import ConfigError
from roots.networks import Give, Trainable, blocks_of, check_recompute, recompute
from roots.optim import OptimizerBuilder
from roots.precision import BF16Mixed, BF16True, Float32
from roots.strategies.filling import Placing, load_optimizer, load_weights, targets_of
from roots.strategies.launching import FromNotebooks
from roots.strategies.protocol import StepStrategy
from roots.strategies.sharded_files import (
    read_file,
    read_plain,
    read_shards,
    sizes,
    with_shards,
    write_shards,
)
from roots.strategies.shards import gathered, sharded_norm

POLICIES: dict[type[Precision], MixedPrecisionPolicy] = {
    Float32: MixedPrecisionPolicy(),
    BF16Mixed: MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32),
    BF16True: MixedPrecisionPolicy(reduce_dtype=torch.float32),
}
"""What is gathered and what is summed, by precision: weights travel in bfloat16 where products are
made in it, gradients are summed over micro-batches and ranks in float32."""


class FSDP(FromNotebooks, ModelParallelStrategy, StepStrategy):
    """Fully sharded data parallel: weights, gradients and optimizer state are cut over the ranks.

    torch's FSDP2. Each block of the network is gathered for its forward and its backward pass, and
    its gradients are summed and cut again; embeddings, head and what else lies outside the blocks
    are one further group. The network never exists whole: it is cut before it has weights, and each
    rank keeps its part of what one device would have drawn or loaded.

    Args:
        replicas: Copies of the network, each cut over its share of the ranks: gradients are summed
            within a copy and then between the copies (HSDP). 1 cuts it over all ranks, the least
            memory; 0 keeps a copy on each machine, where links between machines are slow.
        reshard_after_forward: Free a block after its forward pass and gather it again for the
            backward pass: less memory, half as much again to send.
        reduce_every_micro_batch: Sum gradients over the ranks after every micro-batch, not only
            after the last: each rank then keeps its part of the gradients instead of all of them,
            for more to send.
        activation_checkpointing: What blocks forget and compute again in the backward pass: `none`;
            `full`, all but their input; `selective`, all but matrix products and attention.
        checkpoint_every_blocks: Only every so many-th block does.
        sharded_checkpoints: Let each rank write its part of weights and optimizer state, instead of
            gathering them on the first; any strategy on any number of devices goes on from either.
            The weights to use (model.safetensors) are gathered in any case.
        timeout_minutes: How long a rank waits for the others before the run fails.

    Raises:
        ConfigError: There is no such activation checkpointing.
    """

    builds_whole = False

    def __init__(
        self,
        *,
        replicas: int = 1,
        reshard_after_forward: bool = True,
        reduce_every_micro_batch: bool = False,
        activation_checkpointing: str = "none",
        checkpoint_every_blocks: int = 1,
        sharded_checkpoints: bool = False,
        timeout_minutes: float = 30.0,
    ) -> None:
        check_recompute(activation_checkpointing, checkpoint_every_blocks)
        self.replicas = replicas
        self.reshard_after_forward = reshard_after_forward
        self.reduce_every_micro_batch = reduce_every_micro_batch
        self.activation_checkpointing = activation_checkpointing
        self.checkpoint_every_blocks = checkpoint_every_blocks
        self.sharded_checkpoints = sharded_checkpoints
        self.timeout_minutes = timeout_minutes
        self._root: FSDPModule | None = None
        self._sums = True  # whether the next backward pass sums over the ranks
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            timeout=timedelta(minutes=timeout_minutes),
        )

    # -- what works together -------------------------------------------------------------------

    def check(self, *, optimizer: OptimizerBuilder, precision: Precision, compiled: str) -> None:
        """Raises ConfigError for what cannot be sharded, with what can."""
        self._check_replicas()
        if type(precision) not in POLICIES:
            raise ConfigError(
                f"precision={precision.precision} is not tested with sharded weights. Set"
                " trainer.precision to bf16-mixed, bf16-true or 32, or trainer.strategy to ddp."
            )
        if compiled == "network":
            raise ConfigError(
                "compile=network makes one graph of all blocks, and sharded weights are gathered"
                " block by block. Set model.compile to blocks, or trainer.strategy to ddp."
            )
        if not optimizer.works_sharded:
            raise ConfigError(
                f"{type(optimizer).__name__} does not work on sharded weights. Set model.optimizer"
                " to roots.optim.AdamW (its state is sharded too), or trainer.strategy to ddp."
            )

    def _check_replicas(self) -> None:
        n_ranks, n_replicas = int(self.world_size), self._n_replicas
        if self.replicas < 0 or n_ranks % n_replicas:
            fitting = [n for n in range(1, n_ranks + 1) if n_ranks % n == 0]
            raise ConfigError(
                f"replicas={self.replicas} copies of the network cannot share {n_ranks} ranks"
                f" evenly. Set it to one of {', '.join(map(str, fitting))}; or to 0, one for each"
                " machine."
            )

    # -- building ------------------------------------------------------------------------------

    def _setup_distributed(self) -> None:
        super()._setup_distributed()
        self._data_parallel_size = self.world_size  # now that it is known

    @cached_property
    def mesh(self) -> DeviceMesh:
        """The ranks that weights are cut over; with several copies, an axis of copies before it."""
        if self._n_replicas == 1:
            return self.device_mesh["data_parallel"]
        shape = (self._n_replicas, self.world_size // self._n_replicas)
        kind = self.root_device.type
        return init_device_mesh(kind, shape, mesh_dim_names=("replica", "shard"))

    @property
    def _n_replicas(self) -> int:
        return self.replicas or self.num_nodes

    def shard(self, trainable: Trainable, fill: Callable[[Give], None]) -> None:
        """Cuts the blocks and then the rest, makes room for the parts, and fills them."""
        network = trainable.network
        self.precision_plugin.convert_module(trainable)
        recompute(
            blocks_of(network),
            self.activation_checkpointing,
            every_blocks=self.checkpoint_every_blocks,
        )
        policy = POLICIES[type(self.precision_plugin)]
        again = self.reshard_after_forward
        for block in reversed(separable(network)):  # blocks within blocks come first
            fully_shard(block, mesh=self.mesh, mp_policy=policy, reshard_after_forward=again)
        fully_shard(trainable, mesh=self.mesh, mp_policy=policy)
        register_fsdp_forward_method(trainable, "within")
        trainable.to_empty(device=self.root_device)
        network.tie_weights()
        placing = Placing(network)
        fill(placing)
        assert not placing.missing(), placing.missing()
        assert isinstance(trainable, FSDPModule)
        self._root = trainable

    def setup_optimizers(self, trainer: L.Trainer) -> None:
        """Builds the optimizer over the parts."""
        self.reshard()
        super().setup_optimizers(trainer)

    def reshard(self) -> None:
        """Makes the parameters outside the blocks parts again; they stay whole after a forward."""
        if self._root is not None:
            self._root.reshard()

    # -- the step ------------------------------------------------------------------------------

    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:
        """Sums gradients over the ranks on the last micro-batch, or on each."""
        assert self._root is not None
        sums = last or self.reduce_every_micro_batch
        if sums != self._sums:
            self._root.set_requires_gradient_sync(sums)
            self._sums = sums
        return nullcontext()

    def reduce(self, tensor: Any, group: Any | None = None, reduce_op: Any | None = "mean") -> Any:
        """Reduces over the ranks; a sum is queued on the device, and the host goes on."""
        if reduce_op != "sum" or not isinstance(tensor, Tensor):
            return super().reduce(tensor, group, reduce_op)
        torch.distributed.all_reduce(tensor, group=group)
        return tensor

    def grad_norm(self, parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
        """Gives the Euclidean norm of all gradients together, over all parts."""
        return sharded_norm(parameters)

    # -- checkpoints ---------------------------------------------------------------------------

    def gather_weights(self, network: nn.Module) -> dict[str, Tensor] | None:
        """Gathers the network on the first rank, one tensor after the other."""
        self.reshard()
        weights: dict[str, Tensor] = gathered(
            network.state_dict(keep_vars=True), keep=self.is_global_zero
        )
        return weights if self.is_global_zero else {}

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Gathers the module's weights on the first rank, or gives each rank's parts."""
        assert self.lightning_module is not None
        if not self.sharded_checkpoints:
            return self.gather_weights(self.lightning_module) or {}
        self.reshard()
        return dict(self.lightning_module.state_dict(keep_vars=True))

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Gathers the optimizer's state on the first rank, or gives each rank's parts."""
        inner = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        state: dict[str, Any] = inner.state_dict()
        if self.sharded_checkpoints:
            return state
        state = gathered(state, keep=self.is_global_zero)
        return state if self.is_global_zero else {}

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None
    ) -> None:
        """Writes a file on the first rank, or a folder to which each rank adds its parts."""
        if self.sharded_checkpoints:
            write_shards(checkpoint, Path(filepath), first=self.is_global_zero)
        else:
            super().save_checkpoint(checkpoint, filepath, storage_options)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Optimizers are given their state as with every strategy, by `load_optimizer_state_dict`.

        Lightning's own would do it with torch's functions, which know no optimizer of optimizers.
        """
        return True

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> Any:  # noqa: ARG002
        """Reads a checkpoint that any strategy wrote: each rank its parts of it."""
        path = Path(checkpoint_path)
        if not path.is_dir():
            return read_file(path, mapped=True)
        assert self.lightning_module is not None
        self.reshard()
        plain = read_plain(path)
        targets = targets_of(plain, sizes(path), self.lightning_module, self.optimizers)
        read_shards(path, targets)
        return with_shards(plain, targets)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:  # noqa: ARG002
        """Gives each rank its part of the weights."""
        assert self.lightning_module is not None
        self.reshard()
        load_weights(self.lightning_module, checkpoint["state_dict"])

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Gives each rank its part of the optimizers' states."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            load_optimizer(optimizer, state)


def separable(network: Any) -> list[nn.Module]:
    """Gives the blocks that share no weight with what is outside of them."""
    blocks = blocks_of(network)
    uses: dict[int, int] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    return [block for block in blocks if _keeps_to_itself(block, uses)]


def _keeps_to_itself(block: nn.Module, uses: dict[int, int]) -> bool:
    own: dict[int, int] = {}
    for module in block.modules():
        for parameter in module.parameters(recurse=False):
            own[id(parameter)] = own.get(id(parameter), 0) + 1
    return all(uses[key] == count for key, count in own.items())
