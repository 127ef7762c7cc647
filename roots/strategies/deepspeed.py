"""ZeRO: optimizer state, gradients and weights cut over the ranks by DeepSpeed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer

from roots.errors import ConfigError
from roots.networks import Give, Root
from roots.optim import AdamW, OptimizerBuilder
from roots.precision import BF16Mixed, BF16True, Float32
from roots.strategies.ddp import DDP
from roots.strategies.deepspeed_config import ZERO, check_places, merged, read_config, zero_block
from roots.strategies.filling import fill_all, kept_beside
from roots.strategies.sharded_files import replaced
from roots.strategies.zero import check_disk, gather, package, start_engine
from roots.strategies.zero_optimizer import ZeroOptimizer

FORMATS: tuple[type[Precision], ...] = (Float32, BF16Mixed, BF16True)
"""The precisions that were tried."""

IN_FLOAT32 = {"communication_data_type": "fp32", "data_types": {"grad_accum_dtype": "fp32"}}
"""Gradients are summed over micro-batches and ranks in float32, whatever the weights are in."""

LARGEST_BUCKET = 500_000_000
"""Values that are summed over the ranks at once: DeepSpeed's own choice."""


class DeepSpeed(DDP):
    """DeepSpeed's ZeRO: optimizer state, gradients and weights are cut over the ranks.

    Every rank reads its share of the step, as with DDP. The network is built whole on each device,
    by its own initialisation, and then cut, so it must fit there once, without gradients; `fsdp`
    cuts it before it has weights. Checkpoints are those of one device, plain tensors that any
    strategy on any number of devices goes on from: DeepSpeed's pickled files are neither written
    nor read. Lightning's strategy of the name runs on GPUs only and draws other weights.

    Args:
        stage: What is cut: 1, the optimizer's state; 2, gradients too; 3, weights too.
        offload_optimizer: Where the optimizer's state lies and is stepped: `none`, on the device;
            `cpu`; with stage 3 also `nvme`, a disk (not tested: it needs libaio).
        offload_parameters: Where stage 3 keeps the parts of weights that are not in use: `none`,
            `cpu` or `nvme`.
        nvme_path: The folder on that disk.
        config: DeepSpeed's own JSON or YAML file, or what is in it: it wins over the settings
            above. What a run says itself (rows, clipping, optimizer, schedule, number formats) is
            refused there.
        timeout_minutes: How long a rank waits for the others before the run fails.

    Raises:
        ConfigError: A setting that DeepSpeed does not have, or a configuration that contradicts the
            run's.

    Source:
        Rajbhandari et al., arXiv:1910.02054, section 5; offload: Ren et al., arXiv:2101.06840.
    """

    def __init__(
        self,
        *,
        stage: int = 2,
        offload_optimizer: str = "none",
        offload_parameters: str = "none",
        nvme_path: str = "",
        config: str | dict[str, Any] = "",
        timeout_minutes: float = 30.0,
    ) -> None:
        block = zero_block(
            stage=stage,
            offload_optimizer=offload_optimizer,
            offload_parameters=offload_parameters,
            nvme_path=nvme_path,
        )
        told = {"zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False}
        self.deepspeed_config = merged({ZERO: block, **told}, read_config(config))
        check_places(self.zero)
        self.offload_optimizer = offload_optimizer
        self.offload_parameters = offload_parameters
        self.nvme_path = nvme_path
        self.config = config
        self.engine: Any = None
        super().__init__(timeout_minutes=timeout_minutes)

    @property
    def zero(self) -> dict[str, Any]:
        """The part of DeepSpeed's configuration that says what is cut, and what lies where."""
        block: dict[str, Any] = self.deepspeed_config[ZERO]
        return block

    @property
    def stage(self) -> int:
        """What is cut, from 1 to 3."""
        return int(self.zero["stage"])

    @property
    def builds_whole(self) -> bool:  # type: ignore[override]
        """Whether each rank keeps the whole network, and can run it without the others."""
        return self.stage < 3

    @property
    def hides_weights(self) -> bool:  # type: ignore[override]
        """Whether DeepSpeed takes the weights out of the network between their uses."""
        return self.stage == 3

    # -- what works together -------------------------------------------------------------------

    def check(self, *, optimizer: OptimizerBuilder, precision: Precision, compiled: str) -> None:
        """Raises ConfigError for what DeepSpeed was not tried with, with what it was."""
        if type(precision) not in FORMATS:
            raise ConfigError(
                f"precision={precision.precision} is not tried with DeepSpeed. Set"
                " trainer.precision to bf16-mixed, bf16-true or 32, or trainer.strategy to ddp."
            )
        if type(precision) is BF16True and self.stage == 1:
            raise ConfigError(
                "precision=bf16-true has another optimizer in DeepSpeed under stage 1 than under 2"
                " and 3, without a norm before the step. Set trainer.precision to bf16-mixed, or"
                " stage to 2."
            )
        if type(optimizer) is not AdamW:
            raise ConfigError(
                f"{optimizer.label} does not step parts of flattened parameters, which is"
                " all that a rank has under DeepSpeed. Set model.optimizer to roots.optim.AdamW, or"
                " trainer.strategy to fsdp or ddp."
            )
        if compiled != "none":
            raise ConfigError(
                f"compile={compiled} is not tried under DeepSpeed's hooks. Set model.compile to"
                " none, or trainer.strategy to fsdp (blocks) or ddp."
            )

    def check_run(self, module: Any, callbacks: Sequence[Any]) -> None:
        """Raises ConfigError for settings of the model, and callbacks, that do not work with it."""
        if module.seeks_rows:
            raise ConfigError(
                "micro_batch_size=auto is not found out under DeepSpeed, whose buffers the plan"
                " does not know. Set model.micro_batch_size to a number, or trainer.strategy to"
                " fsdp or ddp."
            )
        if quantise := module.builder.quantise:
            raise ConfigError(
                f"quantise: {type(quantise).__name__} packs weights, which DeepSpeed flattens."
                " Leave out network.quantise, or set trainer.strategy to ddp."
            )
        for callback in callbacks:
            if self.hides_weights and getattr(callback, "reads_all_weights", False):
                raise ConfigError(
                    f"{type(callback).__name__} reads the weights between steps, and under stage 3"
                    " they lie in DeepSpeed's own parts. Leave it out, set stage to 2, or"
                    " trainer.strategy to fsdp."
                )

    # -- building ------------------------------------------------------------------------------

    def setup_environment(self) -> None:
        """Starts the processes' group, once DeepSpeed is there."""
        self._package  # noqa: B018  what is not installed is told first
        super().setup_environment()

    @property
    def _package(self) -> Any:
        return package(self.root_device.type)

    def shard(self, trainable: Root, fill: Callable[[Give], None], *, beside: bool = False) -> None:
        """Gives the network its weights, whole; what is trained is cut with its optimizer."""
        self.precision_plugin.convert_module(trainable)
        with kept_beside(trainable):
            trainable.to_empty(device=self.root_device)
        trainable.network.tie_weights(recompute_mapping=False)
        fill_all(trainable.network, fill)
        if beside:
            start_engine(
                self._package,
                trainable,
                None,
                self._config_beside(),
                device=self.root_device,
                local_rank=self.local_rank,
            )

    def setup(self, trainer: L.Trainer) -> None:
        """Hands network and optimizer to DeepSpeed where they are trained."""
        assert self.accelerator is not None
        assert self.model is not None
        self.accelerator.setup(trainer)
        self.model = self.precision_plugin.convert_module(self.model)
        self.model_to_device()
        if trainer.state.fn == TrainerFn.FITTING:
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()

    def setup_optimizers(self, trainer: L.Trainer) -> None:  # noqa: ARG002
        """Builds the optimizer over whole parameters, and cuts it and them."""
        module: Any = self.lightning_module
        optimizer = module.optimizer_builder.build(module.trainable)
        parameters = [list(group["params"]) for group in optimizer.param_groups]
        n_trained = sum(p.numel() for group in parameters for p in group)
        deepspeed, config = self._package, self._full_config(module.clip_norm, n_trained)
        if "nvme" in json.dumps(self.zero):
            check_disk(deepspeed)
        self.engine = start_engine(
            deepspeed,
            module.trainable,
            optimizer,
            config,
            device=self.root_device,
            local_rank=self.local_rank,
        )
        self.optimizers = [ZeroOptimizer(deepspeed, self.engine, parameters)]
        self.lr_scheduler_configs = []
        module.remarks.append(f"deepspeed: {json.dumps(config)}")

    def _full_config(self, clip_norm: float, n_trained: int) -> dict[str, Any]:
        """Gives all that DeepSpeed is told, with what the run says itself.

        A bucket has room for every value that is trained and for no more, unless the user says
        otherwise: it is filled with numbers where a run is to be repeatable, 2 GB by default.
        """
        clipping = 0.0 if math.isinf(clip_norm) else clip_norm
        run = {**self._counts_and_formats, "gradient_clipping": clipping}
        buckets = {"reduce_bucket_size": min(n_trained, LARGEST_BUCKET)}
        return merged({**IN_FLOAT32, **run, ZERO: buckets}, self.deepspeed_config)

    def _config_beside(self) -> dict[str, Any]:
        """Gives what DeepSpeed is told of a network that is only asked: it is cut alike."""
        asked = merged(self._counts_and_formats, self.deepspeed_config)
        asked[ZERO] = {key: at for key, at in asked[ZERO].items() if key != "offload_optimizer"}
        return asked

    @property
    def _counts_and_formats(self) -> dict[str, Any]:
        return {
            "train_micro_batch_size_per_gpu": 1,  # it only counts rows with it
            "gradient_accumulation_steps": 1,  # `micro_batch` says which is the last
            "bf16": {"enabled": type(self.precision_plugin) is BF16True},
        }

    @property
    def reduces_in(self) -> torch.dtype | None:  # type: ignore[override]
        """Float32, unless the user's configuration says otherwise."""
        said = self.deepspeed_config.get("communication_data_type", "fp32")
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}.get(said)

    @property
    def _optimizer(self) -> ZeroOptimizer:
        (optimizer,) = self.optimizers
        assert isinstance(optimizer, ZeroOptimizer)
        return optimizer

    # -- the step ------------------------------------------------------------------------------

    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:
        """Tells DeepSpeed that a forward pass begins, and whether its gradients are the last."""
        self.engine.set_gradient_accumulation_boundary(last)
        # the forward pass is not the engine's own; without this stage 3 keeps the last part only
        self.engine.optimizer.clear_backward_seen_flag()
        return nullcontext()

    def backward(
        self,
        closure_loss: Tensor,
        optimizer: Optimizer | None,  # noqa: ARG002
        *args: Any,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> Tensor:
        """Runs the backward pass through DeepSpeed, which averages over the ranks."""
        module = self.lightning_module
        assert module is not None
        loss = self.precision_plugin.pre_backward(closure_loss, module)
        self.engine.backward(loss)
        return self.precision_plugin.post_backward(loss, module)

    def grad_norm(self, parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:  # noqa: ARG002
        """Gives the Euclidean norm of all gradients together, over all parts."""
        return self._optimizer.norm().to(self.root_device)

    # -- checkpoints ---------------------------------------------------------------------------

    def gather_weights(self, network: nn.Module) -> dict[str, Tensor] | None:
        """Gathers the network on the first rank, one tensor after the other."""
        if self.engine is None or self.builds_whole:
            return None
        return self._gathered(network)

    def _gathered(self, module: nn.Module) -> dict[str, Tensor]:
        whole = gather(self._package, keep=self.is_global_zero, to_host=self.to_host)
        weights: dict[str, Tensor] = replaced(module.state_dict(keep_vars=True), whole, "")
        return weights if self.is_global_zero else {}

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Gathers the module's weights on the first rank."""
        assert self.lightning_module is not None
        return self._gathered(self.lightning_module)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:  # noqa: ARG002
        """Gathers the optimizer's state on the first rank."""
        return self._optimizer.gathered(keep=self.is_global_zero, to_host=self.to_host)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Gives each rank its part of the optimizer's state, whichever strategy saved it."""
        self._optimizer.load_state_dict(checkpoint["optimizer_states"][0])
