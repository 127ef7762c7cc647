"""Whole words: where they begin, by each kind of tokenizer and by a segmenter."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from roots.batch import IGNORE
from roots.corpus import BytePairs, Characters
from roots.errors import ConfigError, MissingExtra
from roots.objectives import Key, Masker, Masking
from roots.objectives.chinese_words import ChineseWords
from roots.objectives.words import MarkedWords
from roots.tokenizer import Tokenizer

TEXTS = ["The unbelievable fox, isn't it (here)? covid19 in foo_bar;"] * 3 + [
    "naïve ünïcode 根は深い"
]
CHINESE = "我来到北京清华大学 use PyTorch 训练模型，不错"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def word_piece(pieces: list[str]) -> Tokenizer:
    vocabulary = {piece: id_ for id_, piece in enumerate([*SPECIAL, *pieces])}
    rust = RustTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(lowercase=False)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece()
    rust.add_special_tokens(SPECIAL)
    return Tokenizer(
        definition=rust.to_str(),
        settings={"sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"},
    )


def sentence_piece() -> Tokenizer:
    rust = RustTokenizer(models.Unigram())
    rust.pre_tokenizer = pre_tokenizers.Metaspace()
    rust.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<unk>", "</s>", "<mask>"], unk_token="<unk>"
    )
    rust.train_from_iterator(TEXTS, trainer=trainer)
    settings = {"eos_token": "</s>", "mask_token": "<mask>"}
    return Tokenizer(definition=rust.to_str(), settings=settings)


def byte_level() -> Tokenizer:
    return BytePairs(vocab_size=300, extra_tokens=("<mask>",)).make(TEXTS)


@pytest.fixture(scope="module", name="bytes_of_pairs")
def _bytes_of_pairs() -> Tokenizer:
    return byte_level()


def cut(words: MarkedWords | ChineseWords, tokenizer: Tokenizer, text: str) -> list[str]:
    """The text in words, as hidden together."""
    ids = np.array([tokenizer.encode(text)], dtype=np.int64)
    starts = words.starts(ids)[0]
    parts = np.split(ids[0], np.flatnonzero(starts)[1:])
    return [tokenizer.decode(part.tolist()).removeprefix("##").strip(" ") for part in parts]


@pytest.mark.parametrize(
    ("make", "contraction"), [(byte_level, ["'t"]), (sentence_piece, ["'", "t"])]
)
def test_marks_and_punctuation_cut_words(
    make: Callable[[], Tokenizer], contraction: list[str]
) -> None:
    tokenizer = make()
    assert cut(MarkedWords(tokenizer), tokenizer, TEXTS[0]) == [
        "The", "unbelievable", "fox", ",", "isn", *contraction, "it", "(", "here", ")?", "covid19",
        "in", "foo", "_", "bar", ";",
    ]  # fmt: skip


def test_word_pieces_go_on_with_a_word() -> None:
    tokenizer = word_piece(["The", "un", "##believ", "##able", "fox", ",", "(", "here", ")"])
    words = cut(MarkedWords(tokenizer), tokenizer, "The unbelievable fox, (here)")
    assert words == ["The", "unbelievable", "fox", ",", "(", "here", ")"]


@settings(max_examples=200, deadline=None)
@given(text=st.text("ab1,( ", min_size=1, max_size=30).map(lambda text: " ".join(text.split())))
@example(text="a ,a")
def test_byte_level_words_are_those_of_an_expression(bytes_of_pairs, text) -> None:
    ids = np.array([bytes_of_pairs.encode(text)], dtype=np.int64)
    if not ids.size:
        return
    expected = {match.start() for match in re.finditer(r" ?[ab1]+| ?[,(]+", text)}
    lengths = bytes_of_pairs.byte_lengths()[ids[0]]
    begins = lengths.cumsum() - lengths
    starts = MarkedWords(bytes_of_pairs).starts(ids)[0]
    assert {int(at) for at in begins[starts]} == expected


def test_the_bytes_of_a_character_stay_together(bytes_of_pairs) -> None:
    text = "x 🌱🌳 根ü"
    ids = np.array([bytes_of_pairs.encode(text)], dtype=np.int64)
    starts = MarkedWords(bytes_of_pairs).starts(ids)[0]
    assert starts.sum() < len(starts)
    for part in np.split(ids[0], np.flatnonzero(starts)[1:]):
        assert "\ufffd" not in bytes_of_pairs.decode(part.tolist())


def test_byte_fallback_of_sentence_piece_stays_together() -> None:
    vocabulary = {"<unk>": 0, "</s>": 1, "▁a": 2, "▁": 3}
    vocabulary |= {f"<0x{byte:02X}>": 4 + byte for byte in range(256)}
    rust = RustTokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    tokenizer = Tokenizer(definition=rust.to_str(), settings={"eos_token": "</s>"})
    ids = [2, 3, *(4 + byte for byte in "根x,".encode())]
    starts = MarkedWords(tokenizer).starts(np.array([ids], dtype=np.int64))[0]
    #                             ▁a    ▁     根                  x      ,
    assert starts.tolist() == [True, True, False, False, False, False, True]


def test_a_tokenizer_without_marks_is_refused_and_tokens_are_the_cure() -> None:
    tokenizer = Characters().make(TEXTS)
    tokenizer.settings["mask_token"] = "a"
    with pytest.raises(ConfigError, match=r"does not mark where words begin.*unit to token"):
        Masker(Masking(unit="word"), tokenizer)
    Masker(Masking(unit="token"), tokenizer)


# -- Chinese --------------------------------------------------------------------------------------


def by_hand(text: str) -> list[str]:
    """Stands for a segmenter: it knows three words, and cuts all else by character or by script."""
    return re.findall(r"北京|清华大学|模型|[A-Za-z]+|[\s\S]", text)


def characters_of(*texts: str) -> Tokenizer:
    chinese = sorted({c for text in texts for c in text if c >= "\u2e80"})
    return word_piece([*chinese, "use", "Py", "##Torch"])


AS_BY_HAND = [
    "我", "来", "到", "北京", "清华大学", "use", "PyTorch", "训", "练", "模型", "，", "不", "错",
]  # fmt: skip


def test_characters_of_a_segmenters_word_belong_together() -> None:
    tokenizer = characters_of(CHINESE)
    words = cut(ChineseWords(tokenizer, by_hand), tokenizer, CHINESE)
    assert [word.replace(" ", "") for word in words] == AS_BY_HAND
    # the marks alone make a word of each character
    assert len(cut(MarkedWords(tokenizer), tokenizer, CHINESE)) == 18


def test_pieces_of_bytes_belong_to_the_segmenters_words(bytes_of_pairs) -> None:
    words = cut(ChineseWords(bytes_of_pairs, by_hand), bytes_of_pairs, CHINESE)
    assert words == AS_BY_HAND


def test_a_row_cut_within_a_character_is_segmented_all_the_same(bytes_of_pairs) -> None:
    ids = np.array([bytes_of_pairs.encode("北京清华大学")[1:-1]], dtype=np.int64)
    starts = ChineseWords(bytes_of_pairs, by_hand).starts(ids)[0]
    # two bytes are left of 北; 学 lost its last, so 清华大学 is no word any more
    begins = np.flatnonzero(starts)
    assert begins[0] == 0
    assert len(begins) >= 3


def test_no_word_lies_across_a_special_token() -> None:
    tokenizer = characters_of("北京")
    first, second = tokenizer.encode("北京")
    ids = np.array([[first, tokenizer.eos_id, second]], dtype=np.int64)
    assert ChineseWords(tokenizer, by_hand).starts(ids).tolist() == [[True, True, True]]


needs_jieba = pytest.mark.skipif(
    importlib.util.find_spec("jieba") is None, reason="jieba is not installed"
)


@needs_jieba
def test_jieba_finds_the_words() -> None:
    tokenizer = characters_of(CHINESE)
    words = cut(ChineseWords(tokenizer), tokenizer, CHINESE)
    joined = [word.replace(" ", "") for word in words]
    assert joined == [
        "我", "来到", "北京", "清华大学", "use", "PyTorch", "训练", "模型", "，", "不错",
    ]  # fmt: skip


@needs_jieba
def test_words_that_jieba_found_are_hidden_whole() -> None:
    tokenizer = characters_of(CHINESE)
    masker = Masker(Masking(unit="word", words="jieba", rate=0.3), tokenizer)
    ids = np.array([tokenizer.encode(CHINESE)] * 40, dtype=np.int64)
    hidden = masker(ids, [Key(0, row, 0) for row in range(40)]).labels != IGNORE
    beijing = tokenizer.encode(CHINESE).index(tokenizer.encode("北")[0])
    assert (hidden[:, beijing] == hidden[:, beijing + 1]).all()
    assert 0 < hidden[:, beijing].sum() < 40


def test_without_jieba_the_install_line_is_given(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    tokenizer = characters_of(CHINESE)
    with pytest.raises(MissingExtra, match=r"roots-lm\[chinese\].*words to tokenizer"):
        Masker(Masking(unit="word", words="jieba"), tokenizer)
    Masker(Masking(unit="word", words="tokenizer"), tokenizer)


# -- the masker -----------------------------------------------------------------------------------


def test_the_masker_hides_ordinary_tokens_and_draws_them(bytes_of_pairs) -> None:
    masker = Masker(Masking(rate=0.5, mask_fraction=0.0, random_fraction=1.0), bytes_of_pairs)
    ids = np.array([[bytes_of_pairs.eos_id, *bytes_of_pairs.encode(TEXTS[0])]] * 30)
    out = masker(ids, [Key(0, row, 0) for row in range(30)])
    hidden = out.labels != IGNORE
    assert not hidden[:, 0].any()
    special = sorted(bytes_of_pairs.special_ids)
    assert not np.isin(out.input_ids[hidden], special).any()


def test_padding_that_is_no_special_token_is_left_alone(bytes_of_pairs) -> None:
    masker = Masker(Masking(rate=1.0), bytes_of_pairs)
    ids = np.array([bytes_of_pairs.encode("a fox isn't here")])
    padding = np.zeros_like(ids, dtype=bool)
    padding[:, -3:] = True
    out = masker(ids, [Key(0, 0, 0)], padding=padding)
    np.testing.assert_array_equal(out.labels != IGNORE, ~padding)


def test_a_tokenizer_without_a_mask_token_is_refused_and_one_with_it_is_the_cure() -> None:
    with pytest.raises(ConfigError) as caught:
        Masker(Masking(), BytePairs(vocab_size=270).make(TEXTS))
    assert "270 ids has no mask token (mask_token is None)" in str(caught.value)
    assert "extra_tokens: [<mask>]" in str(caught.value)
    Masker(Masking(), BytePairs(vocab_size=270, extra_tokens=("<mask>",)).make(TEXTS))
