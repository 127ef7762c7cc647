"""Where a run computes: Lightning's strategies with the step protocol of roots."""

from roots.strategies.ddp import DDP
from roots.strategies.deepspeed import DeepSpeed
from roots.strategies.fsdp import FSDP
from roots.strategies.protocol import StepStrategy, gradient_norm
from roots.strategies.select import STRATEGIES, strategy_named
from roots.strategies.single_device import SingleDevice

__all__ = [
    "DDP",
    "FSDP",
    "STRATEGIES",
    "DeepSpeed",
    "SingleDevice",
    "StepStrategy",
    "gradient_norm",
    "strategy_named",
]
