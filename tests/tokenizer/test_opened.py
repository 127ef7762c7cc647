"""AutoTokenizer gives the ids of Tokenizer, whatever class the source's files name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

from roots.corpus import BytePairs
from roots.tokenizer import Tokenizer

EOS = "<|endoftext|>"
TEXTS = [
    "Hello world, this is a small text about cats and dogs 2023 1999 42.",
    "def main(arguments):\n    return len(arguments)\n\n\n  x = 1234567 + 89\n\ty",
    "naïve café, e\u0301te\u0301 don't I'll  in 2023\n\n  it",
] * 4
PROBES = [
    "in 2023\n\n  it",
    "don't\n\n\n    return 1999 cats",
    "e\u0301te\u0301",
    " hello  world",
]


def trained(rust: RustTokenizer, *specials: str) -> str:
    alphabet = pre_tokenizers.ByteLevel.alphabet() if rust.decoder is not None else []
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=[EOS, *specials],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    rust.train_from_iterator(TEXTS, trainer)
    return rust.to_str()


def byte_level(*before: pre_tokenizers.PreTokenizer, normalizer: Any = None) -> str:
    rust = RustTokenizer(models.BPE())
    own = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.pre_tokenizer = pre_tokenizers.Sequence([*before, own])
    rust.decoder = decoders.ByteLevel()
    if normalizer is not None:
        rust.normalizer = normalizer
    return trained(rust)


def with_a_mark_before() -> str:
    rust = RustTokenizer(models.BPE(unk_token="<unk>"))
    rust.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return trained(rust, "<unk>")


@pytest.fixture(scope="module")
def definitions() -> dict[str, str]:
    return {
        "byte pairs": BytePairs(vocab_size=400).make(TEXTS).definition,
        "digits": byte_level(pre_tokenizers.Digits(individual_digits=True)),
        "composed": byte_level(normalizer=normalizers.NFC()),
        "marked": with_a_mark_before(),
    }


def written(tokenizer: Tokenizer, folder: Path, model_type: str) -> Path:
    AutoConfig.for_model(model_type).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def alike(opened: Any, tokenizer: Tokenizer) -> bool:
    found = [opened(text, add_special_tokens=False)["input_ids"] for text in PROBES]
    return found == tokenizer.encode_batch(PROBES)


@pytest.mark.parametrize("model_type", ["llama", "qwen3", "gpt2", "phi3", "gemma2"])
@pytest.mark.parametrize("kind", ["byte pairs", "digits", "composed", "marked"])
@pytest.mark.parametrize(
    "named", [None, "GPT2Tokenizer", "Qwen2Tokenizer", "LlamaTokenizer", "GPTNeoXTokenizerFast"]
)
def test_auto_tokenizer_gives_the_same_ids(
    model_type: str, kind: str, named: str | None, definitions: dict[str, str], tmp_path: Path
) -> None:
    settings = {"eos_token": EOS} | ({"tokenizer_class": named} if named else {})
    tokenizer = Tokenizer(definition=definitions[kind], settings=settings)
    folder = written(tokenizer, tmp_path, model_type)
    assert alike(AutoTokenizer.from_pretrained(folder), tokenizer)


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3_5_text"])
def test_where_transformers_insists_on_its_own_rules_the_general_class_gives_them(
    model_type: str, definitions: dict[str, str], tmp_path: Path
) -> None:
    tokenizer = Tokenizer(definition=definitions["byte pairs"], settings={"eos_token": EOS})
    folder = written(tokenizer, tmp_path, model_type)
    assert alike(PreTrainedTokenizerFast.from_pretrained(folder), tokenizer)


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3"])
def test_a_tokenizer_that_transformers_own_class_made_stays_equal(
    model_type: str, definitions: dict[str, str], tmp_path: Path
) -> None:
    model = json.loads(definitions["byte pairs"])["model"]
    theirs = Qwen2Tokenizer(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]])
    theirs.save_pretrained(tmp_path / "published")
    tokenizer = Tokenizer.load(tmp_path / "published")
    assert alike(theirs, tokenizer)
    folder = written(tokenizer, tmp_path / "ours", model_type)
    assert alike(AutoTokenizer.from_pretrained(folder), tokenizer)


def saved_settings(tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
    tokenizer.save(folder)
    read: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_text())
    return read


@pytest.mark.parametrize(
    ("named", "key", "value"),
    [
        ("LlamaTokenizerFast", "padding_side", "left"),
        ("BertTokenizer", "model_input_names", ["input_ids", "token_type_ids", "attention_mask"]),
        ("NllbTokenizer", "tokenizer_class", "NllbTokenizer"),  # it does more: languages
        ("GPT2Tokenizer", "tokenizer_class", "PreTrainedTokenizerFast"),
    ],
)
def test_what_a_class_sets_beside_its_rules_is_written(
    named: str, key: str, value: object, definitions: dict[str, str], tmp_path: Path
) -> None:
    settings = {"eos_token": EOS, "tokenizer_class": named}
    tokenizer = Tokenizer(definition=definitions["byte pairs"], settings=settings)
    assert saved_settings(tokenizer, tmp_path / "a")[key] == value
    assert saved_settings(Tokenizer.load(tmp_path / "a"), tmp_path / "b")[key] == value


def test_a_pair_has_its_types_as_under_the_class_of_bert(tmp_path: Path) -> None:
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "cats": 4, "dogs": 5}
    rust = RustTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.add_special_tokens(list(vocabulary)[:4])
    rust.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    settings = {"sep_token": "[SEP]", "cls_token": "[CLS]", "tokenizer_class": "BertTokenizer"}
    tokenizer = Tokenizer(definition=rust.to_str(), settings=settings)
    folder = written(tokenizer, tmp_path, "bert")
    encoded = AutoTokenizer.from_pretrained(folder)("cats", "dogs")
    assert encoded["input_ids"] == [2, 4, 3, 5, 3]
    assert encoded["token_type_ids"] == [0, 0, 0, 1, 1]


def test_code_that_is_not_in_the_folder_is_not_asked_for(
    definitions: dict[str, str], tmp_path: Path
) -> None:
    settings = {"eos_token": EOS, "auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}}
    tokenizer = Tokenizer(definition=definitions["digits"], settings=settings)
    assert "auto_map" not in saved_settings(tokenizer, tmp_path)
    assert alike(AutoTokenizer.from_pretrained(written(tokenizer, tmp_path, "mamba")), tokenizer)
