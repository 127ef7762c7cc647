"""Small SQuAD files, a tiny BERT and its tokenizer, for the tests of question answering."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tiny import WORDS
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from roots.tokenizer import Tokenizer

BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
MARKS = ".,;:?!'-0123456789"
SIGNS = ["Café", "1950-53", "it's", "(red)", "U.S.", "—", "Été", "x"]


def quiz_tokenizer(template: str = "[CLS] $A [SEP] $B:1 [SEP]:1") -> Tokenizer:
    """A WordPiece tokenizer of words, letters and marks, as BERT's; special tokens as told."""
    letters = "abcdefghijklmnopqrstuvwxyz" + MARKS + "()—"
    tokens = [*SPECIAL, *WORDS, *letters, *(f"##{letter}" for letter in letters), "##ed", "re"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    rust = RustTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(lowercase=True)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece()
    rust.add_special_tokens(SPECIAL)
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=template,
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    settings = {
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    }
    return Tokenizer(definition=rust.to_str(), settings=settings)


def squad(n_articles: int, *, seed: int, without: bool = True, words: int = 40) -> dict[str, Any]:
    """Articles of two paragraphs of at most so many words, three questions on each.

    An answer of one to four words follows the word that is asked for; with `without` the third
    question of each paragraph has no answer.
    """
    rng = random.Random(seed)
    articles = []
    for number in range(n_articles):
        paragraphs = [_paragraph(rng, f"{seed}-{number}-{p}", without, words) for p in range(2)]
        articles.append({"title": f"Article {seed}-{number}", "paragraphs": paragraphs})
    return {"version": "v2.0", "data": articles}


def _paragraph(rng: random.Random, name: str, without: bool, words: int) -> dict[str, Any]:
    chosen = [
        rng.choice(WORDS if rng.random() < 0.8 else SIGNS) for _ in range(rng.randint(9, words))
    ]
    context = "".join(f"{word}{rng.choice([' ', '  ', ', '])}" for word in chosen).strip(", ")
    questions = []
    for n in range(3):
        begin = rng.randrange(len(chosen) - 5) + 1
        text, start = _part(context, chosen, begin, begin + rng.randint(1, 4))
        lacks = without and n == 2
        found = [{"text": text, "answer_start": start}, {"text": text[:3], "answer_start": start}]
        questions.append(
            {
                "id": f"{name}-{n}",
                "question": f"it ran to {chosen[begin - 1]} ?" if not lacks else "was it said ?",
                "answers": [] if lacks else found,
                "is_impossible": lacks,
            }
        )
    return {"context": context, "qas": questions}


def _part(context: str, words: list[str], begin: int, end: int) -> tuple[str, int]:
    """Gives the characters of some of the words, and where they begin."""
    places, at = [], 0
    for word in words:
        at = context.index(word, at)
        places.append((at, at + len(word)))
        at += len(word)
    start, stop = places[begin][0], places[end - 1][1]
    return context[start:stop], start


def quiz_files(folder: Path, *, without: bool = True, words: int = 40) -> Path:
    """Writes train.json, dev.json and the tokenizer's folder."""
    quiz_tokenizer().save(folder / "tokenizer")
    for name, n, seed in (("train", 6, 1), ("dev", 2, 2)):
        content = squad(n, seed=seed, without=without, words=words)
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def quiz_config(folder: Path, runs: Path, **trainer: Any) -> dict[str, Any]:
    """The run file of a tiny run: 4 windows of at most 32 tokens a step."""
    settings = {
        "max_steps": 6,
        "val_every_steps": 3,
        "log_every_steps": 1,
        "precision": "32",
        "accelerator": "cpu",
        "runs_dir": str(runs),
        "progress": False,
    }
    model = {
        "network": {"class_path": "roots.networks.Scratch", "init_args": {"config": BERT}},
        "optimizer": {"class_path": "roots.optim.AdamW", "init_args": {"learning_rate": 3e-3}},
        "schedule": {"class_path": "roots.optim.WarmupLinear", "init_args": {"warmup_steps": 2}},
        "micro_batch_size": 4,
    }
    data = {
        "train": str(folder / "train.json"),
        "val": str(folder / "dev.json"),
        "tokenizer": str(folder / "tokenizer"),
        "seq_len": 32,
        "stride": 8,
        "max_question_tokens": 8,
        "sequences_per_step": 4,
        "threshold_fraction": 0.3,
    }
    return {
        "name": "quiz",
        "seed": 1,
        "model": {"class_path": "roots.modules.QuestionAnswering", "init_args": model},
        "data": {"class_path": "roots.data.Questions", "init_args": data},
        "trainer": {**settings, **trainer},
    }
