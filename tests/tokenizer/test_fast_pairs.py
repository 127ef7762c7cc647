"""FastPairs: tiktoken gives the ids of `tokenizers`, or the proof tells why it would not."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as RustTokenizer

from roots.corpus import BytePairs, Characters, WordPiece
from roots.tokenizer import Tokenizer, fast_pairs
from roots.tokenizer.fast_pairs import GPT2, PATTERNS, FastPairs, last_pieces, why_not

pytest.importorskip("tiktoken", reason="tiktoken is not installed: pip install -e '.[corpus]'")

TEXTS = [
    "def main():\n    return 'naïve'  # ünïcode\n\n\nclass A:\n\tpass\n" * 5,
    "The quick brown fox isn't here; 12345 it'll be. WE'LL, we'\u017fs 1234567\r\n\r\n  x" * 5,
    "根は深い。木漏れ日 🌱🌳 emoji 👩‍👩‍👧 done <|endoftext|> \u200b\u00a0\u3000 ½²٣Ⅷ",
    "aaaaaaaaaaaaaaa" * 30 + "   " * 40 + "\n" * 50 + "!?" * 100,
]
EOS = "<|endoftext|>"
CLASSES_DIFFER = fast_pairs._classes_differ


def trained(pattern: str, **changes: Any) -> Tokenizer:
    """Trains as GPT-2 is, or as Llama 3 and Qwen are: a split pattern before the bytes."""
    if pattern == GPT2:
        tokenizer = BytePairs(vocab_size=600).make(TEXTS * 3)
    else:
        rust = RustTokenizer(models.BPE())
        parts = [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
        rust.pre_tokenizer = pre_tokenizers.Sequence(parts)
        rust.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        rust.train_from_iterator(
            TEXTS * 3,
            trainers.BpeTrainer(
                vocab_size=600, special_tokens=[EOS], initial_alphabet=alphabet, show_progress=False
            ),
        )
        tokenizer = Tokenizer(definition=rust.to_str(), settings={"eos_token": EOS})
    return changed(tokenizer, lambda definition: definition["model"].update(changes))


def changed(tokenizer: Tokenizer, change: Callable[[dict[str, Any]], object]) -> Tokenizer:
    definition = json.loads(tokenizer.definition)
    change(definition)
    return Tokenizer(definition=json.dumps(definition), settings=tokenizer.settings)


@pytest.fixture(scope="module", params=[(p, i) for p in PATTERNS for i in (False, True)])
def tokenizer(request) -> Tokenizer:
    pattern, ignore_merges = request.param
    return trained(pattern, ignore_merges=ignore_merges)


@pytest.fixture(scope="module")
def fast(tokenizer: Tokenizer) -> FastPairs:
    return FastPairs(tokenizer)


@pytest.fixture(autouse=True, scope="module")
def classes_once():
    """Compares all characters once, not in every test."""
    with pytest.MonkeyPatch.context() as patch:
        found = CLASSES_DIFFER()
        patch.setattr(fast_pairs, "_classes_differ", lambda: found)
        yield


def test_the_proof_goes_through_for_trained_tokenizers(tokenizer) -> None:
    assert why_not(tokenizer, TEXTS) is None


@settings(max_examples=60, deadline=None)
@given(text=st.lists(st.one_of(st.text(), st.sampled_from(["'s", " ", "\n", *TEXTS]))).map("".join))
def test_the_ids_are_those_of_tokenizers(tokenizer, fast, text) -> None:
    assert fast.encode(text).tolist() == tokenizer.encode(text)


ASCII = st.text(st.characters(max_codepoint=127))
WORDS = st.sampled_from(
    ["'s", "'S", "'LL", "'l", " ", "  ", "\n", "\r\n", "\x1c", "don't", " 1234", "_a"]
)


@settings(max_examples=200, deadline=None)
@given(text=st.lists(st.one_of(ASCII, WORDS), max_size=12).map("".join))
def test_the_ids_of_ascii_are_those_of_tokenizers(tokenizer, fast, text) -> None:
    assert fast.encode(text).tolist() == tokenizer.encode(text)


def test_words_are_remembered_up_to_a_number_and_a_length(tokenizer, monkeypatch) -> None:
    monkeypatch.setattr(fast_pairs, "_REMEMBERED", 8)
    fast = FastPairs(tokenizer)
    text = " ".join(f"word{number % 20}" for number in range(60)) + " " + "long" * 40
    assert fast.encode(text).tolist() == tokenizer.encode(text)
    remembered = fast._ids_of.__self__
    assert 0 < len(remembered) <= 8
    assert max(map(len, remembered)) < 100


def test_ids_that_do_not_follow_the_merges_are_kept(tokenizer) -> None:
    """As RoBERTa's do not, which are sorted by frequency."""

    def reverse(definition: dict[str, Any]) -> None:
        vocabulary = definition["model"]["vocab"]
        last = max(vocabulary.values())
        definition["model"]["vocab"] = {token: last - id_ for token, id_ in vocabulary.items()}
        definition["added_tokens"] = []

    other = changed(tokenizer, reverse)
    assert why_not(other, TEXTS) is None
    assert other.encode(TEXTS[0]) != tokenizer.encode(TEXTS[0])
    assert FastPairs(other).encode(TEXTS[0]).tolist() == other.encode(TEXTS[0])


def test_a_run_of_white_space_beyond_tiktoken_is_encoded_all_the_same() -> None:
    tokenizer = trained(GPT2)
    text = "a" + " " * 1_200_000 + "b"
    fast = FastPairs(tokenizer)
    with pytest.raises(ValueError, match="stack"):
        fast._encoding.encode_to_numpy(text, disallowed_special=())
    assert fast.encode(text).tolist() == tokenizer.encode(text)


def with_merges(*merges: str, ignore_merges: bool = False) -> Tokenizer:
    """A tokenizer of bytes and these merges."""
    tokens = [EOS, *fast_pairs.BYTE_OF, *dict.fromkeys(m.replace(" ", "") for m in merges)]
    vocabulary = {token: id_ for id_, token in enumerate(tokens)}

    def put(definition: dict[str, Any]) -> None:
        definition["model"] |= {
            "vocab": vocabulary,
            "merges": [merge.split(" ") for merge in merges],
            "ignore_merges": ignore_merges,
        }

    return changed(trained(GPT2), put)


@pytest.mark.parametrize(
    ("merges", "text", "words"),
    [
        (("b c", "a b", "ab c"), "xabc", r"no merge gives b'abc' of b'a' and b'bc'"),
        (("b c", "c d", "b cd"), "bcd", r"no merge gives b'bcd' of b'bc' and b'd'"),
        (("a b", "c d", "ab cd", "b c", "a bc"), "abc", "no merge gives b'abc' of b'ab' and b'c'"),
        (("b c", "a b", "c d", "ab cd"), "abcd", r"its merges never come to b'abcd'"),
        (("a b", "x y", "b c", "ab c", "z w", "a bc"), "xabc", "give b'abc' in two places"),
    ],
)
def test_merges_that_tiktoken_would_not_follow_are_found(merges, text, words) -> None:
    why = why_not(with_merges(*merges))
    assert why is not None
    assert re.search(words, why)
    if "two places" not in words:  # the ids really are others
        tokenizer = with_merges(*merges)
        assert FastPairs(tokenizer).encode(text).tolist() != tokenizer.encode(text)


def test_a_token_that_is_only_looked_up_as_a_whole_word_is_right_with_ignore_merges() -> None:
    tokenizer = with_merges("b c", "a b", "c d", "ab cd", ignore_merges=True)
    assert why_not(tokenizer, ["abcd xabcd", "abcd"]) is None
    assert len(tokenizer.encode("abcd")) == 1
    assert FastPairs(tokenizer).encode("abcd xabcd").tolist() == tokenizer.encode("abcd xabcd")


@settings(max_examples=120, deadline=None)
@given(
    pairs=st.lists(
        st.tuples(st.text("abc", min_size=1, max_size=3), st.text("abc", min_size=1, max_size=3)),
        max_size=8,
    ),
    texts=st.lists(st.text("abc", max_size=14), min_size=1, max_size=8),
    ignore_merges=st.booleans(),
)
def test_whatever_the_merges_are_the_proof_is_right(pairs, texts, ignore_merges) -> None:
    made = set("abc")
    merges = []
    for left, right in pairs:
        if left in made and right in made:
            merges.append(f"{left} {right}")
            made.add(left + right)
    tokenizer = with_merges(*merges, ignore_merges=ignore_merges)
    if why_not(tokenizer) is None:
        fast = FastPairs(tokenizer)
        assert [fast.encode(text).tolist() for text in texts] == tokenizer.encode_batch(texts)


def test_a_token_alone_is_joined_by_rank_from_the_left() -> None:
    ranks = {token: rank for rank, token in enumerate([b"a", b"b", b"aa", b"ab", b"aab", b"aaab"])}
    assert last_pieces(b"aab", ranks) == (b"aa", b"b")
    assert last_pieces(b"aaab", ranks) == (b"aa", b"ab")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(normalizer={"type": "NFC"}), r"normalises texts \(NFC\)"),
        (lambda d: d["pre_tokenizer"].update(add_prefix_space=True), "another pattern"),
        (lambda d: d["pre_tokenizer"].update(use_regex=False), "another pattern"),
        (lambda d: d["model"].update(dropout=0.1), "dropout=0.1"),
        (lambda d: d["added_tokens"][0].update(special=False), "added tokens"),
    ],
)
def test_what_tiktoken_cannot_do_is_named(change, words) -> None:
    why = why_not(changed(trained(GPT2), change))
    assert why is not None
    assert re.search(words, why)


def test_other_kinds_are_named() -> None:
    for plan in (WordPiece(vocab_size=300), Characters(vocab_size=300)):
        assert why_not(plan.make(TEXTS)) == "it is no byte-level BPE"


def test_other_ids_on_the_sample_are_named(monkeypatch) -> None:
    encode = FastPairs.encode
    monkeypatch.setattr(FastPairs, "encode", lambda self, text: encode(self, text + "!"))
    assert "other ids for the text that begins 'tree'" in str(why_not(trained(GPT2), ["tree"]))


def test_a_class_of_other_characters_is_named(monkeypatch) -> None:
    monkeypatch.setattr(fast_pairs, "_matches", lambda name, characters: iter(["a"]))
    assert r"\p{L} means other characters" in str(CLASSES_DIFFER())


def test_without_the_package_the_reason_says_how_to_install_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    monkeypatch.setattr(fast_pairs, "_classes_differ", CLASSES_DIFFER)
    assert "pip install 'roots-lm[corpus]'" in str(why_not(trained(GPT2)))
