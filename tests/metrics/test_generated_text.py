"""GeneratedText against sacrebleu and rouge_score on the whole corpus, and its limits."""

from __future__ import annotations

import sys

import pytest
from measured import N_ROWS, texts

from roots.errors import ConfigError, DataError, MissingExtra
from roots.metrics import GeneratedText

sacrebleu = pytest.importorskip("sacrebleu", reason="sacrebleu is not installed")


def measure(predictions: list[str], references: list, **settings: object) -> dict[str, float]:
    metric = GeneratedText(**settings)
    for row in range(len(predictions)):  # row by row, so that equality shows that counts add up
        metric.update(predictions[row : row + 1], references[row : row + 1])
    return metric.values()


def streams(references: list[list[str]]) -> list[list[str | None]]:
    longest = max(map(len, references))
    return [[row[n] if n < len(row) else None for row in references] for n in range(longest)]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("tokenizer", ["13a", "intl", "char", "none"])
def test_bleu_row_by_row_equals_sacrebleus_of_the_corpus(tokenizer: str, lowercase: bool) -> None:
    predictions, references = texts()
    predictions[0] = "The " + predictions[0]
    values = measure(predictions, references, tokenizer=tokenizer, lowercase=lowercase)
    theirs = sacrebleu.BLEU(tokenize=tokenizer, lowercase=lowercase)
    score = theirs.corpus_score(predictions, streams(references)).score
    assert values["bleu"] == score
    assert 0 < score < 100


@pytest.mark.parametrize("words", [0, 2])
def test_chrf_row_by_row_equals_sacrebleus_of_the_corpus(words: int) -> None:
    predictions, references = texts()
    values = measure(predictions, references, chrf_words=words)
    theirs = sacrebleu.CHRF(word_order=words).corpus_score(predictions, streams(references))
    assert values["chrf"] == theirs.score


def test_chinese_is_cut_into_characters_for_bleu() -> None:
    predictions, references = ["我喜欢猫和狗。", "今天天气很好"], ["我喜欢猫和鸟。", "今天天气不好"]
    values = measure(predictions, references, tokenizer="zh", rouge_words="unicode")
    assert (
        values["bleu"]
        == sacrebleu.BLEU(tokenize="zh").corpus_score(predictions, [references]).score
    )
    assert values["rouge1"] == pytest.approx(5 / 6)  # of six characters, each row has one wrong
    assert measure(predictions, references)["rouge1"] == 0


def test_rouge_equals_googles() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer", reason="rouge-score is not installed")
    predictions, references = texts()
    values = measure(predictions, references)
    theirs = scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    for name in ("rouge1", "rouge2", "rougeL"):
        rows = zip(references, predictions, strict=True)
        scores = [theirs.score_multi(several, text)[name].fmeasure for several, text in rows]
        assert values[name] == pytest.approx(sum(scores) / N_ROWS, rel=1e-6)


def test_rouge_of_a_hand_made_row() -> None:
    values = measure(["the cat sat on the mat"], ["the dog sat on a mat"])
    assert values["rouge1"] == pytest.approx(4 / 6)  # the, sat, on, mat
    assert values["rouge2"] == pytest.approx(1 / 5)  # sat on
    assert values["rougeL"] == pytest.approx(4 / 6)


def test_words_of_other_scripts_are_kept_when_asked_for() -> None:
    pair = (["für die Küche 3"], ["für eine Küche 3"])
    assert measure(*pair, rouge_words="unicode")["rouge1"] == pytest.approx(3 / 4)
    assert measure(*pair)["rouge1"] == pytest.approx(5 / 6)  # f, r, k, che, 3 of six: not words


def test_the_same_text_is_perfect_and_another_is_nothing() -> None:
    sentence = "the quick brown fox jumps"
    perfect = measure([sentence] * 2, [[sentence], ["no", f" {sentence}\n"]])
    assert perfect == pytest.approx(
        {"bleu": 100, "chrf": 100, "rouge1": 1, "rouge2": 1, "rougeL": 1, "exact_match": 1}
    )
    assert set(measure([sentence, ""], ["?! ;;", "?"]).values()) == {0.0}


def test_the_signature_is_sacrebleus() -> None:
    predictions = texts()[0]
    metric, theirs = GeneratedText(lowercase=True), sacrebleu.BLEU(lowercase=True)
    metric.update(predictions, predictions)
    theirs.corpus_score(predictions, [predictions])
    assert metric.details()["signatures"]["bleu"] == str(theirs.get_signature())
    assert metric.details()["signatures"]["chrf"].startswith("nrefs:1|case:lc|eff:yes|nc:6|nw:0")


def test_the_signature_tells_that_the_number_of_references_varies() -> None:
    metric = GeneratedText()
    metric.update(["a"], [["a", "b"]])
    assert metric.details()["signatures"]["bleu"].startswith("nrefs:2|")
    metric.update(["a"], [["a"]])
    assert metric.details()["signatures"]["bleu"].startswith("nrefs:var|")


def test_rows_that_do_not_match_are_refused_with_their_numbers() -> None:
    metric = GeneratedText()
    with pytest.raises(DataError, match=r"^2 generated texts .* references of 1 rows"):
        metric.update(["a", "b"], ["a"])
    with pytest.raises(DataError, match=r"^Row 1 .* no reference"):
        metric.update(["a", "b"], [["a"], []])
    metric.update(["a", "b"], [["a"], ["b"]])


def test_unknown_choices_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'13' \(did you mean '13a'\?\).*13a, intl, zh"):
        GeneratedText(tokenizer="13")
    with pytest.raises(ConfigError, match=r"rouge_words 'german'.* english, unicode"):
        GeneratedText(rouge_words="german")
    with pytest.raises(ConfigError, match=r"chrf_words=-1 .* 2 for chrF"):
        GeneratedText(chrf_words=-1)
    GeneratedText(tokenizer="13a", rouge_words="unicode", chrf_words=2)


def test_without_sacrebleu_the_message_tells_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(MissingExtra, match=r"pip install 'roots-lm\[text-metrics\]'"):
        GeneratedText()


def test_the_marks_of_a_letter_belong_to_its_word() -> None:
    values = measure(["वह घर की"], [["वह घर कि"]], rouge_words="unicode")
    assert values["rouge1"] == pytest.approx(2 / 3)  # the last words differ in a vowel sign
    twice = measure(["cafe\u0301"], [["café"]], rouge_words="unicode")
    assert twice["rouge1"] == 1  # two ways to write one letter
