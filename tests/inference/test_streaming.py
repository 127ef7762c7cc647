"""roots.inference.streaming: pieces are whole characters, and together the decoded text."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roots.inference import TextStream
from roots.tokenizer import Tokenizer

KINDS = ["byte_level", "sentencepiece_like", "word_pieces"]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
MANY = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PARTS = [
    "😀",
    "👩‍👩‍👧",
    "🇩🇪",
    "你好",
    "世",
    "e\u0301",
    "é",
    " ",
    "  ",
    "\n",
    "\ufffd",
    "cats",
    " dogs.",
    "'t",
    "a",
]


def pieces(tokenizer: Tokenizer, ids: list[int], after: list[int] | None = None) -> list[str]:
    stream = TextStream(tokenizer, after=after or [])
    return [*(stream.push(id_) for id_ in ids), stream.finish()]


@EVERY_KIND
@MANY
@given(parts=st.lists(st.sampled_from(PARTS) | st.text(max_size=4), max_size=30))
def test_a_text_comes_out_as_decode_gives_it_and_never_broken(
    kind: str, parts: list[str], tokenizers_of_every_kind: dict[str, Tokenizer]
) -> None:
    tokenizer = tokenizers_of_every_kind[kind]
    text = "".join(parts)
    ids = tokenizer.encode(text)
    found = pieces(tokenizer, ids)
    assert "".join(found) == tokenizer.decode(ids)
    if kind == "byte_level":
        assert "".join(found) == text
        if "\ufffd" not in text:
            assert not any("\ufffd" in piece for piece in found)


@EVERY_KIND
@MANY
@given(data=st.data())
def test_random_ids_come_out_as_decode_gives_them(
    kind: str, data: st.DataObject, tokenizers_of_every_kind: dict[str, Tokenizer]
) -> None:
    tokenizer = tokenizers_of_every_kind[kind]
    any_id = st.integers(0, tokenizer.vocab_size - 1)
    some = st.integers(0, min(260, tokenizer.vocab_size - 1))  # mostly single bytes
    ids = data.draw(st.lists(some | any_id, max_size=80))
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


@EVERY_KIND
@MANY
@given(data=st.data())
def test_after_a_prompt_the_pieces_are_what_the_whole_text_gains(
    kind: str, data: st.DataObject, tokenizers_of_every_kind: dict[str, Tokenizer]
) -> None:
    tokenizer = tokenizers_of_every_kind[kind]
    prompt = tokenizer.encode(data.draw(st.sampled_from(["Hello", "a cat ", "x " * 40, "é"])))
    ids = tokenizer.encode("x cats and dogs. 世界")[1:]
    whole = tokenizer.decode([*prompt, *ids])
    found = "".join(pieces(tokenizer, ids, prompt))
    assert tokenizer.decode(prompt) + found == whole


def test_a_character_of_several_tokens_waits_until_it_is_whole(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("𝔘")
    assert len(ids) == 4
    assert pieces(tokenizer, ids) == ["", "", "", "𝔘", ""]


def test_a_word_of_a_sentencepiece_tokenizer_keeps_its_space(
    tokenizers_of_every_kind: dict[str, Tokenizer],
) -> None:
    tokenizer = tokenizers_of_every_kind["sentencepiece_like"]
    ids = tokenizer.encode("cats and dogs")
    alone = "".join(tokenizer.decode([id_]) for id_ in ids)
    assert alone != "cats and dogs"  # what decoding one by one would print
    assert "".join(pieces(tokenizer, ids)) == "cats and dogs"


def test_an_unfinished_character_comes_out_at_the_end_as_decode_gives_it(
    tokenizer: Tokenizer,
) -> None:
    ids = tokenizer.encode("a𝔘")[:3]
    assert pieces(tokenizer, ids) == ["a", "", "", "\ufffd"]


def test_a_long_text_is_decoded_in_a_short_window(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    broken = tokenizer.encode("é")[:1] * 3 + tokenizer.encode("𝔘")[1:3]
    for id_ in (tokenizer.encode("cats and dogs 你好 ") + broken) * 40:
        stream.push(id_)
        assert len(stream._window) <= 24


def test_finish_gives_what_is_left_only_once(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    stream.push(tokenizer.encode("𝔘")[0])
    assert stream.finish() == "\ufffd"
    assert stream.finish() == ""


@pytest.mark.parametrize("prompt", ["cats 鶴亀", "鶴亀松竹", "x " * 40 + "鶴亀松"])
def test_bytes_that_a_prompt_ends_in_are_kept_with_those_that_follow(
    prompt: str, tokenizers_of_every_kind: dict[str, Tokenizer]
) -> None:
    tokenizer = tokenizers_of_every_kind["sentencepiece_like"]
    before, ids = tokenizer.encode(prompt), tokenizer.encode("x松竹 cats")[1:]
    whole = tokenizer.decode([*before, *ids])
    assert "\ufffd" not in whole
    assert tokenizer.decode(before) + "".join(pieces(tokenizer, ids, before)) == whole
