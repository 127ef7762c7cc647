"""Every rank holds a share of each weight, and the whole of a block only while it computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property, partial
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
    CPUOffloadPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.optim import Optimizer
from transformers import PreTrainedModel

from roots.networks import Give, Root, blocks_of, check_recompute, recompute, separable
from roots.optim import OptimizerBuilder
from roots.strategies import filling
from roots.strategies.launching import FromNotebooks
from roots.strategies.protocol import Copied, StepStrategy, Write, as_is
from roots.strategies.shardable import (
    POLICIES,
    RANKS_OF_PLAN,
    check_axes,
    check_offload,
    check_run,
    check_shared_layers,
)
from roots.strategies.sharded_files import (
    read_file,
    read_plain,
    read_shards,
    sizes,
    with_shards,
    write_shards,
)
from roots.strategies.shards import gathered, sharded_norm
from roots.strategies.tensor_parallel import TENSOR, agree, check_layers, cut_layers


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
        tensor_parallel: How many ranks share the layers of a network, each of them its heads and
            columns, and read the same rows: for layers that one device cannot compute, over links
            as fast as those within a machine. For the families for which transformers says how;
            embeddings and head are whole on each rank while they compute. 1 cuts no layer.
        reshard_after_forward: Free a block after its forward pass and gather it again for the
            backward pass: less memory, half as much again to send.
        reduce_every_micro_batch: Sum gradients over the ranks after every micro-batch, not only
            after the last: each rank then keeps its part of the gradients instead of all of them,
            for more to send.
        cpu_offload: Keep weights, gradients and optimizer state in the host's memory and make the
            optimizer's step there: of the network, a GPU then holds the block that it computes.
            Every forward and backward pass brings the weights anew, over the slowest link there is.
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
        tensor_parallel: int = 1,
        reshard_after_forward: bool = True,
        reduce_every_micro_batch: bool = False,
        cpu_offload: bool = False,
        activation_checkpointing: str = "none",
        checkpoint_every_blocks: int = 1,
        sharded_checkpoints: bool = False,
        timeout_minutes: float = 30.0,
    ) -> None:
        check_recompute(activation_checkpointing, checkpoint_every_blocks)
        self.replicas = replicas
        self.tensor_parallel = self.ranks_per_share = tensor_parallel
        self.reshard_after_forward = reshard_after_forward
        self.reduce_every_micro_batch = reduce_every_micro_batch
        self.cpu_offload = cpu_offload
        self.activation_checkpointing = activation_checkpointing
        self.checkpoint_every_blocks = checkpoint_every_blocks
        self.sharded_checkpoints = sharded_checkpoints
        self.timeout_minutes = timeout_minutes
        self._root: Any = None  # an FSDPModule
        self._sums = True  # whether the next backward pass sums over the ranks
        self._partial: list[nn.Module] = []  # whole, with a part of their gradient on each rank
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            timeout=timedelta(minutes=timeout_minutes),
        )

    # -- what works together -------------------------------------------------------------------

    def check(self, *, optimizer: OptimizerBuilder, precision: Precision, compiled: str) -> None:
        """Raises ConfigError for what cannot be sharded, with what can."""
        if self.cluster_environment is not None:  # of a run
            n_ranks, nodes = RANKS_OF_PLAN.get() or (int(self.world_size), self.num_nodes)
            check_axes(n_ranks, self.replicas, self.replicas or nodes, self.tensor_parallel)
        if self.cpu_offload:
            check_offload(self.parallel_devices)
        check_run(optimizer, precision, compiled)
        if self.tensor_parallel > 1:
            check_shared_layers(precision, compiled, self.activation_checkpointing)

    def check_network(self, network: PreTrainedModel) -> None:
        """Raises ConfigError when the layers of such a network cannot be cut."""
        check_layers(network, self.tensor_parallel)

    # -- building ------------------------------------------------------------------------------

    def _setup_distributed(self) -> None:
        if self.cpu_offload and self.root_device.type == "cuda":
            self._process_group_backend = "cpu:gloo,cuda:nccl"  # what lies on the host is sent too
        super()._setup_distributed()
        self._data_parallel_size = self.world_size  # now that it is known

    @cached_property
    def mesh(self) -> DeviceMesh:
        """The ranks: copies of the network, shards of a copy, ranks that share layers."""
        shards = self.world_size // self._n_replicas // self.tensor_parallel
        sizes = {"replica": self._n_replicas, "shard": shards, TENSOR: self.tensor_parallel}
        axes = {name: size for name, size in sizes.items() if size > 1 or name == "shard"}
        kind = self.root_device.type
        return init_device_mesh(kind, tuple(axes.values()), mesh_dim_names=tuple(axes))

    @property
    def _n_replicas(self) -> int:
        return self.replicas or self.num_nodes

    def shard(self, trainable: Root, fill: Callable[[Give], None], *, beside: bool = False) -> None:
        """Cuts the blocks and then the rest, makes room for the parts, and fills them."""
        network, mesh = trainable.network, self.mesh
        self.precision_plugin.convert_module(trainable)
        if self.tensor_parallel > 1:
            self._partial = cut_layers(network, mesh[TENSOR])
            names = tuple(name for name in mesh.mesh_dim_names or () if name != TENSOR)
            mesh = mesh[names]
        mode, every = self.activation_checkpointing, self.checkpoint_every_blocks
        recompute(blocks_of(network), mode, every_blocks=every)
        on_gpu = self.root_device.type == "cuda"
        offload = CPUOffloadPolicy(pin_memory=on_gpu) if self.cpu_offload else OffloadPolicy()
        policy = POLICIES[type(self.precision_plugin)]
        how: dict[str, Any] = {"mesh": mesh, "mp_policy": policy, "offload_policy": offload}
        again = self.reshard_after_forward
        for block in reversed(separable(network)):  # blocks within blocks come first
            fully_shard(block, reshard_after_forward=again, **how)
        fully_shard(trainable, reshard_after_forward=beside or None, **how)
        register_fsdp_forward_method(trainable, "within")
        with filling.kept_beside(trainable):
            trainable.to_empty(device="cpu" if self.cpu_offload else self.root_device)
        filling.buffers_to(self.root_device, trainable)
        network.tie_weights(recompute_mapping=False)
        filling.fill_all(network, fill)
        self._root = self._root if beside else trainable

    def model_to_device(self) -> None:
        """Moves what is not there yet; weights that shall lie on the host stay."""
        assert self.lightning_module is not None
        if not self.cpu_offload:
            super().model_to_device()
            return
        filling.buffers_to(self.root_device, self.lightning_module)
        self.lightning_module._device = self.root_device

    def setup_optimizers(self, trainer: L.Trainer) -> None:
        """Builds the optimizer over the parts."""
        self.reshard()
        super().setup_optimizers(trainer)

    def reshard(self) -> None:
        """Makes the parameters outside the blocks parts again; they stay whole after a forward."""
        if self._root is not None:
            self._root.reshard()

    # -- the step ------------------------------------------------------------------------------

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Sums gradients over the ranks on the last micro-batch, or on each."""
        assert self._root is not None
        sums = last or self.reduce_every_micro_batch
        if sums != self._sums:
            self._root.set_requires_gradient_sync(sums)
            self._sums = sums
        yield
        if last and self.tensor_parallel > 1:
            agree(self._root.parameters(), self._partial, self.mesh.get_group(TENSOR))

    def reduce(self, tensor: Any, group: Any | None = None, reduce_op: Any | None = "mean") -> Any:
        """Reduces over the ranks; a sum is queued on the device, and the host goes on."""
        if reduce_op != "sum" or not isinstance(tensor, Tensor):
            return super().reduce(tensor, group, reduce_op)
        torch.distributed.all_reduce(tensor, group=group)
        return tensor

    def grad_norm(self, parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
        """Gives the Euclidean norm of all gradients together, over all parts."""
        return sharded_norm(parameters).to(self.root_device)

    # -- checkpoints ---------------------------------------------------------------------------

    def gather_weights(self, network: nn.Module) -> dict[str, Tensor] | None:
        """Gathers the network on the first rank, one tensor after the other."""
        self.reshard()
        return self._gathered(network.state_dict(keep_vars=True))

    def to_save(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Gathers what is cut on the first rank, or leaves each rank its parts."""
        return tree if self.sharded_checkpoints else self._gathered(tree)

    def _gathered(self, tree: dict[str, Any]) -> dict[str, Any]:
        whole: dict[str, Any] = gathered(tree, keep=self.is_global_zero, to_host=self.to_host)
        return whole if self.is_global_zero else {}

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Gives the module's weights as they are saved."""
        assert self.lightning_module is not None
        self.reshard()
        return self.to_save(dict(self.lightning_module.state_dict(keep_vars=True)))

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Gives the optimizer's state as it is saved."""
        inner = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        return self.to_save(inner.state_dict())

    save_checkpoint = StepStrategy.save_checkpoint

    @cached_property
    def _savers(self) -> Any:
        return torch.distributed.new_group(backend="gloo", timeout=self._timeout)

    def writer(self, checkpoint: dict[str, Any], path: Path, copied: Copied = as_is) -> Write:
        """Gives what writes a file on the first rank, or each rank's parts into a folder."""
        if not self.sharded_checkpoints:
            return super().writer(checkpoint, path, copied)
        write = partial(write_shards, first=self.is_global_zero, group=self._savers)
        return partial(write, copied(checkpoint), path)

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
        targets = filling.targets_of(plain, sizes(path), self.lightning_module, self.optimizers)
        read_shards(path, targets)
        return with_shards(plain, targets)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:  # noqa: ARG002
        """Gives each rank its part of the weights."""
        assert self.lightning_module is not None
        self.reshard()
        filling.load_weights(self.lightning_module, checkpoint["state_dict"])

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Gives each rank its part of the optimizers' states."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            filling.load_optimizer(optimizer, state)
