"""Small tokenizers of three kinds, trained here, and small networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as RustTokenizer
from transformers import PreTrainedModel

from roots.inference import write_folder
from roots.networks import Scratch
from roots.records import Vocabulary
from roots.runs import CHECKPOINT_FILE
from roots.tokenizer import Tokenizer

EOS = "<|endoftext|>"
TEXTS = [
    "Hello world, this is a small text about cats and dogs.",
    "def main(arguments):\n    return len(arguments)\n",
    "你好，世界。 今天天气很好。",
    "naïve café, e\u0301te\u0301, 👩‍👩‍👧 and 🇩🇪 😀",
] * 4

_HEADS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_STATES = {
    **{"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1},
    **{"mamba_d_state": 8, "mamba_chunk_size": 8},
}
CONFIGS = {
    "llama": {
        "model_type": "llama",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
    },
    "gpt2": {
        "model_type": "gpt2",
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 48,
        "initializer_range": 0.3,
    },
    "bert": {
        "model_type": "bert",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "is_decoder": True,
        "initializer_range": 0.3,
    },
    "bamba": {
        **{"model_type": "bamba", **_HEADS, "num_key_value_heads": 2, **_STATES},
        **{"intermediate_size": 64, "attn_layer_indices": [1], "initializer_range": 0.3},
    },
    "falcon": {"model_type": "falcon", **_HEADS, "initializer_range": 0.3},
    "minimax": {
        **{"model_type": "minimax", **_HEADS, "num_key_value_heads": 2, "head_dim": 8},
        **{"layer_types": ["linear_attention", "full_attention"], "block_size": 8},
        **{"intermediate_size": 64, "num_local_experts": 2, "initializer_range": 0.3},
    },
    "roberta": {
        **{"model_type": "roberta", **_HEADS, "intermediate_size": 64, "is_decoder": True},
        **{"pad_token_id": 1, "initializer_range": 0.3},
    },
    "mamba": {"model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    "mixtral": {
        "model_type": "mixtral",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "num_local_experts": 4,
    },
}

Make = Callable[..., PreTrainedModel]


def byte_level() -> RustTokenizer:
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rust.train_from_iterator(TEXTS, trainer)
    return rust


def sentencepiece_like() -> RustTokenizer:
    """As in Llama 2: words begin with a mark, unknown characters are bytes, a space is stripped."""
    rust = RustTokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    rust.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    rust.pre_tokenizer = pre_tokenizers.Split(Regex("▁[^▁]*"), "isolated")
    rust.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    special = ["<unk>", EOS, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=special, show_progress=False, limit_alphabet=60
    )
    rust.train_from_iterator(TEXTS, trainer)
    return rust


def word_pieces() -> RustTokenizer:
    rust = RustTokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=[EOS, "[UNK]"], show_progress=False
    )
    rust.train_from_iterator(TEXTS, trainer)
    return rust


def _face(rust: RustTokenizer) -> Tokenizer:
    return Tokenizer(definition=rust.to_str(), settings={"eos_token": EOS})


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Networks this small are twenty times slower on threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return _face(byte_level())


@pytest.fixture(scope="session")
def tokenizers_of_every_kind(tokenizer: Tokenizer) -> dict[str, Tokenizer]:
    return {
        "byte_level": tokenizer,
        "sentencepiece_like": _face(sentencepiece_like()),
        "word_pieces": _face(word_pieces()),
    }


@pytest.fixture(scope="session")
def make(tokenizer: Tokenizer) -> Make:
    def build(kind: str, **changes: object) -> PreTrainedModel:
        vocabulary = Vocabulary(
            size=tokenizer.vocab_size, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id
        )
        scratch = Scratch(config={**CONFIGS[kind], **changes})
        return scratch.build(vocabulary, seed=1, device=torch.device("cpu"))

    return build


@pytest.fixture
def run_folder(tmp_path: Path, make: Make, tokenizer: Tokenizer) -> Path:
    """A run of two checkpoints; the older one is better."""
    run = tmp_path / "runs" / "tiny" / "0001"
    run.mkdir(parents=True)
    data = "data:\n  init_args: {sequences_per_step: 4, seq_len: 16}\n"
    (run / "config.yaml").write_text(f"name: tiny\n{data}")
    (run / "environment.json").write_text(json.dumps({"code": {"commit": "abc123"}}))
    for step, loss in ((10, 2.5), (20, 3.5)):
        folder = run / "checkpoints" / f"step-{step:06d}"
        network = make("llama", tie_word_embeddings=step == 20)
        write_folder(network, tokenizer, folder)
        record = {"step": step, "metrics": {"val/loss": loss}}
        (folder / CHECKPOINT_FILE).write_text(json.dumps(record))
    return run
