"""A tiny causal network with a chat template, conversations, and a tiny tuning's run file."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tiny import LLAMA, WORDS
from tiny_tasks import sentence, task_config, write_jsonl

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{{ m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GENERATION = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ m['content'] + '<|im_end|>' + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_chat_tokenizer(folder: Path, template: str = CHATML) -> Path:
    """Writes a byte-level tokenizer whose answers end with `<|im_end|>`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    rust = Tokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [" ".join(WORDS), "user assistant system", "a\n\n", "\n\nb"]
    rust.train_from_iterator(texts * 4, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    rust.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "<|im_end|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    settings |= {"chat_template": template} if template else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_chat_network(folder: Path, template: str = CHATML, **keys: Any) -> Path:
    """Writes a Llama with random weights, and its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from roots.tokenizer import Tokenizer

    write_chat_tokenizer(folder, template)
    size = Tokenizer.load(folder).vocab_size
    config = {k: v for k, v in LLAMA.items() if k != "model_type"}
    config |= {"max_position_embeddings": 256, "initializer_range": 0.1, **keys}
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=size, **config)).save_pretrained(folder)
    return folder


def turns(*texts: str, system: str = "") -> list[dict[str, str]]:
    """A conversation: the user and the assistant take turns."""
    roles = ("user", "assistant")
    said = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *said] if system else said


def conversations(n: int, seed: int) -> list[dict[str, Any]]:
    """Conversations of one to three exchanges."""
    rng = random.Random(seed)
    return [
        {"messages": turns(*(sentence(rng) for _ in range(2 * rng.randint(1, 3))))}
        for _ in range(n)
    ]


def chat_config(network: Path, folder: Path, rows: list[dict[str, Any]], **data: Any) -> dict:
    """The run file of a tiny tuning: 8 conversations a step, the last 9 rows for validation."""
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:-9])),
        "val": str(write_jsonl(folder / "val.jsonl", rows[-9:])),
        "sequences_per_step": 8,
        "seq_len": 128,
        **data,
    }
    spec = {"class_path": "roots.data.Conversations", "init_args": arguments}
    return task_config("CausalLM", spec, network, folder / "runs")
