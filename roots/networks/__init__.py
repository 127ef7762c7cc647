"""Hugging Face networks made ready to train: builders, and the forward with the loss inside.

Shape letters: B sequences, T tokens, V vocabulary, D model width.
"""

from roots.networks.attention import Choice, choose_attention
from roots.networks.builder import NetworkBuilder
from roots.networks.compiling import (
    COMPILE,
    check_compile,
    compile_network,
    compiled_so_far,
    is_compiled,
    uncompiled,
)
from roots.networks.flops import TokenFLOPs, count_flops
from roots.networks.head import CAUSAL_LM, MASKED_LM, SEQ2SEQ, Head
from roots.networks.mlm_heads import MLMHead, split_mlm_head
from roots.networks.packing import check_packing, packed_arguments
from roots.networks.pretrained import Pretrained
from roots.networks.scratch import Scratch
from roots.networks.search import Search
from roots.networks.seq2seq import Seq2SeqTrainable
from roots.networks.task import TaskObjective, TaskTrainable
from roots.networks.timing import Shapes
from roots.networks.trainable import Trainable
from roots.networks.unpacked import rows_are_packed, rows_are_unpacked

__all__ = [
    "CAUSAL_LM",
    "COMPILE",
    "MASKED_LM",
    "SEQ2SEQ",
    "Choice",
    "Head",
    "MLMHead",
    "NetworkBuilder",
    "Pretrained",
    "Scratch",
    "Search",
    "Seq2SeqTrainable",
    "Shapes",
    "TaskObjective",
    "TaskTrainable",
    "TokenFLOPs",
    "Trainable",
    "check_compile",
    "check_packing",
    "choose_attention",
    "compile_network",
    "compiled_so_far",
    "count_flops",
    "is_compiled",
    "packed_arguments",
    "rows_are_packed",
    "rows_are_unpacked",
    "split_mlm_head",
    "uncompiled",
]
