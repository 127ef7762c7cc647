"""The settings that every contender shares: network, tokens of a step, precision, optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """One network and one step, the same for all contenders of a run.

    Args:
        about: What it is, in one line.
        device: `cpu` or `cuda`: one process, one device.
        network: Keys of transformers' Llama configuration.
        text_vocab_size: Tokens that the text is written with; the network may have more.
        seq_len: Tokens in a sequence.
        sequences_per_step: Sequences of an optimizer step.
        micro_batch_size: Sequences that go through the network at once.
        precision: `bf16-mixed` or `32`.
        learning_rate: Constant from the first step on.
    """

    about: str
    device: str
    network: dict[str, Any]
    text_vocab_size: int
    seq_len: int
    sequences_per_step: int
    micro_batch_size: int
    precision: str = "bf16-mixed"
    learning_rate: float = 1e-3

    @property
    def tokens_per_step(self) -> int:
        """Tokens of an optimizer step."""
        return self.seq_len * self.sequences_per_step

    @property
    def n_parameters(self) -> int:
        """Weights of the network; a tied matrix counts once."""
        width, inner = self.network["hidden_size"], self.network["intermediate_size"]
        heads = self.network["num_attention_heads"]
        key_value = width * self.network["num_key_value_heads"] // heads
        block = 2 * width * (width + key_value) + 3 * width * inner + 2 * width
        n_tables = 1 if self.network["tie_word_embeddings"] else 2
        tables = n_tables * self.network["vocab_size"] * width
        return self.network["num_hidden_layers"] * block + tables + width


def llama(
    *,
    width: int,
    inner: int,
    layers: int,
    heads: int,
    vocab_size: int,
    positions: int,
    key_value_heads: int = 0,
    tied: bool = True,
) -> dict[str, Any]:
    """Writes a Llama in the keys of its transformers configuration."""
    return {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads or heads,
        "max_position_embeddings": positions,
        "vocab_size": vocab_size,
        "tie_word_embeddings": tied,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
    }


PRESETS = {
    "cpu-small": Preset(
        about="a Llama of 13.8 M parameters on a CPU; one micro-batch a step",
        device="cpu",
        network=llama(width=384, inner=1024, layers=6, heads=6, vocab_size=8192, positions=512),
        text_vocab_size=8192,
        seq_len=512,
        sequences_per_step=8,
        micro_batch_size=8,
    ),
    "gpu-124m": Preset(
        about="a Llama of GPT-2's size on one GPU of 80 GB; four micro-batches a step",
        device="cuda",
        network=llama(width=768, inner=2048, layers=12, heads=12, vocab_size=50304, positions=1024),
        text_vocab_size=8192,
        seq_len=1024,
        sequences_per_step=128,
        micro_batch_size=32,
        learning_rate=6e-4,
    ),
    "gpu-1b": Preset(
        about="a Llama of TinyLlama's shape on one GPU of 80 GB; eight micro-batches a step",
        device="cuda",
        network=llama(
            width=2048,
            inner=5632,
            layers=22,
            heads=32,
            key_value_heads=4,
            vocab_size=32000,
            positions=2048,
            tied=False,
        ),
        text_vocab_size=8192,
        seq_len=2048,
        sequences_per_step=32,
        micro_batch_size=4,
        learning_rate=3e-4,
    ),
    "tiny": Preset(
        about="two layers of width 32: shows that everything runs, says nothing of speed",
        device="cpu",
        network=llama(width=32, inner=64, layers=2, heads=2, vocab_size=512, positions=64),
        text_vocab_size=512,
        seq_len=16,
        sequences_per_step=8,
        micro_batch_size=4,
        precision="32",
        learning_rate=3e-3,
    ),
}
