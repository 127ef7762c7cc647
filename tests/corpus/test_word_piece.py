"""WordPiece: the library's vocabulary, the same in every process, framed as BERT frames texts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertTokenizer

from roots.corpus import BytePairs, WordPiece
from roots.errors import ConfigError, DataError
from roots.tokenizer import Framing, Tokenizer

TEXTS = [
    "Low lower lowest; new newer newest: wide wider widest!",
    "The café's naïve waiter was low, the newer wider.",
    "体验新闻标题 new 标题 2D",
    "low low new new wide",
]


def trained_by_the_library(texts: list[str], vocab_size: int, **normalizer: bool) -> set[str]:
    rust = RustTokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(**normalizer)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False,
    )
    rust.train_from_iterator(texts, trainer=trainer)
    return set(rust.get_vocab())


def pieces(tokenizer: Tokenizer) -> list[str]:
    vocabulary = RustTokenizer.from_str(tokenizer.definition).get_vocab()
    return sorted(vocabulary, key=lambda piece: vocabulary[piece])


@pytest.mark.parametrize("lowercase", [True, False])
def test_it_has_the_pieces_that_the_library_trains(lowercase: bool) -> None:
    plan = WordPiece(vocab_size=1000, lowercase=lowercase, strip_accents=lowercase)
    library = trained_by_the_library(TEXTS, 1000, lowercase=lowercase, strip_accents=lowercase)
    ours = set(pieces(plan.make(TEXTS)))
    # joins of equal count come in any order in the library, and with them what is between
    characters = {p for p in library if len(p.removeprefix("##")) == 1}
    assert {p for p in ours if len(p.removeprefix("##")) == 1} == characters
    assert {"low", "new", "wide"} <= ours & library
    assert abs(len(ours) - len(library)) <= 3


def test_without_ties_it_is_the_librarys_vocabulary() -> None:
    """Each pair stands in the text another number of times."""
    texts = ["ab " * 50 + "cd " * 41 + "abe " * 31 + "fgh " * 17 + "cdi " * 9 + "jk " * 3]
    for vocab_size in (24, 26, 28, 40):
        library = trained_by_the_library(texts, vocab_size)
        assert set(pieces(WordPiece(vocab_size=vocab_size).make(texts))) == library


def test_every_process_makes_the_same() -> None:
    code = (
        "from roots.corpus import WordPiece;"
        f"print(WordPiece(vocab_size=90).make({TEXTS!r}).fingerprint)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True) for _ in range(2)]  # noqa: PLW1510
    assert {run.stdout.decode().strip() for run in runs} == {
        WordPiece(vocab_size=90).make(TEXTS).fingerprint
    }


def test_it_encodes_as_berts_own_tokenizer_with_its_vocabulary(tmp_path: Path) -> None:
    tokenizer = WordPiece(vocab_size=1000).make(TEXTS)
    (tmp_path / "vocab.txt").write_text("\n".join(pieces(tokenizer)) + "\n", encoding="utf-8")
    bert = BertTokenizer(vocab=str(tmp_path / "vocab.txt"), do_lower_case=True)
    framing = Framing(tokenizer, max_tokens=64)
    for text in [*TEXTS, "unseen Zürich 新标题", "  spaces\tand\nlines  "]:
        assert framing.frame([text])[0].ids == bert(text)["input_ids"]
    pair = framing.frame([(TEXTS[0], TEXTS[3])])[0]
    expected = bert(TEXTS[0], TEXTS[3])
    assert pair.ids == expected["input_ids"]
    assert pair.type_ids == expected["token_type_ids"]


def test_a_saved_one_frames_texts_in_transformers(tmp_path: Path) -> None:
    tokenizer = WordPiece(vocab_size=200).make(TEXTS)
    tokenizer.save(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    encoded = opened("new low", "wide")
    assert opened.convert_ids_to_tokens(encoded["input_ids"]) == (
        ["[CLS]", "new", "low", "[SEP]", "wide", "[SEP]"]
    )
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert (opened.mask_token_id, opened.pad_token_id) == (4, 0)


def test_its_special_tokens_have_their_roles() -> None:
    tokenizer = WordPiece(vocab_size=200).make(TEXTS)
    ids = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.mask_id)
    assert ids == (0, 2, 3, 4)
    assert tokenizer.special_ids == {0, 1, 2, 3, 4}
    assert 4 not in tokenizer.encode("a written [MASK] is text")


def test_rare_characters_can_be_left_out() -> None:
    tokenizer = WordPiece(vocab_size=60, max_characters=4).make(["aaaa bbb cc d e eeeee"])
    assert [p for p in pieces(tokenizer) if len(p) == 1] == ["a", "b", "c", "e"]
    assert tokenizer.encode("d") == [1]  # unknown


# -- what is refused ----------------------------------------------------------------------------


def test_too_small_a_vocabulary_is_refused_with_the_size_that_is_enough() -> None:
    with pytest.raises(ConfigError, match=r"vocab_size=5 .* at least 6"):
        WordPiece(vocab_size=5)
    with pytest.raises(
        DataError, match=r"has 3 characters, .* are 6, and vocab_size=8 .* at least 11,"
    ):
        WordPiece(vocab_size=8).make(["ab bc ca ac"])
    WordPiece(vocab_size=11).make(["ab bc ca ac"])
    WordPiece(vocab_size=8, max_characters=1).make(["ab bc ca ac"])


def test_a_text_without_a_word_is_refused() -> None:
    with pytest.raises(DataError, match="has no word"):
        WordPiece().make(["  \n"])
    with pytest.raises(ConfigError, match=r"max_characters=-1 .* 0 for all"):
        WordPiece(max_characters=-1)


# -- byte pairs with special tokens of a masked model ---------------------------------------------


def test_byte_pairs_of_a_masked_model_frame_texts_as_roberta(tmp_path: Path) -> None:
    tokenizer = BytePairs(vocab_size=300, special_tokens="roberta").make(TEXTS)
    ids = (tokenizer.bos_id, tokenizer.pad_id, tokenizer.eos_id, tokenizer.mask_id)
    assert ids == (0, 1, 2, 4)
    tokenizer.save(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    tokens = opened.convert_ids_to_tokens(opened("a", "b")["input_ids"])
    assert tokens == ["<s>", "a", "</s>", "</s>", "b", "</s>"]
    text = "Any text: 体验 🐻\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_recipe_of_byte_pairs_is_what_it_was_so_that_corpora_stay() -> None:
    arguments = {"vocab_size": 300, "min_frequency": 2, "extra_tokens": []}
    assert BytePairs(vocab_size=300).recipe()["init_args"] == arguments
    other = BytePairs(vocab_size=300, special_tokens="roberta").recipe()["init_args"]
    assert other == {**arguments, "special_tokens": "roberta"}


def test_special_tokens_that_there_are_not_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no special_tokens 'robert' \(did you mean 'roberta'"):
        BytePairs(special_tokens="robert")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"256 bytes and 5 special .* at least 261"):
        BytePairs(vocab_size=260, special_tokens="roberta")
    BytePairs(vocab_size=261, special_tokens="roberta")
