"""Roles of special tokens that no file names: those that transformers' own classes give them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import WORDS
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from roots.errors import DataError
from roots.tokenizer import Tokenizer
from roots.tokenizer.roles import roles_told_by

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def byte_pairs(*special: str) -> RustTokenizer:
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rust.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    return rust


def word_pieces() -> RustTokenizer:
    rust = RustTokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer()
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=100, special_tokens=BERT, show_progress=False)
    rust.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    return rust


def gpt2() -> RustTokenizer:
    return byte_pairs("<|endoftext|>")


def bert() -> RustTokenizer:
    rust = word_pieces()
    rust.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return rust


def bert_by_template() -> RustTokenizer:
    rust = word_pieces()
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return rust


def roberta() -> RustTokenizer:
    rust = byte_pairs(*ROBERTA)
    rust.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return rust


def write(folder: Path, rust: RustTokenizer, family: str, **settings: object) -> Path:
    rust.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("family", "made", "settings"),
    [
        ("bert", bert, {"do_lower_case": False, "model_max_length": 512}),
        ("bert", bert_by_template, {"do_lower_case": False, "model_max_length": 512}),
        ("gpt2", gpt2, {"model_max_length": 1024}),
        ("roberta", roberta, {"model_max_length": 512}),
    ],
)
def test_the_roles_are_those_of_the_class_of_the_family(
    tmp_path: Path, family: str, made: Callable[[], RustTokenizer], settings: dict[str, object]
) -> None:
    from transformers import AutoTokenizer

    write(tmp_path, made(), family, **settings)
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), Tokenizer.load(tmp_path)
    assert type(theirs).__name__.lower().startswith(family)
    eos = theirs.sep_token_id if theirs.eos_token_id is None else theirs.eos_token_id
    assert ours.eos_id == eos
    bos = theirs.cls_token_id if theirs.bos_token_id is None else theirs.bos_token_id
    assert ours.bos_id == bos
    assert ours.pad_id == (eos if theirs.pad_token_id is None else theirs.pad_token_id)
    assert ours.mask_id == theirs.mask_token_id
    for role in ("cls_token", "sep_token"):
        assert ours.settings.get(role) == getattr(theirs, role)
    ours.save(tmp_path / "saved")
    again = Tokenizer.load(tmp_path / "saved")
    assert again.vocabulary == ours.vocabulary
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert (theirs.eos_token_id, theirs.mask_token_id) == (ours.eos_id, ours.mask_id)


def test_what_the_files_name_stays() -> None:
    definition = byte_pairs("<|endoftext|>", "</s>", "<pad>", "<mask>").to_str()
    named = {"eos_token": "<|endoftext|>"}
    assert Tokenizer(definition=definition, settings=named).settings == named
    by_sep = Tokenizer(definition=definition, settings={"sep_token": "<|endoftext|>"})
    assert (by_sep.eos_id, by_sep.pad_id, by_sep.mask_id) == (0, 0, None)
    some = Tokenizer(definition=definition, settings={"pad_token": "</s>"})
    assert (some.eos_id, some.pad_id, some.mask_id) == (1, 1, 3)


def test_what_stands_on_one_side_of_a_text_begins_or_ends_it() -> None:
    rust = byte_pairs("<|begin|>", "<|end|>")
    template = processors.TemplateProcessing
    begin, end = ("<|begin|>", 0), ("<|end|>", 1)
    for single, special, roles in (
        ("<|begin|> $A", [begin], {"bos_token": "<|begin|>"}),
        ("$A <|end|>", [end], {"eos_token": "<|end|>"}),
        ("$A <|begin|> <|end|>", [begin, end], {}),
    ):
        around = template(single=single, special_tokens=special)
        rust.post_processor = processors.Sequence([processors.ByteLevel(), around])
        assert roles_told_by(rust.to_str()) == roles


def test_without_a_token_that_is_known_to_end_a_text_the_special_ones_are_told(
    tmp_path: Path,
) -> None:
    write(tmp_path, byte_pairs("<|begin|>", "<|stop|>"), "gpt2", bos_token="<nope>")
    words = r"no token ends a document.*\{'bos_token': '<nope>'\}.*are <\|begin\|>, <\|stop\|>\."
    with pytest.raises(DataError, match=words):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|stop|>"}')
    assert Tokenizer.load(tmp_path).eos_id == 1
