"""A tiny BERT whose tokenizer cuts words into pieces and drops some; sentences; a run file."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny import WORDS

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
DROPPED = "\ufe0f"
"""A word (in tweets, behind an emoji) of which BERT's normaliser leaves nothing."""
TAGS = {"cat": "animal", "dog": "animal", "tree": "place", "mat": "place"}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def write_wordpiece(folder: Path) -> Path:
    """Writes a BERT's tokenizer: every second word is one token, the others fall into letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = sorted({letter for word in WORDS for letter in word} | set("@#.,!?"))
    pieces = [*SPECIALS, *letters, *(f"##{letter}" for letter in letters), *WORDS[::2]]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(SPECIALS)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = ("pad", "unk", "cls", "sep", "mask")
    settings = {f"{role}_token": token for role, token in zip(roles, SPECIALS, strict=True)}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_bert(folder: Path) -> Path:
    """Writes a BERT without a head, and its tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    from roots.tokenizer import Tokenizer

    write_wordpiece(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=Tokenizer.load(folder).vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        **NO_DROPOUT,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def tagged(n: int, seed: int) -> list[dict[str, Any]]:
    """Sentences of 2 to 12 words whose tags can be seen: `dog` is an animal, `tree` a place."""
    rng = random.Random(seed)
    return [_tagged(rng) for _ in range(n)]


def _tagged(rng: random.Random) -> dict[str, Any]:
    words = [rng.choice([*WORDS, *TAGS]) for _ in range(rng.randint(2, 12))]
    tags = [f"B-{TAGS[word]}" if word in TAGS else "O" for word in words]
    for here in range(1, len(words)):
        if words[here - 1] == "the" and tags[here] != "O":
            tags[here - 1 : here + 1] = [tags[here], "I" + tags[here][1:]]
    return {"words": words, "tags": tags}


def write_conll(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Writes a word and its tag on each line, a blank line between sentences."""
    sentences = (
        "".join(f"{word}\t{tag}\n" for word, tag in zip(row["words"], row["tags"], strict=True))
        for row in rows
    )
    path.write_text("\n".join(sentences), encoding="utf-8")
    return path


def words_data(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """The data part of a run file: the last twelve rows are for validation."""
    arguments = {
        "train": str(write_conll(folder / "train.conll", rows[:-12])),
        "val": str(write_conll(folder / "val.conll", rows[-12:])),
        "sequences_per_step": 8,
        "seq_len": 64,
        **settings,
    }
    return {"class_path": "roots.data.TaggedWords", "init_args": arguments}


def tagging_config(
    bert: Path, runs: Path, data: dict[str, Any], *, module: str = "TokenClassifier", **trainer: Any
) -> dict[str, Any]:
    """The run file of a tiny fine-tuning: 8 rows a step, in micro-batches of 3."""

    def part(name: str, **arguments: Any) -> dict[str, Any]:
        return {"class_path": name, "init_args": arguments}

    model = part(
        f"roots.modules.{module}",
        network=part("roots.networks.Pretrained", path=str(bert)),
        optimizer=part("roots.optim.AdamW", learning_rate=5e-3),
        schedule=part("roots.optim.WarmupLinear", warmup_steps=2),
        micro_batch_size=3,
    )
    settings = {
        "max_steps": 6,
        "val_every_steps": 3,
        "log_every_steps": 1,
        "precision": "32",
        "accelerator": "cpu",
        "runs_dir": str(runs),
        "progress": False,
    }
    return {
        "name": "tagging",
        "seed": 1,
        "model": model,
        "data": data,
        "trainer": {**settings, **trainer},
    }
