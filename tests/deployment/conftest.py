"""A small run with one checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers.utils import logging

from roots.inference import write_folder
from roots.networks import Scratch
from roots.records import Vocabulary
from roots.runs import CHECKPOINT_FILE
from roots.tokenizer import Tokenizer


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Networks this small are twenty times slower on threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rust.train_from_iterator(["cats and dogs and cats"] * 4, trainer)
    return Tokenizer(definition=rust.to_str(), settings={"eos_token": "<|endoftext|>"})


@pytest.fixture(params=["llama", "gpt2"])
def run_folder(request: pytest.FixtureRequest, tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A run of two checkpoints, of which the first is better; its weights are tied."""
    logging.disable_progress_bar()
    sizes = {
        "llama": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "tie_word_embeddings": True,
        },
        "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32},
    }
    run = tmp_path / "runs" / "tiny" / "0001"
    run.mkdir(parents=True)
    data = "data:\n  init_args: {sequences_per_step: 4, seq_len: 16}\n"
    (run / "config.yaml").write_text(f"name: tiny\n{data}")
    (run / "environment.json").write_text(json.dumps({"code": {"commit": "abc123"}}))
    vocabulary = Vocabulary(size=tokenizer.vocab_size, eos_id=0, bos_id=0)
    builder = Scratch(config={"model_type": request.param, **sizes[request.param]})
    for step, loss in ((10, 2.5), (20, 3.5)):
        network = builder.build(vocabulary, seed=step, device=torch.device("cpu"))
        network.config.use_cache = False
        folder = run / "checkpoints" / f"step-{step:06d}"
        write_folder(network, tokenizer, folder)
        record = {"step": step, "metrics": {"val/loss": loss}, "tokens": 64 * step}
        (folder / CHECKPOINT_FILE).write_text(json.dumps(record))
        (folder / "trainer.ckpt").write_bytes(b"the state to resume from")
    return run
