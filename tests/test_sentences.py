"""Words and the tokens that stand for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_tasks import DROPPED, write_wordpiece
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as RustTokenizer

from roots.tokenizer import UNREAD, Framing, Tokenizer, first_tokens, words_of

SENTENCES = [
    ["the", "cat", "sat", "on", "the", "mat", "."],
    ["don't", "stop", "now"],
    ["a"],
    ["the-cat", "'s", "http://t.co/x", "is", "é"],
]
BEFORE = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "llama3": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+| ?[^\s\p{L}]+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
    "roberta": pre_tokenizers.ByteLevel(add_prefix_space=True),
    "t5": pre_tokenizers.Metaspace(prepend_scheme="always"),
    "mistral": pre_tokenizers.Metaspace(prepend_scheme="first"),
    "metaspace": pre_tokenizers.Metaspace(prepend_scheme="never"),
    "gemma": pre_tokenizers.Metaspace(prepend_scheme="never"),
    "llama2": pre_tokenizers.Metaspace(prepend_scheme="always"),
}
"""What divides the texts that a tokenizer is trained on."""


def trained(kind: str) -> Tokenizer:
    """A byte-level or SentencePiece-like tokenizer whose words know the space before them."""
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = BEFORE[kind]
    spaced = "Metaspace" in type(BEFORE[kind]).__name__
    rust.decoder = decoders.Metaspace() if spaced else decoders.ByteLevel()
    texts = [" ".join(words) for words in SENTENCES] * 3
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<eos>"], show_progress=False)
    rust.train_from_iterator(texts, trainer)
    space = normalizers.Replace(" ", "▁")
    if kind == "gemma":  # its space is replaced before, so that this divides nothing
        rust.normalizer = space
        rust.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    if kind == "llama2":
        rust.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), space])
        rust.pre_tokenizer = None
    return Tokenizer(definition=rust.to_str(), settings={"eos_token": "<eos>"})


@pytest.mark.parametrize("kind", BEFORE)
def test_words_are_read_as_in_the_text_that_they_make(kind: str) -> None:
    framing = Framing(trained(kind), max_tokens=100)
    by_words = framing.frame_words(SENTENCES)
    as_texts = framing.frame([" ".join(words) for words in SENTENCES])
    assert [row.ids for row in by_words] == [row.ids for row in as_texts]


@pytest.mark.parametrize("kind", BEFORE)
def test_the_tokens_of_a_word_spell_it(kind: str) -> None:
    tokenizer = trained(kind)
    for words, row in zip(
        SENTENCES, Framing(tokenizer, max_tokens=100).frame_words(SENTENCES), strict=True
    ):
        starts = first_tokens(row.word_ids, len(words))
        for word, start, end in zip(words, starts, [*starts[1:], len(row.ids)], strict=True):
            assert tokenizer.decode(row.ids[start:end]).strip() == word


def test_a_word_without_a_token_is_unread(tmp_path: Path) -> None:
    framing = Framing(Tokenizer.load(write_wordpiece(tmp_path)), max_tokens=8)
    (row,) = framing.frame_words([["the", DROPPED, "dog", "ran", "mat", "mat", "it"]])
    assert row.word_ids == [None, 0, 2, 2, 2, 3, 3, None]  # `dog` and `ran` fall into letters
    assert first_tokens(row.word_ids, 7) == [1, UNREAD, 2, 5, UNREAD, UNREAD, UNREAD]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat (a dog) sat.", "The cat ( a dog ) sat ."),
        ("  don't  @user: https://t.co/x?y=1 !!", "don't @user : https://t.co/x?y=1 ! !"),
        ("«Où?» ...", "« Où ? » . . ."),
        ("", ""),
    ],
)
def test_a_text_is_divided_at_white_space_and_around_words(text: str, words: str) -> None:
    found = words_of(text)
    assert [word for word, _, _ in found] == words.split()
    assert all(text[start:end] == word for word, start, end in found)


def test_the_definition_of_a_framing_is_not_changed(tmp_path: Path) -> None:
    tokenizer = trained("gpt2")
    before = json.loads(tokenizer.definition)
    Framing(tokenizer, max_tokens=100).frame_words(SENTENCES)
    assert json.loads(tokenizer.definition) == before


def test_a_definition_may_leave_out_what_it_has_not() -> None:
    definition = json.loads(trained("gpt2").definition)
    definition["pre_tokenizer"] = None
    made = [Tokenizer(definition=json.dumps(definition), settings={"eos_token": "<eos>"})]
    del definition["pre_tokenizer"]
    made.append(Tokenizer(definition=json.dumps(definition), settings={"eos_token": "<eos>"}))
    whole, lacking = (Framing(each, max_tokens=100).frame_words(SENTENCES) for each in made)
    assert lacking == whole
