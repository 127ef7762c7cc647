"""Tiny encoders with WordPiece tokenizers, labelled rows and sentences, and run files of both."""

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
BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 512,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def write_tokenizer(folder: Path, words: Sequence[str] = WORDS) -> Path:
    """Writes a WordPiece tokenizer that frames texts as a BERT does; words fall into pieces."""
    letters = sorted({letter for word in words for letter in word})
    pieces = [*SPECIALS, ".", ",", *letters, *(f"##{letter}" for letter in letters)]
    return _write_pieces(folder, [*pieces, *(word for word in words if len(word) in (2, 3))])


def write_wordpiece(folder: Path) -> Path:
    """Writes a BERT's tokenizer: every second word is one token, the others fall into letters."""
    from tokenizers import normalizers

    letters = sorted({letter for word in WORDS for letter in word} | set("@#.,!?"))
    pieces = [*SPECIALS, *letters, *(f"##{letter}" for letter in letters), *WORDS[::2]]
    return _write_pieces(folder, pieces, normalizers.BertNormalizer())


def _write_pieces(folder: Path, pieces: Sequence[str], normalizer: Any = None) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
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


def write_encoder(folder: Path, **keys: Any) -> Path:
    """Writes a BERT without a head, as published encoders have none, and its tokenizer."""
    return _write_network(write_tokenizer(folder), **keys)


def write_bert(folder: Path) -> Path:
    """Writes a BERT without a head, and the tokenizer that knows whole words."""
    return _write_network(write_wordpiece(folder), max_position_embeddings=128)


def _write_network(folder: Path, **keys: Any) -> Path:
    import torch
    from transformers import BertConfig, BertModel

    from roots.tokenizer import Tokenizer

    config = {k: v for k, v in {**BERT, **keys}.items() if k != "model_type"}
    torch.manual_seed(0)
    size = Tokenizer.load(folder).vocab_size
    BertModel(BertConfig(vocab_size=size, pad_token_id=0, **config)).save_pretrained(folder)
    return folder


def sentence(rng: random.Random, n_words: int = 0) -> str:
    """Some words, 2 to 12."""
    return " ".join(rng.choice(WORDS) for _ in range(n_words or rng.randint(2, 12)))


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Writes one object per line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def classes(n: int, seed: int) -> list[dict[str, Any]]:
    """Texts whose class can be seen: whether a cat, a dog or neither is in it."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        animal = ("cat", "dog", "none")[number % 3]
        words = [w for w in sentence(rng).split() if w not in ("cat", "dog")]
        words.insert(rng.randint(0, len(words)), animal if animal != "none" else "tree")
        rows.append({"text": " ".join(words), "label": animal})
    return rows


def task_config(
    module: str, data: dict[str, Any], encoder: Path, runs: Path, **trainer: Any
) -> dict[str, Any]:
    """The run file of a tiny fine-tuning: 8 rows a step."""
    return {
        "name": "tiny",
        "seed": 1,
        "model": {
            "class_path": f"roots.modules.{module}",
            "init_args": {
                "network": {
                    "class_path": "roots.networks.Pretrained",
                    "init_args": {"path": str(encoder)},
                },
                "optimizer": {
                    "class_path": "roots.optim.AdamW",
                    "init_args": {"learning_rate": 3e-3},
                },
                "schedule": {
                    "class_path": "roots.optim.WarmupLinear",
                    "init_args": {"warmup_steps": 2},
                },
                "micro_batch_size": 4,
            },
        },
        "data": data,
        "trainer": {
            "max_steps": 6,
            "val_every_steps": 3,
            "log_every_steps": 1,
            "precision": "32",
            "accelerator": "cpu",
            "runs_dir": str(runs),
            "progress": False,
            **trainer,
        },
    }


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
    """The run file of a tiny fine-tuning on words: in micro-batches of 3."""
    config = task_config(module, data, bert, runs, **trainer)
    config["name"] = "tagging"
    config["model"]["init_args"]["optimizer"]["init_args"]["learning_rate"] = 5e-3
    config["model"]["init_args"]["micro_batch_size"] = 3
    return config
