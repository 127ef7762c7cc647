"""Characters: a token per character, exact both ways, and opened by other tools."""

from __future__ import annotations

import json
import os
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer

from roots.corpus import Characters, Corpus
from roots.corpus.cutting import parts
from roots.data import TokenCorpus
from roots.errors import ConfigError, DataError
from roots.shards import ShardFolder
from roots.sources import Text
from roots.tokenizer import Tokenizer

ALPHABET = "aB1 .\n\t\r'<|>endoftxté根🌱\u0301\u00a0\x85\x1c\u2581\u200d\ufeff\x00"
"""Among them what other tokenizers treat apart: `▁`, a combining accent, a joiner, NUL."""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Characters().make([ALPHABET])


texts = st.text(alphabet=st.sampled_from(list(ALPHABET)))


@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_a_text_is_one_token_per_character_and_comes_back(tokenizer, text) -> None:
    ids = tokenizer.encode(text)
    assert ids == [sorted(set(ALPHABET)).index(each) for each in text]
    assert tokenizer.decode(ids) == text


@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_byte_lengths_add_up_to_the_bytes_of_the_text(tokenizer, text) -> None:
    assert tokenizer.byte_lengths()[tokenizer.encode(text)].sum() == len(text.encode())


@settings(max_examples=200, deadline=None)
@given(text=texts, size=st.integers(0, 5))
def test_parts_encode_to_what_the_whole_encodes_to(tokenizer, text, size) -> None:
    assert tokenizer.cuts_at_lines
    pieces = list(parts(text, size))
    assert list(chain(*tokenizer.encode_batch(pieces))) == tokenizer.encode(text)


def test_the_end_of_a_document_is_the_last_id_and_stands_for_no_text(tokenizer) -> None:
    last = len(set(ALPHABET))
    assert tokenizer.vocab_size == last + 1
    assert (tokenizer.eos_id, tokenizer.bos_id, tokenizer.pad_id) == (last, last, last)
    assert tokenizer.byte_lengths()[last] == 0
    assert tokenizer.special_ids == {last}


def test_a_written_special_token_stays_text(tokenizer) -> None:
    written = "<|endoftext|>"
    assert len(tokenizer.encode(written)) == len(written)
    assert tokenizer.eos_id not in tokenizer.encode(written)


def test_the_order_of_the_texts_does_not_matter() -> None:
    one, other = Characters().make(["bca", "a\n"]), Characters().make(["\nc", "ab"])
    assert one.definition == other.definition
    assert one.decode([0, 1, 2, 3]) == "\nabc"


def test_tokenizers_and_transformers_open_the_saved_folder(tokenizer, tmp_path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    text = "a é根🌱▁\n B1."
    ids = tokenizer.encode(text)
    plain = RustTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert (plain.encode(text).ids, plain.decode(ids)) == (ids, text)
    other = AutoTokenizer.from_pretrained(str(tmp_path))
    assert other(text)["input_ids"] == ids
    assert other.decode(ids) == text
    assert other.eos_token_id == tokenizer.eos_id
    assert Tokenizer.load(tmp_path).encode(text) == ids


def test_a_character_that_is_not_there_is_named_and_the_cure_works(tokenizer) -> None:
    with pytest.raises(
        DataError, match=r"of 31 has no token for 'Z' \(U\+005A\), '中' \(U\+4E2D\)\."
    ):
        tokenizer.encode("Za中")
    assert len(set(ALPHABET)) + 1 == 31
    cured = Characters(extra_characters="Z中").make([ALPHABET])
    assert cured.decode(cured.encode("Za中")) == "Za中"


def test_many_characters_that_are_not_there_are_counted(tokenizer) -> None:
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 25)))
    with pytest.raises(DataError, match=r"U\+4E09\) and 15 more\. Leave"):
        tokenizer.encode_batch(["a", many])


def test_more_characters_than_there_is_room_for_are_refused_and_the_cure_works() -> None:
    with pytest.raises(
        DataError, match=r"has 4 characters \(among them 'abcd'\), and vocab_size=4 "
    ):
        Characters(vocab_size=4).make(["abcd"])
    assert Characters(vocab_size=5).make(["abcd"]).vocab_size == 5


def test_a_vocabulary_without_room_is_refused_and_the_cure_works() -> None:
    with pytest.raises(
        ConfigError, match=r"vocab_size=2 has no room for 2 characters and 1 special"
    ):
        Characters(vocab_size=2, extra_characters="aba")
    assert Characters(vocab_size=3, extra_characters="aba").planned_vocab_size() == 3


def test_no_text_is_refused() -> None:
    with pytest.raises(DataError, match="The text has no character"):
        Characters().make([""])


def test_a_corpus_of_characters_balances_its_bytes_with_any_number_of_workers(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("Grüße, 熊 🐻.\nNoch eine Zeile.\n" * 20, encoding="utf-8")
    made = [corpus_of(tmp_path / "a.txt", tmp_path / f"{n}", workers=n) for n in (1, 2)]
    one, two = (ShardFolder.open(corpus.prepare(progress=False)) for corpus in made)
    lengths = Tokenizer.load(one.tokenizer_path).byte_lengths()
    tokens = np.asarray(one.shard("train").tokens)
    n_bytes = (tmp_path / "a.txt").stat().st_size
    assert lengths[tokens].sum() == one.manifest.splits["train"].bytes == n_bytes
    assert tokens.tolist() == np.asarray(two.shard("train").tokens).tolist()


def test_a_document_with_a_character_of_its_own_is_refused_by_name_and_the_cure_works(
    tmp_path,
) -> None:
    lines = [f"line {'é' if i == 3 else 'e'} {i}" for i in range(40)]
    path = tmp_path / "a.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    seeds = [
        seed
        for seed in range(50)
        if corpus_of(path, tmp_path / "x", val_fraction=0.2, seed=seed).divide(lines[3].encode())
        == "val"
    ]
    settings = {"document": "line", "val_fraction": 0.2, "seed": seeds[0]}
    with pytest.raises(DataError, match=r"no token for 'é' \(U\+00E9\).*extra_characters"):
        corpus_of(path, tmp_path / "no", **settings).prepare(progress=False)
    plan = Characters(extra_characters="é")
    corpus_of(path, tmp_path / "yes", tokenizer=plan, **settings).prepare(progress=False)


def test_a_text_is_divided_as_nanogpt_divides_it(tmp_path) -> None:
    for n in (1_000, 1_001, 1_009, 1_019):
        path = tmp_path / f"{n}.txt"
        path.write_text("".join("abcdefg\n"[(i * i) % 8] for i in range(n)))
        assert_divided_as_nanogpt(path, tmp_path / f"{n}")


@pytest.mark.skipif("ROOTS_DATA" not in os.environ, reason="ROOTS_DATA is not set")
def test_tiny_shakespeare_is_divided_as_nanogpt_divides_it(tmp_path) -> None:
    path = Path(os.environ["ROOTS_DATA"]) / "tinyshakespeare.txt"
    folder = assert_divided_as_nanogpt(path, tmp_path / "shards")
    vocabulary = json.loads(Tokenizer.load(folder.tokenizer_path).definition)["model"]["vocab"]
    assert len(vocabulary) == 65


def assert_divided_as_nanogpt(path: Path, out: Path) -> ShardFolder:
    """The definition is that of nanoGPT's data/shakespeare_char/prepare.py."""
    text = path.read_text()
    characters = sorted(set(text))
    train, val = text[: int(len(text) * 0.9)], text[int(len(text) * 0.9) :]
    data = TokenCorpus(shards=corpus_of(path, out), seq_len=64, val_fraction=0.1)
    data.prepare_data()
    for windows, expected in ((data.sequences("train"), train), (data.sequences("val"), val)):
        span = windows.span
        ids = np.asarray(span.shard.tokens[span.start : span.stop]).tolist()
        ids = [each for each in ids if each != data.tokenizer.eos_id]
        assert ids == [characters.index(each) for each in expected]
    return data.folder


def corpus_of(path: Path, out: Path, **settings) -> Corpus:
    document = settings.pop("document", "file")
    given = {"val_fraction": 0.0, "workers": 1, "tokenizer": Characters()} | settings
    return Corpus(source=Text(paths=str(path), document=document), out=str(out), **given)
