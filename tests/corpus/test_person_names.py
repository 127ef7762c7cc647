"""PersonNames: what a model finds is replaced. The model here knows three names for certain.

`pip install -e '.[presidio]'` brings what most of it needs.
"""

from __future__ import annotations

import logging

import pytest

from roots.corpus import PersonNames, Pii, Pipeline
from roots.corpus.stages import person_names
from roots.errors import ConfigError, DataError, MissingExtra
from roots.records import KEEP, Document, Edit

NAMES = ("Ann Lee", "Bo", "Ann")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A spaCy pipeline, made here, that finds the names above and a place."""
    pytest.importorskip("presidio_analyzer", reason="needs the extra `presidio`")
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    rules = [{"label": "PERSON", "pattern": name} for name in NAMES]
    nlp.add_pipe("entity_ruler").add_patterns([*rules, {"label": "GPE", "pattern": "Rome"}])
    folder = tmp_path_factory.mktemp("model") / "en_names"
    nlp.to_disk(folder)
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    return str(folder)


def test_names_are_replaced_and_counted_and_all_else_stays(model: str) -> None:
    stage = PersonNames(model=model)
    text = "Ann Lee met Bo  in Rome.\n\tBo left; Ann stayed, bo said."
    verdict = stage(Document(text, "a"))
    assert isinstance(verdict, Edit)
    after = "<PERSON> met <PERSON>  in Rome.\n\t<PERSON> left; <PERSON> stayed, bo said."
    assert verdict.document.text == after
    assert verdict.counts == {"person": 4}
    assert stage(Document("Rome is old.", "b")) == KEEP
    assert stage.redact("To Bo") == "To <PERSON>"
    assert PersonNames(model=model, placeholder="N.")(Document("Bo", "c")).document.text == "N."


def test_half_of_a_surrogate_pair_stays_and_names_around_it_are_found(model: str) -> None:
    assert PersonNames(model=model).redact("Bo \ud800 and Ann\udfff") == (
        "<PERSON> \ud800 and <PERSON>\udfff"
    )


@pytest.mark.parametrize("most", [12, 30, 1000])
def test_a_long_text_is_cut_between_words(model: str, monkeypatch, most: int) -> None:
    monkeypatch.setattr(person_names, "_MOST_CHARACTERS", most)
    text = "\n".join(["Bo was here", "in Rome", "x" * 40, "and Bo too"] * 20) + " \n" * 3
    after = PersonNames(model=model).redact(text)
    assert after == text.replace("Bo", "<PERSON>")
    assert "".join(person_names._pieces(text)) == text
    assert max(map(len, person_names._pieces(text))) <= most


@pytest.mark.slow
def test_a_pipeline_of_two_processes_replaces_the_same(model: str) -> None:
    documents = [
        Document(f"{name} wrote to ann{i}@roots.io", str(i)) for i in range(3) for name in NAMES
    ]
    stages = [PersonNames(model=model), Pii()]
    run = Pipeline(stages).run(documents, workers=2)
    assert {each.text for each in run} == {"<PERSON> wrote to <EMAIL>"}
    assert run.books.of(1).counted == {"person": 9}


def test_a_changed_model_is_seen_by_its_files(model: str) -> None:
    names = {path.name for path in PersonNames(model=model).files()}
    assert {"config.cfg", "meta.json"} <= names
    package = {path.name for path in PersonNames(model="json").files()}
    assert {"__init__.py", "decoder.py"} <= package


def test_a_missing_package_or_model_is_told_with_its_cure(monkeypatch) -> None:
    monkeypatch.setattr(person_names, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"presidio_analyzer and spacy.*roots-lm\[presidio\]"):
        PersonNames().check()
    with pytest.raises(DataError, match="python -m spacy download en_core_web_sm"):
        PersonNames().files()
    with pytest.raises(DataError, match="model='no/such' is neither"):
        PersonNames(model="no/such").files()
    with pytest.raises(ConfigError, match="placeholder=' ' would join"):
        PersonNames(placeholder=" ")
