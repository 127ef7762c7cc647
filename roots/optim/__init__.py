"""Optimizers as settings, parameter groups by rule, and learning rates as functions of the step."""

from roots.optim.adamw import AdamW
from roots.optim.adamw8bit import AdamW8bit
from roots.optim.builder import OptimizerBuilder
from roots.optim.clipping import clipped
from roots.optim.combined import Combined
from roots.optim.groups import decays, hidden_matrices, parameter_groups
from roots.optim.master import MasterWeights
from roots.optim.muon import Muon
from roots.optim.of_torch import TorchOptimizer
from roots.optim.schedules import (
    Constant,
    Schedule,
    WarmupCosine,
    WarmupLinear,
    WarmupStableDecay,
)
from roots.optim.skipping import left_out

__all__ = [
    "AdamW",
    "AdamW8bit",
    "Combined",
    "Constant",
    "MasterWeights",
    "Muon",
    "OptimizerBuilder",
    "Schedule",
    "TorchOptimizer",
    "WarmupCosine",
    "WarmupLinear",
    "WarmupStableDecay",
    "clipped",
    "decays",
    "hidden_matrices",
    "left_out",
    "parameter_groups",
]
