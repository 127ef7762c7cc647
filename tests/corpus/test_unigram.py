"""Unigram: the most probable cut, the same file each time, every text decodes to itself."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import WORDS
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from roots.corpus import BytePairs, Unigram
from roots.corpus.cutting import parts
from roots.errors import ConfigError, DataError
from roots.objectives.words import MarkedWords
from roots.tokenizer import Framing, Tokenizer
from roots.tokenizer.fast_pairs import why_not

HARD = [
    "",
    "emoji 🐻‍❄️👩🏽‍🚀 and flags 🇩🇪🇨🇳",
    "中文分词，没有空格。日本語も한국어도",
    "\ttabs\t\tand    several   spaces  ",
    "lines\r\nof\rthree\n\n\nkinds\u2028\u2029\x85",
    "NUL \x00 and controls \x01\x7f\x1b",
    "\ufffe\uffff\U0001fffe\U0010ffff\ue000\ufdd0\ufeff\ufffd",
    "SentencePiece's ▁ and <0x41>, Ġ and Ċ of byte levels",
    "e\u0301 is not é; ﬁ is not fi; Å is not Å",
    "<|endoftext|> <s> </s> <pad> <mask> [MASK] <unk>",
    "x" * 3000 + " " * 3000,
]
TEXTS = [
    "Low lower lowest; new newer newest: wide wider widest!",
    "The café's naïve waiter was low, the newer wider.",
    "体验新闻标题 new 标题 2D 新闻",
    "low low new new wide  \n\n\tlow",
]


@pytest.fixture(scope="module")
def english() -> list[str]:
    rng = random.Random(1)
    return [" ".join(rng.choices(WORDS, k=40)) + f", {i * i}.\n" for i in range(60)]


@pytest.fixture(scope="module")
def tokenizer(english: list[str]) -> Tokenizer:
    return Unigram(vocab_size=420).make([*english, *TEXTS * 5])


def scores_of(tokenizer: Tokenizer) -> dict[str, float]:
    return dict(json.loads(tokenizer.definition)["model"]["vocab"])


def best_cut(word: str, scores: dict[str, float]) -> tuple[float, list[str]]:
    """Viterbi's search, the definition: the best cut of each beginning of a word."""
    best: list[tuple[float, list[str]]] = [(0.0, [])]
    for end in range(1, len(word) + 1):
        cuts = [
            (best[start][0] + scores[word[start:end]], [*best[start][1], word[start:end]])
            for start in range(end)
            if word[start:end] in scores
        ]
        best.append(max(cuts, key=lambda cut: cut[0]))
    return best[-1]


def check_encoding(tokenizer: Tokenizer, text: str) -> None:
    scores = scores_of(tokenizer)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
    cuts = [best_cut(word, scores) for word, _ in words]
    tokens = [tokenizer.tokens[id_] for id_ in tokenizer.encode(text)]
    assert "".join(tokens) == "".join(word for word, _ in words)
    found = math.fsum(scores[token] for token in tokens)
    assert found == pytest.approx(math.fsum(score for score, _ in cuts), abs=1e-6)


@pytest.mark.parametrize("text", HARD)
def test_hard_texts_decode_to_themselves(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.byte_lengths()[tokenizer.encode(text)].sum() == len(text.encode())


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_every_text_decodes_to_itself(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert not set(tokenizer.encode(text)) & tokenizer.special_ids


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from("lowernstdi tha 新闻标é\n🐻"), max_size=60))
def test_the_tokens_are_the_most_probable_cut(tokenizer: Tokenizer, text: str) -> None:
    check_encoding(tokenizer, text)


def test_the_tokens_are_the_most_probable_cut_of_long_and_hard_texts(
    tokenizer: Tokenizer, english: list[str]
) -> None:
    for text in [*english, *TEXTS, *HARD[:-1], "x" * 200, "".join(english[:3]).replace(" ", "")]:
        check_encoding(tokenizer, text)


def test_the_words_of_a_text_are_its_pieces_where_there_is_room() -> None:
    """Each word and the space before it is a piece, and nothing else is."""
    rng = random.Random(2)
    texts = ["".join(f" {word}" for word in rng.choices(WORDS, k=60)) for _ in range(40)]
    tokenizer = Unigram(vocab_size=257 + len(set(WORDS))).make(texts)
    long = {token for token in scores_of(tokenizer) if len(token) > 1} - {"<|endoftext|>"}
    assert long == {f"Ġ{word}" for word in WORDS}
    assert len(tokenizer.encode(texts[0])) == 60


def test_its_tokens_are_as_probable_as_those_of_the_librarys_trainer() -> None:
    """In bits per byte of the best cuts, on text that is large enough for both to find pieces."""
    texts = [Path(module.__file__).read_text() for module in (os, random, subprocess)]
    n_bytes = sum(len(text.encode()) for text in texts)
    rust = RustTokenizer(models.Unigram())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.UnigramTrainer(
        vocab_size=800,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    rust.train_from_iterator(texts, trainer=trainer)
    library = Tokenizer(definition=rust.to_str(), settings={"eos_token": "<|endoftext|>"})
    ours = Unigram(vocab_size=800).make(texts)
    assert ours.vocab_size == library.vocab_size == 800

    def bits_per_byte(tokenizer: Tokenizer) -> float:
        scores = scores_of(tokenizer)
        ids = [id_ for each in tokenizer.encode_batch(texts) for id_ in each]
        return -math.fsum(scores[tokenizer.tokens[id_]] for id_ in ids) / math.log(2) / n_bytes

    assert bits_per_byte(ours) < 1.01 * bits_per_byte(library)


def test_the_probabilities_are_normalised(tokenizer: Tokenizer) -> None:
    """Digamma takes a little of each, and most of the rare ones."""
    found = [score for score in scores_of(tokenizer).values() if score > -1e6]
    assert 0.9 < math.fsum(map(math.exp, found)) < 1


@pytest.mark.parametrize("threads", ["1", "5"])
def test_every_process_makes_the_same_whatever_the_order_of_the_texts(threads: str) -> None:
    code = (
        "from roots.corpus import Unigram;"
        f"print(Unigram(vocab_size=300).make({TEXTS[::-1]!r}).fingerprint)"
    )
    chosen = {"RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
    environment = {**os.environ, **chosen}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=environment
    )
    assert run.stdout.decode().strip() == Unigram(vocab_size=300).make(TEXTS).fingerprint


def test_reading_the_definition_again_changes_no_score(tokenizer: Tokenizer) -> None:
    """Numbers of few digits are read exactly, also where a reader is not careful."""
    again = json.loads(RustTokenizer.from_str(tokenizer.definition).to_str())
    assert again == json.loads(tokenizer.definition)


def test_a_written_special_token_is_text(english: list[str]) -> None:
    """Also one that is a word."""
    extra = ("<mask>", "cat", "[[")
    tokenizer = Unigram(vocab_size=400, extra_tokens=extra).make(english)
    for text in ("<|endoftext|>", "<mask>", "cat", " cat", "on the mat", "Ġthe", "a[[b", "[["):
        ids = tokenizer.encode(text)
        assert not set(ids) & tokenizer.special_ids, text
        assert tokenizer.decode(ids) == text
    assert len(tokenizer.special_ids) == 4
    assert tokenizer.mask_id == tokenizer.token_id("<mask>") == 1
    assert tokenizer.eos_id == tokenizer.pad_id == 0


def test_no_piece_cuts_a_character(tokenizer: Tokenizer) -> None:
    lengths = tokenizer.byte_lengths()
    long = [id_ for id_ in range(tokenizer.vocab_size) if lengths[id_] > 1]
    assert len(long) > 60
    assert "\ufffd" not in "".join(tokenizer.decode([id_]) for id_ in long)
    chinese = Unigram(vocab_size=300).make(["体验新闻标题", "新标题 新闻 新"] * 5)
    (one,) = chinese.encode("新")
    assert chinese.byte_lengths()[one] == 3


def test_rare_pieces_can_be_left_out(english: list[str]) -> None:
    all_of_it = Unigram(vocab_size=5000, min_frequency=1).make(english)
    frequent = Unigram(vocab_size=5000, min_frequency=60).make(english)
    text = "".join(english)
    lengths = frequent.byte_lengths()
    pieces = [frequent.decode([i]) for i in range(1, frequent.vocab_size) if lengths[i] > 1]
    assert pieces
    assert all(text.count(piece) >= 60 for piece in pieces)
    assert all_of_it.vocab_size > frequent.vocab_size


def test_a_saved_one_encodes_in_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    for text in (text for text in HARD if "endoftext" not in text):
        assert opened(text)["input_ids"] == tokenizer.encode(text)
        assert opened.decode(tokenizer.encode(text)) == text
    assert Tokenizer.load(tmp_path).fingerprint == tokenizer.fingerprint


def test_that_of_a_masked_model_frames_texts_as_roberta(english: list[str]) -> None:
    tokenizer = Unigram(vocab_size=300, special_tokens="roberta").make(english)
    ids = (tokenizer.bos_id, tokenizer.pad_id, tokenizer.eos_id, tokenizer.mask_id)
    assert ids == (0, 1, 2, 4)
    a, b = tokenizer.encode("a"), tokenizer.encode("b")
    assert Framing(tokenizer, max_tokens=16).frame([("a", "b")])[0].ids == [0, *a, 2, 2, *b, 2]


def test_words_begin_where_byte_pairs_say(tokenizer: Tokenizer) -> None:
    """For masking whole words: by the marks of a byte-level vocabulary."""
    text = "the cat sat,on the newest mat"
    pairs = BytePairs(vocab_size=300).make([text])

    def words(each: Tokenizer) -> list[str]:
        ids = each.encode(text)
        starts = MarkedWords(each).starts(np.array([ids]))[0].tolist()
        places = [i for i, start in enumerate(starts) if start] + [len(ids)]
        return [each.decode(ids[i:j]).strip() for i, j in pairwise(places)]

    assert words(tokenizer) == words(pairs) == "the cat sat , on the newest mat".split()  # noqa: SIM905


def test_long_texts_may_be_encoded_in_parts(tokenizer: Tokenizer, english: list[str]) -> None:
    text = "".join(english) + "\n\n  x \n y\n"
    assert tokenizer.cuts_at_lines
    cut = list(parts(text, 100))
    assert len(cut) > 20
    assert list(chain.from_iterable(tokenizer.encode_batch(cut))) == tokenizer.encode(text)


def test_tiktoken_is_not_asked_to_encode_it(tokenizer: Tokenizer) -> None:
    assert why_not(tokenizer, TEXTS) == "it is no byte-level BPE"


# -- what is refused ----------------------------------------------------------------------------


def test_too_small_a_vocabulary_is_refused_with_the_size_that_is_enough() -> None:
    with pytest.raises(
        ConfigError, match=r"vocab_size=257 .* 256 bytes and 2 special .* at least 258"
    ):
        Unigram(vocab_size=257, extra_tokens=("<mask>",))
    smallest = Unigram(vocab_size=258, extra_tokens=("<mask>",)).make(["ab ab"])
    assert smallest.vocab_size == 258
    assert smallest.decode(smallest.encode("ab 新")) == "ab 新"


def test_special_tokens_that_there_are_not_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no special_tokens 'robert' \(did you mean 'roberta'"):
        Unigram(special_tokens="robert")  # type: ignore[arg-type]


def test_an_extra_token_that_is_the_sign_of_a_byte_is_refused() -> None:
    """It would be recognised in every text that has the sign: the byte could not be told."""
    for plan in (Unigram, BytePairs):
        with pytest.raises(ConfigError, match=r"extra_tokens holds '#', .* such as '<#>'"):
            plan(extra_tokens=("<mask>", "#"))
    assert Unigram(vocab_size=300, extra_tokens=("<#>",)).make(["a"]).token_id("<#>") == 1


def test_texts_without_a_character_are_refused() -> None:
    with pytest.raises(DataError, match=r"texts are empty\. Give at least one character"):
        Unigram().make(["", ""])
    assert Unigram(vocab_size=257).make([" "]).vocab_size == 257
