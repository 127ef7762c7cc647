"""The settings that trained tokenizers share: extra tokens, and how often a piece must stand."""

from __future__ import annotations

import json

import pytest

from roots.corpus import BytePairs, Unigram, WordPiece
from roots.errors import ConfigError


@pytest.mark.parametrize("plan", [Unigram, BytePairs])
@pytest.mark.parametrize("extra", ["###", "user"])
def test_a_plain_text_does_not_become_an_extra_token_that_it_spells(plan, extra) -> None:
    """One name has one id, and a merge of that name would take the special token's."""
    text = "### Heading user's\nuser 你好 Hello ä½ ### #### users\n"
    tokenizer = plan(vocab_size=340, extra_tokens=(extra,)).make([text * 50])
    ids = tokenizer.encode(text)
    assert tokenizer.token_id(extra) == 1
    assert 1 not in ids
    assert tokenizer.decode(ids) == text
    assert int(tokenizer.byte_lengths()[ids].sum()) == len(text.encode())
    assert sorted(json.loads(tokenizer.definition)["added_tokens"][1].items()) == sorted(
        {"id": 1, "content": extra, "special": True, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False}.items()
    )  # fmt: skip
    if plan is BytePairs:
        ids_of = json.loads(tokenizer.definition)["model"]["vocab"].values()
        assert sorted(ids_of) == list(range(tokenizer.vocab_size))


def test_only_extra_tokens_that_merges_may_build_change_the_recipe() -> None:
    assert "version" not in BytePairs(extra_tokens=("<mask>", "<|im_start|>")).recipe()
    assert BytePairs(extra_tokens=("<mask>", "user")).recipe()["version"] == 2


@pytest.mark.parametrize("plan", [Unigram, BytePairs])
def test_an_extra_token_that_is_there_already_is_one_token(plan) -> None:
    twice = plan(vocab_size=300, extra_tokens=("<x>", "<x>")).make(["ab ab"])
    once = plan(vocab_size=300, extra_tokens=("<x>",)).make(["ab ab"])
    assert twice.definition == once.definition
    masked = plan(vocab_size=300, special_tokens="roberta", extra_tokens=("<mask>",))
    plain = plan(vocab_size=300, special_tokens="roberta")
    assert masked.make(["ab ab"]).definition == plain.make(["ab ab"]).definition


@pytest.mark.parametrize("plan", [Unigram, BytePairs, WordPiece])
def test_a_number_of_times_below_zero_is_refused(plan) -> None:
    with pytest.raises(ConfigError, match=r"min_frequency=-1 is below 0\. .* such as 2"):
        plan(vocab_size=300, min_frequency=-1)
    assert plan(vocab_size=300, min_frequency=2).make(["ab ab"]).vocab_size > 5


@pytest.mark.parametrize("plan", [Unigram, BytePairs])
def test_an_empty_extra_token_is_refused(plan) -> None:
    with pytest.raises(ConfigError, match=r"extra_tokens holds an empty one.* Leave it out"):
        plan(vocab_size=300, extra_tokens=("<x>", ""))


@pytest.mark.parametrize("plan", [Unigram, BytePairs])
def test_an_extra_token_that_would_not_be_written_out_as_it_is_is_refused(plan) -> None:
    with pytest.raises(ConfigError, match=r"'<é>', whose letters stand .* Use letters of ASCII"):
        plan(vocab_size=300, extra_tokens=("<x>", "<é>"))
    tokens = ("<x>", "<你>", "<a é>")  # with a letter that stands for no byte, all of it is kept
    tokenizer = plan(vocab_size=300, extra_tokens=tokens).make(["ab ab"])
    for token in tokens:
        assert tokenizer.decode([tokenizer.token_id(token)]) == token
