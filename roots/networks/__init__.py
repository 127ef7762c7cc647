"""Hugging Face networks made ready to train: builders, and the forward with the loss inside.

Shape letters: B sequences, T tokens, V vocabulary, D model width.
"""

from roots.networks.builder import NetworkBuilder
from roots.networks.compiling import COMPILE, check_compile, compile_network
from roots.networks.flops import TokenFLOPs, count_flops
from roots.networks.pretrained import Pretrained
from roots.networks.scratch import Scratch
from roots.networks.trainable import Trainable

__all__ = [
    "COMPILE",
    "NetworkBuilder",
    "Pretrained",
    "Scratch",
    "TokenFLOPs",
    "Trainable",
    "check_compile",
    "compile_network",
    "count_flops",
]
