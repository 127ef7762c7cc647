"""Tokenizer: literal, exact in bytes, and opened by transformers."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from roots.corpus import BytePairs
from roots.corpus.cutting import parts
from roots.errors import DataError
from roots.tokenizer import Tokenizer, fetch_tokenizer

TEXTS = [
    "def main():\n    return 'naïve'  # ünïcode\n\n\nclass A:\n\tpass\n" * 5,
    "The quick brown fox isn't here; 12345 it'll be.\r\n" * 5,
    "根は深い。木漏れ日 🌱🌳 emoji 👩‍👩‍👧 done",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return BytePairs(vocab_size=400, extra_tokens=("<mask>",)).make(TEXTS)


def saved(rust: RustTokenizer, folder: Path, **settings: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(rust.to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_every_text_comes_back(tokenizer, text) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(text=st.one_of(st.text(), st.sampled_from(TEXTS)))
def test_byte_lengths_add_up_to_the_bytes_of_the_text(tokenizer, text) -> None:
    lengths = tokenizer.byte_lengths()
    assert lengths[tokenizer.encode(text)].sum() == len(text.encode())


def test_byte_lengths_have_a_row_for_every_id(tokenizer) -> None:
    lengths = tokenizer.byte_lengths()
    assert lengths.shape == (tokenizer.vocab_size,)
    assert lengths.dtype == np.int64
    assert lengths[sorted(tokenizer.special_ids)].tolist() == [0, 0]


def test_a_written_special_token_stays_text(tokenizer) -> None:
    text = "before <|endoftext|> <mask> after"
    ids = tokenizer.encode(text)
    assert tokenizer.special_ids.isdisjoint(ids)
    assert tokenizer.decode(ids) == text
    assert tokenizer.byte_lengths()[ids].sum() == len(text)


def test_a_batch_is_encoded_as_one_by_one(tokenizer) -> None:
    texts = [*TEXTS, "", "<|endoftext|>"]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_saved_and_loaded_is_the_same(tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    for name in ("fingerprint", "vocab_size", "eos_id", "bos_id", "pad_id", "mask_id"):
        assert getattr(loaded, name) == getattr(tokenizer, name)
    assert loaded.encode(TEXTS[2]) == tokenizer.encode(TEXTS[2])
    assert tokenizer.mask_id == tokenizer.token_id("<mask>") == 1
    loaded.save(tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_fingerprint_ignores_white_space_and_sees_a_token(tokenizer) -> None:
    definition = json.loads(tokenizer.definition)
    pretty = Tokenizer(definition=json.dumps(definition, indent=4), settings=tokenizer.settings)
    assert pretty.fingerprint == tokenizer.fingerprint
    definition["added_tokens"][1]["content"] = "<masc>"
    other = Tokenizer(definition=json.dumps(definition), settings=tokenizer.settings)
    assert other.fingerprint != tokenizer.fingerprint


@pytest.mark.filterwarnings("ignore")
def test_transformers_opens_the_saved_folder(tokenizer, tmp_path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text)) == text
    assert theirs.eos_token_id == theirs.bos_token_id == theirs.pad_token_id == tokenizer.eos_id
    assert theirs.mask_token_id == tokenizer.mask_id
    assert len(theirs) == tokenizer.vocab_size


def test_truncation_and_padding_in_the_file_cut_nothing(tokenizer, tmp_path) -> None:
    rust = RustTokenizer.from_str(tokenizer.definition)
    rust.enable_truncation(4)
    rust.enable_padding(length=64)
    loaded = Tokenizer.load(saved(rust, tmp_path, eos_token="<|endoftext|>"))
    assert loaded.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


def test_a_special_token_may_be_written_out_in_full(tokenizer, tmp_path) -> None:
    rust = RustTokenizer.from_str(tokenizer.definition)
    saved(rust, tmp_path)
    full = {"eos_token": {"content": "<|endoftext|>", "lstrip": False}}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(full))
    assert Tokenizer.load(tmp_path).eos_id == tokenizer.eos_id


def test_a_folder_without_a_tokenizer_says_how_to_write_one(tmp_path, tokenizer) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path} holds no tokenizer\.json.*save_pretrained"):
        Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path)
    Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("tokenizer.json", "{", r"tokenizer\.json \(1 characters\) is damaged"),
        ("tokenizer_config.json", "{", r"tokenizer_config\.json is not JSON"),
        ("tokenizer_config.json", "[]", "holds no JSON object"),
        ("tokenizer.json", b"\xff", r"tokenizer\.json is no text in UTF-8 \(.* at byte 0\)"),
        ("tokenizer_config.json", b"\xff", r"tokenizer_config\.json is no text in UTF-8"),
        ("chat_template.jinja", b"{{ \xff", r"chat_template\.jinja is no text in UTF-8.*byte 3"),
        ("tokenizer.json", RustTokenizer(models.BPE()).to_str(), "a vocabulary of no tokens"),
    ],
)
def test_a_damaged_file_is_named(tokenizer, tmp_path, name, text, words) -> None:
    tokenizer.save(tmp_path)
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=words):
        Tokenizer.load(tmp_path)


def test_a_file_of_others_is_named(tokenizer, tmp_path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    tokenizer.save(tmp_path)
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(DataError, match=r"tokenizer\.json cannot be read: Permission denied"):
        Tokenizer.load(tmp_path)


def test_word_pieces_count_the_bytes_without_white_space(tmp_path) -> None:
    rust = RustTokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    trainer = trainers.WordPieceTrainer(special_tokens=specials, show_progress=False)
    rust.train_from_iterator(TEXTS, trainer=trainer)
    loaded = Tokenizer.load(
        saved(rust, tmp_path, sep_token="[SEP]", cls_token="[CLS]", pad_token="[PAD]")
    )
    assert (loaded.bos_id, loaded.eos_id, loaded.pad_id) == (1, 2, 3)
    text = TEXTS[1]
    found = loaded.byte_lengths()[loaded.encode(text)].sum()
    assert found == len("".join(text.split()).encode())


def test_pieces_with_byte_fallback_count_the_space_before_the_first_word(tmp_path) -> None:
    words = ["▁the", "▁", "t", "h", "e", "根"]
    vocab = {"<unk>": 0, "</s>": 1, **{f"<0x{i:02X}>": 2 + i for i in range(256)}}
    vocab |= {word: 258 + i for i, word in enumerate(words)}
    merges = [("h", "e"), ("▁", "t"), ("▁t", "he")]
    vocab |= {"he": 264, "▁t": 265}
    rust = RustTokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True))
    rust.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    rust.decoder = decoders.ByteFallback()
    rust.add_special_tokens(["<unk>", "</s>"])
    loaded = Tokenizer.load(saved(rust, tmp_path, eos_token="</s>"))
    text = "the the 根\n🌱"
    assert loaded.byte_lengths()[loaded.encode(text)].sum() == 1 + len(text.encode())
    assert not loaded.cuts_at_lines


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(alphabet=st.sampled_from(list("ab1 \n\t\r'.é根🌱\u0301\u00a0\x85\x1c"))),
    size=st.integers(0, 5),
)
def test_parts_encode_to_what_the_whole_encodes_to(tokenizer, text, size) -> None:
    assert tokenizer.cuts_at_lines
    pieces = list(parts(text, size))
    assert "".join(pieces) == text
    assert list(chain(*tokenizer.encode_batch(pieces))) == tokenizer.encode(text)


@pytest.mark.parametrize("text", TEXTS)
def test_parts_of_real_text_encode_to_the_whole(tokenizer, text) -> None:
    pieces = list(parts(text * 50, 64))
    assert list(chain(*tokenizer.encode_batch(pieces))) == tokenizer.encode(text * 50)


def test_where_a_cut_is_not_proven_none_is_made(tokenizer) -> None:
    definition = json.loads(tokenizer.definition)
    changes = [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {**definition["pre_tokenizer"], "add_prefix_space": True}},
        {"pre_tokenizer": {**definition["pre_tokenizer"], "use_regex": False}},
        {"pre_tokenizer": {"type": "Whitespace"}},
    ]
    for change in changes:
        other = Tokenizer(
            definition=json.dumps(definition | change), settings={"eos_token": "<|endoftext|>"}
        )
        assert not other.cuts_at_lines, change


def test_a_name_too_long_for_a_folder_is_one_that_is_not_there() -> None:
    for opened in (Tokenizer.load, fetch_tokenizer):
        with pytest.raises(DataError, match=r"x{300} holds no tokenizer\.json"):
            opened(f"./{'x' * 300}")
    with pytest.raises(DataError, match=r"There is no folder x{300} here"):
        fetch_tokenizer("x" * 300)
