"""What changed is built anew, and told; what did not is not read again."""

from __future__ import annotations

import json
import os
from importlib import import_module

import pytest
from text_corpus import N, contents, line, made, put_text

from roots.corpus import (
    BytePairs,
    Corpus,
    ExactDuplicates,
    Existing,
    GopherQuality,
    NearDuplicates,
    splitters,
)
from roots.corpus import corpus as corpus_module
from roots.errors import ConfigError, DataError
from roots.shards import ShardFolder
from roots.sources import Jsonl, Text


def test_a_second_prepare_reads_nothing(tmp_path, monkeypatch) -> None:
    put_text(tmp_path)
    corpus = made(tmp_path)
    corpus.prepare(progress=False)
    before = (tmp_path / "out" / "manifest.json").stat()
    monkeypatch.setattr(Text, "documents", lambda self: pytest.fail("the text was read again"))
    assert made(tmp_path, workers=3).is_ready()
    assert corpus.prepare(progress=False) == tmp_path / "out"
    assert (tmp_path / "out" / "manifest.json").stat() == before


def test_a_touched_file_is_read_once_and_nothing_is_built(tmp_path, monkeypatch) -> None:
    path = put_text(tmp_path)
    corpus = made(tmp_path)
    corpus.prepare(progress=False)
    os.utime(path, (1, 1))
    monkeypatch.setattr(Corpus, "build", lambda *_: pytest.fail("built again"))
    corpus.prepare(progress=False)
    monkeypatch.setattr(Text, "documents", lambda self: pytest.fail("the text was read again"))
    corpus.prepare(progress=False)


def test_who_only_asks_of_a_touched_file_writes_nothing_and_reads_it_once(
    tmp_path, monkeypatch
) -> None:
    path = put_text(tmp_path)
    inputs = made(tmp_path).prepare(progress=False) / "inputs.json"
    os.utime(path, (1, 1))
    before, asked = inputs.read_bytes(), made(tmp_path)
    assert asked.is_ready()
    with monkeypatch.context() as again:
        again.setattr(Text, "documents", lambda self: pytest.fail("the text was read again"))
        assert asked.describe().endswith("(is ready)")
        assert inputs.read_bytes() == before
        asked.prepare(progress=False)  # this remembers it
        assert inputs.read_bytes() != before
        assert made(tmp_path).is_ready()
    os.utime(path, (2, 2))
    assert asked.is_ready()
    put_text(tmp_path, n=N + 1)
    assert not asked.is_ready()


def test_a_changed_text_is_built_anew_and_told(tmp_path, capsys) -> None:
    path = put_text(tmp_path)
    corpus = made(tmp_path)
    before = contents(corpus.prepare(progress=False))
    put_text(tmp_path, n=N + 1)
    assert not corpus.is_ready()
    corpus.prepare()
    assert f"building, because its input changed: {path}, in all 1 files" in capsys.readouterr().err
    assert contents(tmp_path / "out") != before
    assert ShardFolder.open(tmp_path / "out").manifest.documents_read == N + 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "text.txt"]


def test_a_changed_setting_is_built_anew_and_told(tmp_path, capsys) -> None:
    put_text(tmp_path)
    made(tmp_path).prepare(progress=False)
    made(tmp_path, tokenizer=BytePairs(vocab_size=310)).prepare()
    said = capsys.readouterr().err
    assert "its recipe changed: tokenizer.vocab_size: 300 → 310" in said


def test_a_damaged_folder_is_built_anew(tmp_path, capsys) -> None:
    put_text(tmp_path)
    before = contents(made(tmp_path).prepare(progress=False))
    (tmp_path / "out" / "train.bin").write_bytes(b"short")
    made(tmp_path).prepare()
    assert "train.bin is cut short: 5 bytes found" in capsys.readouterr().err
    assert contents(tmp_path / "out") == before


def test_a_folder_serves_on_after_its_text_is_gone(tmp_path) -> None:
    path = put_text(tmp_path)
    made(tmp_path).prepare(progress=False)
    path.unlink()
    assert made(tmp_path).is_ready()
    with pytest.raises(DataError, match=r"text\.txt does not exist"):
        made(tmp_path, "elsewhere").prepare(progress=False)


def test_another_existing_tokenizer_in_the_same_place_makes_the_folder_stale(tmp_path) -> None:
    put_text(tmp_path)
    BytePairs(vocab_size=280).make(["abc abc"] * 9).save(tmp_path / "tok")
    made(tmp_path, tokenizer=Existing(path=str(tmp_path / "tok"))).prepare(progress=False)
    BytePairs(vocab_size=280).make(["xyz xyz"] * 9).save(tmp_path / "tok")
    again = made(tmp_path, tokenizer=Existing(path=str(tmp_path / "tok")))
    assert "tokenizer.fingerprint" in str(again.stale_because())


def test_describe_tells_source_plan_and_state(tmp_path) -> None:
    put_text(tmp_path)
    corpus = made(tmp_path)
    assert "roots.sources.Text: 1 files, 1" in corpus.describe()
    assert f"300 tokens → {tmp_path}/out (to be built: it is not there yet)" in corpus.describe()
    corpus.prepare(progress=False)
    assert corpus.describe().endswith("(is ready)")
    assert "\n" not in corpus.describe()


def test_the_recipe_version_makes_old_folders_stale(tmp_path, monkeypatch) -> None:
    put_text(tmp_path)
    made(tmp_path).prepare(progress=False)
    monkeypatch.setattr(corpus_module, "RECIPE_VERSION", 99)
    assert str(made(tmp_path).stale_because()).endswith("recipe_version: 1 → 99")


def test_a_changed_way_to_split_makes_those_folders_stale_that_split_so(
    tmp_path, monkeypatch
) -> None:
    put_text(tmp_path)
    by_spaces = [GopherQuality(min_words=1, min_stop_words=0), ExactDuplicates()]
    by_words = [*by_spaces, NearDuplicates()]
    with monkeypatch.context() as before:
        before.setattr(splitters, "_VERSIONS", {})
        made(tmp_path, "spaces", stages=by_spaces).prepare(progress=False)
        made(tmp_path, "words", stages=by_words).prepare(progress=False)
        assert made(tmp_path, "words", stages=by_words).is_ready()
    assert made(tmp_path, "spaces", stages=by_spaces).is_ready()
    why = made(tmp_path, "words", stages=by_words).stale_because()
    assert why == "its recipe changed: stage_versions.NearDuplicates: None → 2"


@pytest.mark.parametrize("stages", [(), (ExactDuplicates(),)])
def test_a_changed_licence_is_a_changed_input(tmp_path, stages) -> None:
    def put(licence: str) -> None:
        record = {"id": "a", "license": licence, "text": line(3) * 9}
        (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")

    source = Jsonl(paths=str(tmp_path / "a.jsonl"), id_field="id", metadata_fields=["license"])
    settings = {"source": source, "stages": stages, "val_fraction": 0.0}
    put("mit")
    made(tmp_path, **settings).prepare(progress=False)
    os.utime(tmp_path / "a.jsonl", (1, 1))
    assert made(tmp_path, **settings).is_ready()
    put("proprietary")
    why = made(tmp_path, **settings).stale_because()
    assert why == f"its input changed: {tmp_path}/a.jsonl, in all 1 files"
    made(tmp_path, **settings).prepare(progress=False)
    assert '"proprietary": 1' in (tmp_path / "out" / "kept.json").read_text()


OWN_STAGE = """
from roots.corpus import Stage
from roots.records import KEEP, Drop

class Long(Stage):
    def __call__(self, document):
        return KEEP if len(document.text) > {least} else Drop("short")
"""


def test_the_changed_code_of_an_own_stage_makes_its_folders_stale(tmp_path, monkeypatch) -> None:
    path = put_text(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_stage_of_a_test.py").write_text(OWN_STAGE.format(least=5))
    stages = [import_module("own_stage_of_a_test").Long()]
    made(tmp_path, stages=stages).prepare(progress=False)
    os.utime(path, (1, 1))
    assert made(tmp_path, stages=stages).is_ready()
    (tmp_path / "own_stage_of_a_test.py").write_text(OWN_STAGE.format(least=50))
    why = "the code of its stages changed: own_stage_of_a_test"
    assert made(tmp_path, stages=stages).stale_because() == why
    made(tmp_path, stages=stages).prepare(progress=False)
    assert made(tmp_path, stages=stages).is_ready()


def test_shards_stay_ready_where_their_source_is_not_named(tmp_path, monkeypatch) -> None:
    put_text(tmp_path)
    monkeypatch.setenv("MY_TEXTS", str(tmp_path))
    settings = {"out": str(tmp_path / "out"), "tokenizer": BytePairs(vocab_size=300)}
    named = {"paths": "${MY_TEXTS}/text.txt", "document": "line"}
    Corpus(source=Text(**named), **settings).prepare(progress=False)
    monkeypatch.delenv("MY_TEXTS")
    assert Corpus(source=Text(**named), **settings).is_ready()


def test_shards_of_a_newer_roots_are_not_built_again_in_their_place(tmp_path) -> None:
    put_text(tmp_path)
    corpus = made(tmp_path)
    manifest = corpus.prepare(progress=False) / "manifest.json"
    content = {**json.loads(manifest.read_text()), "provenance": {}, "roots_version": "9.9"}
    manifest.write_text(json.dumps(content))
    for ask in (corpus.prepare, lambda: ShardFolder.open(tmp_path / "out")):
        with pytest.raises(ConfigError, match=r"written by roots 9\.9, .* not know its provenance"):
            ask()
    assert json.loads(manifest.read_text()) == content
