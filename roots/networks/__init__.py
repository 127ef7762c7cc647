"""Hugging Face networks made ready to train: builders, and the forward with the loss inside.

Shape letters: B sequences, T tokens, V vocabulary, D model width.
"""

from roots.networks.adapter_off import adapter_off
from roots.networks.attention import Choice, choose_attention
from roots.networks.base_weights import BaseWeights, adapter_base
from roots.networks.blocks import blocks_of, separable
from roots.networks.builder import NetworkBuilder
from roots.networks.checks import check_causal
from roots.networks.compiling import (
    COMPILE,
    check_compile,
    compile_network,
    compiled_so_far,
    is_compiled,
    uncompiled,
)
from roots.networks.drawing import Give
from roots.networks.flops import TokenFLOPs, count_flops, flops_by_length
from roots.networks.head import CAUSAL_LM, MASKED_LM, SEQ2SEQ, Head
from roots.networks.lora import (
    LoRA,
    check_trained,
    is_adapted,
    merge_adapter,
    trained_names,
    write_adapter,
)
from roots.networks.masked import MaskedObjective, MaskedTrainable
from roots.networks.mlm_heads import MLMHead, split_mlm_head
from roots.networks.packing import check_packing, packed_arguments
from roots.networks.padding import reads_padding
from roots.networks.pretrained import Pretrained
from roots.networks.quantising import NF4, Int8, Quantisation, is_quantised
from roots.networks.recomputing import RECOMPUTE, check_recompute, recompute
from roots.networks.root import Root
from roots.networks.scratch import Scratch
from roots.networks.search import Search, sources_of
from roots.networks.seq2seq import Seq2SeqTrainable
from roots.networks.task import SpanTrainable, TaskObjective, TaskTrainable
from roots.networks.timing import Shapes
from roots.networks.trainable import Trainable
from roots.networks.unpacked import rows_are_packed, rows_are_unpacked

__all__ = [
    "CAUSAL_LM",
    "COMPILE",
    "MASKED_LM",
    "NF4",
    "RECOMPUTE",
    "SEQ2SEQ",
    "BaseWeights",
    "Choice",
    "Give",
    "Head",
    "Int8",
    "LoRA",
    "MLMHead",
    "MaskedObjective",
    "MaskedTrainable",
    "NetworkBuilder",
    "Pretrained",
    "Quantisation",
    "Root",
    "Scratch",
    "Search",
    "Seq2SeqTrainable",
    "Shapes",
    "SpanTrainable",
    "TaskObjective",
    "TaskTrainable",
    "TokenFLOPs",
    "Trainable",
    "adapter_base",
    "adapter_off",
    "blocks_of",
    "check_causal",
    "check_compile",
    "check_packing",
    "check_recompute",
    "check_trained",
    "choose_attention",
    "compile_network",
    "compiled_so_far",
    "count_flops",
    "flops_by_length",
    "is_adapted",
    "is_compiled",
    "is_quantised",
    "merge_adapter",
    "packed_arguments",
    "reads_padding",
    "recompute",
    "rows_are_packed",
    "rows_are_unpacked",
    "separable",
    "sources_of",
    "split_mlm_head",
    "trained_names",
    "uncompiled",
    "write_adapter",
]
