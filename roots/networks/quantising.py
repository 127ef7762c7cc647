"""Base weights of four or eight bits, by bitsandbytes, to train adapters on."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from roots.errors import ConfigError, MissingExtra
from roots.networks.lora import heads_of

_LAYERS = ("Linear4bit", "Linear8bitLt")
"""Classes of bitsandbytes; peft's, which hold them, have the same names."""
_DEVICES = ("cpu", "cuda", "xpu")
_COMPUTE = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Quantisation(ABC):
    """How the linear layers of a body are held; embeddings, norms and heads stay as they are."""

    causal_tolerance = 1e-5
    """By what share of the largest an earlier logit may change with a later token."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in a remark."""

    @abstractmethod
    def settings(self, whole: Sequence[str]) -> BitsAndBytesConfig:
        """Gives transformers' form of it; the modules of `whole` are left as they are."""

    def arguments(self, empty: PreTrainedModel, device: torch.device) -> dict[str, Any]:
        """Gives what `from_pretrained` takes for it.

        Args:
            empty: The network on the meta device.
            device: Where the weights live.

        Raises:
            ConfigError: bitsandbytes does not work on this device.
            MissingExtra: It is not installed.
        """
        if device.type not in _DEVICES:
            raise ConfigError(
                f"quantise: {type(self).__name__} is bitsandbytes', which computes on"
                f" {', '.join(_DEVICES)}, and this run on {device.type}. Set trainer.accelerator to"
                " cpu, or leave out network.quantise."
            )
        for package in ("bitsandbytes", "accelerate"):
            if find_spec(package) is None:
                raise MissingExtra(
                    f"network.quantise needs the package {package}, which is not installed. Install"
                    " both (pip install 'roots-lm[bitsandbytes,peft]', or pip install -e"
                    " '.[bitsandbytes,peft]' in a clone), or leave network.quantise out."
                )
        # it would tell with each product that inputs are rounded
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        whole = [*heads_of(empty), ".*pooler"]
        if empty.base_model is empty:  # T5 and its kin, which cast to the dtype of `wo`
            whole.append(r".*\.wo")
        place = device.index if device.index is not None else device.type
        return {"quantization_config": self.settings(whole), "device_map": {"": place}}

    def remark(self, network: PreTrainedModel) -> str:
        """Says how many layers are held so, and what all weights take.

        Raises:
            ConfigError: There are none.
        """
        n_layers = sum(type(module).__name__ in _LAYERS for module in network.modules())
        if not n_layers:
            raise ConfigError(
                f"quantise: {type(self).__name__} found no linear layer in the body of"
                f" {type(network).__name__}, and all its weights stay whole. Leave out"
                " network.quantise."
            )
        return (
            f"network: {n_layers} linear layers in {self.name}; the weights take"
            f" {weight_bytes(network) / 2**20:,.1f} MiB"
        )


def weight_bytes(network: PreTrainedModel) -> int:
    """Counts the bytes of all weights, with the scales of those of few bits."""
    total = int(network.get_memory_footprint())
    for module in network.modules():
        if type(module).__name__ in _LAYERS and not hasattr(module, "base_layer"):
            weight: Any = module.weight
            four, eight = getattr(weight, "quant_state", None), getattr(module, "state", None)
            scales = [getattr(weight, "SCB", None), getattr(eight, "SCB", None)]
            scales += [getattr(s, "absmax", None) for s in (four, getattr(four, "state2", None))]
            total += sum(scale.nbytes for scale in scales if scale is not None)
    return total


def keep_as_they_are(network: PreTrainedModel) -> None:
    """Keeps bitsandbytes from repacking weights of four bits when they are first evaluated.

    On CPUs that multiply bfloat16 it does, in place: the scales are rounded to bfloat16, and the
    layer has no gradient from then on, so a validation would end the training.
    """
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


class NF4(Quantisation):
    """Four bits per weight, the sixteen values of a normal distribution's quantiles, as in QLoRA.

    Blocks of 64 weights share a scale, so a weight takes 4.5 bits, or 4.127 with `double`.

    Args:
        compute_dtype: The format of the products: `bfloat16`, `float16`, or `float32`.
        double: Hold the scales in 8 bits too, 256 of them with a scale of their own.

    Raises:
        ConfigError: There is no such format.

    Source:
        Dettmers et al., arXiv:2305.14314, section 3.
    """

    def __init__(self, *, compute_dtype: str = "bfloat16", double: bool = True) -> None:
        if compute_dtype not in _COMPUTE:
            raise ConfigError(
                f"There is no compute_dtype {compute_dtype!r}. Set quantise.compute_dtype to one of"
                f" {', '.join(_COMPUTE)}."
            )
        self.compute_dtype = compute_dtype
        self.double = double

    @property
    def name(self) -> str:
        """What it is called in a remark."""
        return f"nf4{' with scales of 8 bits' if self.double else ''}, {self.compute_dtype}"

    def settings(self, whole: Sequence[str]) -> BitsAndBytesConfig:
        """Gives transformers' form of it."""
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=self.double,
            bnb_4bit_compute_dtype=_COMPUTE[self.compute_dtype],
            llm_int8_skip_modules=list(whole),
        )


class Int8(Quantisation):
    """Eight bits per weight, a scale for each row; inputs are rounded to 8 bits as well.

    Args:
        outliers: Inputs of this size and more, and the weights that they meet, are kept in 16 bits.
            0 rounds all; then each token is computed by itself, whatever is beside it.

    Raises:
        ConfigError: `outliers` is negative.

    Source:
        Dettmers et al., arXiv:2208.07339, section 3.
    """

    causal_tolerance = 5e-2  # which inputs are outliers, all tokens of a batch decide

    def __init__(self, *, outliers: float = 6.0) -> None:
        if not outliers >= 0:
            raise ConfigError(
                f"outliers={outliers:g} is negative. Set quantise.outliers to 6, or 0 for none."
            )
        self.outliers = outliers

    @property
    def name(self) -> str:
        """What it is called in a remark."""
        return "int8"

    def settings(self, whole: Sequence[str]) -> BitsAndBytesConfig:
        """Gives transformers' form of it."""
        return BitsAndBytesConfig(
            load_in_8bit=True,
            llm_int8_threshold=self.outliers,
            llm_int8_skip_modules=list(whole),
        )


def is_quantised(network: nn.Module) -> bool:
    """Tells whether a network has weights that bitsandbytes holds."""
    return bool(getattr(network, "is_quantized", False))
