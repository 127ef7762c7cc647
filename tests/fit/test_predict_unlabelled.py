"""`roots predict --from FILE` of every task: a file without labels, and what a file lacks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pairs import pairs_config, write_pairs
from quizzes import quiz_config, quiz_files
from tiny import tiny_config
from tiny_tasks import (
    classes,
    tagged,
    tagging_config,
    task_config,
    words_data,
    write_bert,
    write_jsonl,
)

from roots.cli import run as roots
from roots.errors import ConfigError, DataError
from roots.fit import compose
from roots.fit import load as opened
from roots.fit.predictions import check_file
from roots.runs import Run, read_metrics


def predicted(run: Run, asked: Path, *flags: str) -> list[dict[str, Any]]:
    """What the command writes of a file."""
    out = asked.parent / "said.jsonl"
    assert (
        roots(["predict", "--run", str(run.path), "--from", str(asked), "--to", str(out), *flags])
        == 0
    )
    return [json.loads(line) for line in out.read_text().splitlines()]


def texts_config(encoder: Path, folder: Path, rows: list[Any], **data: Any) -> dict[str, Any]:
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:-12])),
        "val": str(write_jsonl(folder / "val.jsonl", rows[-12:])),
        "sequences_per_step": 8,
        "seq_len": 48,
        **data,
    }
    part = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    return task_config("SequenceClassifier", part, encoder, folder / "runs", max_steps=3)


@pytest.fixture(scope="module")
def classifier(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("classifier")
    return compose(texts_config(encoder, folder, classes(60, 0))).fit()


def test_texts_without_a_label_column_are_told_as_in_a_notebook(
    classifier: Run, tmp_path: Path
) -> None:
    texts = ["the cat sat", "a dog ran under it", "on the mat"]
    files = {
        "rows.jsonl": "".join(json.dumps({"text": text, "id": 7}) + "\n" for text in texts),
        "rows.csv": "text\n" + "".join(f"{text}\n" for text in texts),
        "rows.txt": texts[0] + "\n\n" + "\n".join(texts[1:]) + "\n",
        "labelled.jsonl": "".join(
            json.dumps({"text": text, "label": "of no class"}) + "\n" for text in texts
        ),
    }
    expected = opened(classifier.path).predict(texts)
    lines = {"rows.jsonl": "123", "rows.csv": "234", "rows.txt": "134", "labelled.jsonl": "123"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        said = predicted(classifier, tmp_path / name)
        assert [row["where"] for row in said] == [f"{tmp_path / name}:{n}" for n in lines[name]]
        for ours, theirs in zip(said, expected, strict=True):
            assert ours["label"] == theirs["label"]
            assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-5)


def test_the_training_rows_may_be_gone(
    classifier: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = write_jsonl(tmp_path / "asked.jsonl", [{"text": "the cat"}, {"text": "a dog ran"}])
    out = str(tmp_path / "said.jsonl")
    validation = ["predict", "--run", str(classifier.path), "--to", out]
    before = predicted(classifier, asked)
    assert roots(validation) == 0
    of_validation = Path(out).read_text()
    train = classifier.path.parents[2] / "train.jsonl"
    kept = train.rename(tmp_path / "kept.jsonl")
    try:
        assert predicted(classifier, asked) == before
        assert roots(validation) == 0
        assert Path(out).read_text() == of_validation
        config = ["--config", str(classifier.config_file)]
        with pytest.raises(DataError, match=r"train\.jsonl does not exist"):  # nothing to recall
            roots(["predict", *config, "--to", out])
        part = ["--data.val", "", "--data.val_fraction", "0.2"]  # a part of the rows that are gone
        with pytest.raises(DataError, match=r"train\.jsonl does not exist"):
            roots([*validation, *part])
    finally:
        kept.rename(train)
    assert roots([*validation, *part]) == 0


@pytest.mark.parametrize("verb", ["predict", "validate"])
@pytest.mark.parametrize("name", ["tokenizer", "labels"])
def test_what_the_network_was_trained_with_is_not_another(
    classifier: Run, tmp_path: Path, verb: str, name: str
) -> None:
    other = str(tmp_path / "other.txt")
    with pytest.raises(
        ConfigError, match=rf"data\.{name} '{other}'.* keeps the {name} .* Leave it"
    ):
        roots([verb, "--run", str(classifier.path), f"--data.{name}", other])


def test_a_file_that_cannot_be_written_is_refused_before_rows_are_read(
    classifier: Run, tmp_path: Path
) -> None:
    gone, out = str(tmp_path / "no_such_file.jsonl"), str(tmp_path / "said.txt")
    with pytest.raises(ConfigError, match=r"said\.txt: predictions are written as"):
        roots(["predict", "--run", str(classifier.path), "--to", out, "--data.val", gone])


def test_an_evaluation_reads_training_rows_only_where_it_measures_by_them(
    encoder: Path, tmp_path: Path
) -> None:
    rows = [row for n, row in enumerate(classes(90, 0)) if row["label"] != "cat" or n % 2]
    test = str(write_jsonl(tmp_path / "test.jsonl", rows[:20]))
    config = texts_config(encoder, tmp_path, rows, test=test)
    run = compose(config).fit()
    config["model"]["init_args"]["balance"] = True
    balanced = compose(config, {"name": "balanced"}).fit()

    def measured(verb: str, run: Run) -> dict[str, Any]:
        assert roots([verb, "--run", str(run.path), "--checkpoint", "last"]) == 0
        return json.loads((run.path / f"{verb}.json").read_text())

    verbs = ("validate", "test")
    before = {verb: measured(verb, run) for verb in verbs}
    weighed = measured("validate", balanced)
    for each, told in ((run, before["validate"]), (balanced, weighed)):
        in_fit = float(read_metrics(each.metrics_file)[-1]["val/loss"])
        assert told["val/loss"] == pytest.approx(in_fit, rel=1e-6)
    assert weighed["val/loss"] != pytest.approx(before["validate"]["val/loss"], rel=1e-3)
    (tmp_path / "train.jsonl").unlink()
    assert {verb: measured(verb, run) for verb in verbs} == before
    with pytest.raises(DataError, match=r"train\.jsonl does not exist"):
        measured("validate", balanced)


def test_a_validation_of_questions_chooses_its_threshold_as_in_the_fit(tmp_path: Path) -> None:
    folder = quiz_files(tmp_path)
    run = compose(quiz_config(folder, tmp_path / "runs")).fit()
    assert roots(["validate", "--run", str(run.path), "--checkpoint", "last"]) == 0
    told = json.loads((run.path / "validate.json").read_text())
    in_fit = read_metrics(run.metrics_file)[-1]
    names = [name for name in told if name.startswith("val/")]
    assert len(names) > 2
    for name in names:
        assert told[name] == pytest.approx(float(in_fit[name]), rel=1e-5, abs=1e-6)


def test_other_training_rows_do_not_change_what_is_told(classifier: Run, tmp_path: Path) -> None:
    asked = write_jsonl(tmp_path / "asked.jsonl", [{"text": "the cat"}, {"text": "a dog ran"}])
    others = write_jsonl(
        tmp_path / "others.jsonl", [{"text": f"the {n}", "label": "ab"[n % 2]} for n in range(8)]
    )
    said = predicted(classifier, asked, f"--data.train={others}")
    assert said == predicted(classifier, asked)
    assert set(said[0]["probabilities"]) == {"cat", "dog", "none"}


def test_what_was_set_for_the_training_rows_holds_for_these(encoder: Path, tmp_path: Path) -> None:
    rows = classes(60, 0)
    for name, part in (("train", rows[:-12]), ("val", rows[-12:])):
        with (tmp_path / f"{name}.data").open("w") as file:
            table = csv.writer(file, delimiter=";")
            table.writerow(["sentence", "class"])
            table.writerows([row["text"], row["label"]] for row in part)

    def reader(name: str) -> dict[str, Any]:
        settings = {"paths": str(tmp_path / f"{name}.data"), "delimiter": ";"}
        return {"class_path": "roots.sources.rows.Delimited", "init_args": settings}

    config = texts_config(encoder, tmp_path, rows)
    config["data"]["init_args"] |= {
        "train": reader("train"),
        "val": reader("val"),
        "columns": {"text": "sentence", "label": "class"},
    }
    run = compose(config).fit()
    asked = tmp_path / "asked.data"
    asked.write_text("sentence;more\nthe cat sat;1\na dog ran;2\n")
    assert [row["where"][-1] for row in predicted(run, asked)] == ["2", "3"]


@pytest.mark.parametrize("kind", ["many", "value"])
def test_several_classes_and_values_are_told_without_labels(
    kind: str, encoder: Path, tmp_path: Path
) -> None:
    def label(row: dict[str, Any]) -> Any:
        words = row["text"].split()
        return len(words) / 4 if kind == "value" else [w for w in ("cat", "the") if w in words]

    rows = [{"text": row["text"], "label": label(row)} for row in classes(60, 1)]
    run = compose(texts_config(encoder, tmp_path, rows, kind=kind)).fit()
    (tmp_path / "train.jsonl").unlink()  # the labels are the checkpoint's
    asked = write_jsonl(tmp_path / "asked.jsonl", [{"text": "the cat"}, {"text": "it ran"}])
    said = predicted(run, asked)
    assert len(said) == 2
    assert all(("value" if kind == "value" else "probabilities") in row for row in said)


def test_words_alone_are_tagged(tmp_path: Path) -> None:
    words = words_data(tmp_path, tagged(60, 0))
    config = tagging_config(write_bert(tmp_path / "bert"), tmp_path / "runs", words)
    config["model"]["init_args"]["balance"] = True
    config["trainer"]["max_steps"] = 40
    run = compose(config).fit()
    (tmp_path / "train.conll").unlink()  # the tags are the checkpoint's
    sentences = [["the", "cat", "sat"], ["it", "ran"]]
    asked = tmp_path / "asked.conll"
    asked.write_text("\n\n".join("\n".join(words) for words in sentences) + "\n")
    assert [row["words"] for row in predicted(run, asked)] == sentences
    asked = tmp_path / "asked.txt"
    asked.write_text("the cat sat\nit ran\n")
    assert [row["words"] for row in predicted(run, asked)] == sentences
    line = (
        "  the (dog) sat. a cat, it ran!"  # places are told in its characters, as a notebook does
    )
    asked.write_text(line + "\n")
    (said,), (expected,) = predicted(run, asked), opened(run.path).predict([line])
    assert said["entities"] == [
        {**entity, "probability": pytest.approx(entity["probability"], rel=1e-4)}
        for entity in expected["entities"]
    ]
    assert "dog" in [line[e["start"] : e["end"]] for e in said["entities"]]
    asked = write_jsonl(tmp_path / "asked.jsonl", [{"words": words} for words in sentences])
    said = predicted(run, asked)
    assert [row["words"] for row in said] == sentences
    expected = opened(run.path).predict(sentences)
    assert [row["tags"] for row in said] == [row["tags"] for row in expected]
    of_val = opened(run.path).predict([row["words"] for row in tagged(60, 0)[-12:]])
    said = predicted(run, tmp_path / "val.conll")
    assert [row["tags"] for row in said] == [row["tags"] for row in of_val]


def test_questions_without_answers_are_answered(tmp_path: Path) -> None:
    folder = quiz_files(tmp_path)
    run = compose(quiz_config(folder, tmp_path / "runs")).fit()
    (folder / "train.json").unlink()  # whether some have no answer is the checkpoint's
    question = {"id": "q1", "question": "the cat ?", "context": "the dog sat on the mat . it ran ."}
    asked = write_jsonl(tmp_path / "asked.jsonl", [question])
    assert [row["id"] for row in predicted(run, asked)] == ["q1"]
    qas = [{"id": "q2", "question": "the mat ?"}]
    article = {"paragraphs": [{"context": question["context"], "qas": qas}]}
    squad = tmp_path / "asked.json"
    squad.write_text(json.dumps({"version": "2.0", "data": [article]}))
    assert [row["id"] for row in predicted(run, squad)] == ["q2"]
    (tmp_path / "asked.txt").write_text("the mat ?\n")
    with pytest.raises(ConfigError, match=r"reads id, question, context\. Give a \.jsonl file"):
        predicted(run, tmp_path / "asked.txt")


def test_sources_alone_are_translated(tmp_path: Path) -> None:
    run = compose(pairs_config(write_pairs(tmp_path), tmp_path / "runs", callbacks=[])).fit()
    for side in ("en", "de"):
        (tmp_path / f"train.{side}").unlink()  # the tokenizer that was trained is the checkpoint's
    asked = tmp_path / "asked.txt"
    asked.write_text("the cat\na dog ran\n")
    said = predicted(run, asked)
    assert [row["text"] for row in said] == opened_pairs(run).predict(["the cat", "a dog ran"])
    asked = write_jsonl(tmp_path / "asked.jsonl", [{"source": "the cat"}, {"source": "a dog ran"}])
    assert [row["text"] for row in predicted(run, asked)] == [row["text"] for row in said]


def opened_pairs(run: Run) -> Any:
    from roots.modules import Seq2Seq

    return Seq2Seq.load_from_checkpoint(run.best().trainer_file, weights_only=True).eval()


# -- what is lacking -------------------------------------------------------------------------------


def test_a_file_that_cannot_be_asked_about_says_what_it_lacks(
    classifier: Run, tmp_path: Path
) -> None:
    asked = write_jsonl(tmp_path / "asked.jsonl", [{"sentence": "the cat sat"}])
    lacks = r"asked\.jsonl:1 has no column 'text'.*are: sentence\. Name it as the training rows do"
    with pytest.raises(DataError, match=lacks):
        predicted(classifier, asked)
    asked = write_jsonl(tmp_path / "asked.jsonl", [{"text": "the cat sat"}])
    assert len(predicted(classifier, asked)) == 1
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        predicted(classifier, tmp_path / "nowhere.jsonl")
    (tmp_path / "asked.xyz").write_text("the cat sat\n")
    with pytest.raises(ConfigError, match=r"asked\.xyz does not say how its rows are read"):
        predicted(classifier, tmp_path / "asked.xyz")
    asked = write_jsonl(tmp_path / "asked.jsonl", [{"text": " "}, {"text": "the cat"}])
    with pytest.raises(DataError, match=r"asked\.jsonl:1: 'text' is empty.*on_bad_row to skip"):
        predicted(classifier, asked)
    skip = ("--data.on_bad_row=skip", "--data.max_bad_fraction=0.5")
    assert len(predicted(classifier, asked, *skip)) == 1


def test_data_without_rows_of_a_task_are_refused(shards: Path, tmp_path: Path) -> None:
    run = compose(tiny_config(shards, tmp_path / "runs", max_steps=3)).fit()
    (tmp_path / "asked.txt").write_text("the cat\n")
    with pytest.raises(ConfigError, match=r"TokenCorpus reads tokens.*roots generate"):
        predicted(run, tmp_path / "asked.txt")


def test_a_run_closes_with_what_can_be_done_with_it(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    import yaml

    file = tmp_path / "run.yaml"
    config = texts_config(encoder, tmp_path, classes(60, 0))
    file.write_text(yaml.safe_dump(config))
    assert roots(["fit", "--config", str(file), "--trainer.monitor", "val/accuracy"]) == 0
    said = capsys.readouterr().out
    assert "val/accuracy 0." in said
    assert "roots generate" not in said
    line = next(line for line in said.splitlines() if "roots predict" in line)
    arguments = shlex.split(line)[1:]
    (tmp_path / "texts.txt").write_text("the cat sat\n")
    arguments[-1] = str(tmp_path / arguments[-1])
    assert roots(arguments) == 0


def test_a_place_that_takes_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"would lie in .*file, which is a file\. Give --to"):
        check_file(tmp_path / "file" / "told.jsonl")
    (tmp_path / "told.csv").mkdir()
    with pytest.raises(ConfigError, match=r"told\.csv is a folder"):
        check_file(tmp_path / "told.csv")
    check_file(tmp_path / "new" / "told.csv")
