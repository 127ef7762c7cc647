"""Classes, several classes, values: from a file of rows to predictions."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_tasks import classes, task_config, write_jsonl

import roots
from roots.cli import run as command
from roots.errors import ConfigError, DataError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.modules import SequenceClassifier
from roots.runs import Run


def data(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    held = write_jsonl(folder / "val.jsonl", rows[-12:])
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:-12])),
        "val": str(held),
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    return {"class_path": "roots.data.LabelledTexts", "init_args": {**arguments, **settings}}


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def config(encoder: Path, tmp_path: Path) -> dict[str, Any]:
    return task_config(
        "SequenceClassifier", data(tmp_path, classes(72, 0)), encoder, tmp_path / "runs"
    )


def test_the_training_rows_are_learned_by_heart_and_the_run_can_be_asked(
    config: dict[str, Any],
) -> None:
    config["trainer"] |= {"max_steps": 0, "max_epochs": 30, "val_every_steps": 0}
    config["model"]["init_args"]["optimizer"]["init_args"]["learning_rate"] = 1e-3
    config["data"]["init_args"]["val"] = config["data"]["init_args"]["train"]
    composed = compose(config)
    run = composed.fit()
    assert composed.trainer.max_steps == math.ceil(30 * 60 / 8)
    last = rows_of(run)[-1]
    assert float(last["val/accuracy"]) > 0.95
    assert {"val/f1_macro", "val/mcc", "val/f1/cat", "val/precision/dog"} <= last.keys()
    rows = classes(72, 0)[:20]
    said = composed.model.predict([row["text"] for row in rows])
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in said)
    right = [ours["label"] == row["label"] for ours, row in zip(said, rows, strict=True)]
    assert np.mean(right) > 0.9
    again = roots.load(run.path)  # from its files alone
    assert isinstance(again, SequenceClassifier)
    assert again.labels.names == ("cat", "dog", "none")
    ours, theirs = composed.model.predict(["on the mat"])[0], again.predict(["on the mat"])[0]
    assert theirs["probabilities"] == pytest.approx(ours["probabilities"], abs=1e-6)


def test_the_folder_is_a_classifier_of_transformers(config: dict[str, Any]) -> None:
    from transformers import pipeline

    run = compose(config).fit()
    folder = str(run.best().path)
    asked = pipeline("text-classification", folder, device="cpu", top_k=None)
    theirs = asked(["the cat sat on it"])[0]
    ours = roots.load(run.path).predict(["the cat sat on it"])[0]["probabilities"]
    assert {row["label"]: row["score"] for row in theirs} == pytest.approx(ours, abs=1e-5)


def test_the_steps_are_the_same_for_every_micro_batch_size(config: dict[str, Any]) -> None:
    found = {}
    for size in (1, 3, 8):
        run = compose(config, {"model.micro_batch_size": size}).fit()
        rows = rows_of(run)
        found[size] = torch.tensor(
            [[float(row[n]) for n in ("train/loss", "optim/grad_norm")] for row in rows[:3]],
            dtype=torch.float64,
        )
    for size in (1, 3):
        torch.testing.assert_close(found[size], found[8], rtol=1e-5, atol=0)


def test_a_run_that_goes_on_is_the_run_that_was_not_interrupted(config: dict[str, Any]) -> None:
    config["model"]["init_args"]["network"]["init_args"]["config"] = {"hidden_dropout_prob": 0.3}
    whole = rows_of(compose(config, {"trainer.checkpoint_every_steps": 3}).fit())
    half = compose(config, {"trainer.checkpoint_every_steps": 3})

    class Killed(Exception):
        pass

    def stop(*_: Any) -> None:
        if half.trainer.global_step == 4:
            raise Killed

    half.model.on_train_batch_start = stop
    with pytest.raises(Killed):
        half.fit()
    composed, _ = resumed(str(half.trainer.run.path), {}, [])
    rows = rows_of(composed.fit())
    names = (
        "step",
        "train/loss",
        "optim/grad_norm",
        "val/loss",
        "val/accuracy",
        "train/tokens_seen",
    )
    assert [[row[n] for n in names] for row in rows] == [[row[n] for n in names] for row in whole]


def test_tokens_and_padding_are_those_of_the_rows(config: dict[str, Any]) -> None:
    composed = compose(config)
    rows = rows_of(composed.fit())
    split, order = composed.data.split("train"), composed.data.order
    lengths = split.lengths
    expected = [int(lengths[order.samples(n)].sum()) for n in range(6)]
    seen = [float(row["train/tokens_seen"]) for row in rows if row["train/tokens_seen"]]
    assert seen == np.cumsum(expected).tolist()
    batch = split.batch(order.samples(0), 0)
    places = sum(part.inputs["input_ids"].numel() for part in batch.split(4))
    filled = sum(int(part.inputs["attention_mask"].sum()) for part in batch.split(4))
    assert float(rows[0]["train/padding_fraction"]) == pytest.approx(1 - filled / places)


# -- kinds of labels -----------------------------------------------------------------------------


def test_several_classes_at_once(encoder: Path, tmp_path: Path) -> None:
    rows = [
        {
            "text": row["text"],
            "label": [w for w in ("cat", "the", "on") if w in row["text"].split()],
        }
        for row in classes(60, 1)
    ]
    config = task_config(
        "SequenceClassifier", data(tmp_path, rows, kind="many"), encoder, tmp_path / "runs"
    )
    composed = compose(config)
    last = rows_of(composed.fit())[-1]
    assert {"val/f1_micro", "val/f1/cat"} <= last.keys()
    said = composed.model.predict(["the cat"])[0]
    assert set(said["probabilities"]) == {"cat", "the", "on"}
    assert said["label"] == [n for n, p in said["probabilities"].items() if p >= 0.5]


def test_values(encoder: Path, tmp_path: Path) -> None:
    rows = [{"text": r["text"], "label": len(r["text"]) / 10} for r in classes(60, 1)]
    config = task_config(
        "SequenceClassifier", data(tmp_path, rows, kind="value"), encoder, tmp_path / "runs"
    )
    composed = compose(config)
    run = composed.fit()
    measured = rows_of(run)[-1]
    kept = json.loads(run.details_file("val").read_text())["numbers"]
    assert sorted(kept["label"]) == pytest.approx(sorted(r["label"] for r in rows[-12:]))
    for name in ("pearson", "spearman"):
        assert kept[name] == pytest.approx(float(measured[f"val/{name}"]))
    worst = kept["largest"][0]
    assert worst["label"] == pytest.approx(len(worst["text"]) / 10)
    assert worst["where"].startswith(str(tmp_path / "val.jsonl"))
    assert isinstance(composed.model.predict(["the cat"])[0]["value"], float)


def test_pairs_are_framed_as_the_tokenizer_says(encoder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    rows = [{"text": r["text"], "text_pair": "it ran", "label": r["label"]} for r in classes(60, 1)]
    config = task_config("SequenceClassifier", data(tmp_path, rows), encoder, tmp_path / "runs")
    composed = compose(config)
    split = composed.data.split("train")
    theirs = AutoTokenizer.from_pretrained(encoder)(rows[0]["text"], "it ran")
    assert split.input_ids[0].tolist() == theirs["input_ids"]
    assert split.others["token_type_ids"][0].tolist() == [
        *[0] * (theirs["input_ids"].index(3) + 1),
        *[1] * (len(theirs["input_ids"]) - theirs["input_ids"].index(3) - 1),
    ]
    run = composed.fit()
    assert len(composed.model.predict([("the cat", "it ran")])) == 1
    # the folder of the network knows that its rows were pairs, and so does the checkpoint
    model = roots.load(run.path)
    assert len(model.predict([("the cat", "it ran")])) == 1
    with pytest.raises(DataError, match=r"Text 1 \('it ran'\) is one text, .*learned pairs"):
        model.predict([("the cat", "it ran"), "it ran"])
    assert SequenceClassifier.load_from_checkpoint(run.last().trainer_file).pairs
    asked = write_jsonl(tmp_path / "asked.jsonl", [{"text": "the cat", "second": "it ran"}])
    with pytest.raises(DataError, match=r"asked\.jsonl:1 has no column 'text_pair'.*text, second"):
        command(["predict", "--run", str(run.path), "--from", str(asked)])


def test_rare_classes_may_weigh_more(encoder: Path, tmp_path: Path) -> None:
    rows = [r for r in classes(90, 2) if r["label"] != "dog" or len(r["text"]) % 3 == 0]
    config = task_config("SequenceClassifier", data(tmp_path, rows), encoder, tmp_path / "runs")
    composed = compose(config, {"model.balance": True})
    composed.model.learn_of(composed.data)
    weights = composed.model.objective().weights
    labels = composed.data.split("train").labels
    assert weights == pytest.approx(
        [len(labels) / 3 / (labels == number).sum() for number in range(3)]
    )
    composed.fit()


# -- predictions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_predictions_are_written_in_the_order_of_the_file(
    config: dict[str, Any], tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = compose(config).fit()
    out = tmp_path / f"said.{ending}"
    assert command(["predict", "--run", str(run.path), "--to", str(out)]) == 0
    assert "12 rows" in capsys.readouterr().out
    if ending == "jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in rows)
    else:
        with out.open() as file:
            rows = list(csv.DictReader(file))
        assert {"probabilities/cat", "probabilities/dog", "label"} <= rows[0].keys()
    assert [row["where"].rsplit(":", 1)[1] for row in rows] == [str(n) for n in range(1, 13)]


# -- mistakes ------------------------------------------------------------------------------------


def test_bad_rows_are_refused_by_place_or_left_out_and_counted(
    config: dict[str, Any], tmp_path: Path
) -> None:
    rows = classes(72, 0)
    rows[5]["text"] = "  "
    rows[9]["label"] = None
    config["data"] = data(tmp_path, rows)
    with pytest.raises(DataError, match=r"train\.jsonl:6: 'text' is empty.*on_bad_row to skip"):
        compose(config).fit()
    rejected = tmp_path / "rejected.jsonl"
    settings = {"on_bad_row": "skip", "max_bad_fraction": 0.05, "rejected_file": str(rejected)}
    composed = compose(config, {f"data.{name}": value for name, value in settings.items()})
    composed.fit()
    assert "2 of 60 rows were left out" in composed.model.remarks[0]
    lines = rejected.read_text().splitlines()
    assert [json.loads(line)["where"].rsplit(":")[-1] for line in lines] == ["6", "10"]


def test_a_label_that_training_lacks_is_refused_by_place(
    config: dict[str, Any], tmp_path: Path
) -> None:
    rows = classes(72, 0)
    rows[-2]["label"] = "cow"
    config["data"] = data(tmp_path, rows)
    with pytest.raises(DataError, match=r"val\.jsonl:11: 'label': the label 'cow' is none of"):
        compose(config).fit()
    rows[-2]["label"] = "dog"
    config["data"] = data(tmp_path, rows)
    compose(config).fit()


def test_without_a_development_file_a_part_is_held_out(config: dict[str, Any]) -> None:
    composed = compose(config, {"data.val": "", "data.val_fraction": 0.2})
    held = len(composed.data.split("val"))
    assert held + len(composed.data.split("train")) == 60
    assert 9 <= held <= 15
    assert len(set(composed.data.split("val").labels.tolist())) == 3


def test_a_network_from_scratch_asks_for_a_tokenizer(config: dict[str, Any], encoder: Path) -> None:
    from tiny_tasks import BERT

    network = {"class_path": "roots.networks.Scratch", "init_args": {"config": BERT}}
    config["model"]["init_args"]["network"] = network
    with pytest.raises(ConfigError, match=r"made from scratch.*Set data\.tokenizer to a folder"):
        compose(config).fit()
    compose(config, {"data.tokenizer": str(encoder)}).fit()


def test_a_network_that_reads_padding_is_told_of(config: dict[str, Any], encoder: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    network = {"config": {"model_type": "fnet", **sizes, "hidden_dropout_prob": 0.0}}
    arguments = config["model"]["init_args"]
    arguments["network"] = {"class_path": "roots.networks.Scratch", "init_args": network}
    composed = compose(config, {"data.tokenizer": str(encoder)})
    run = composed.fit()
    written = (run.path / "environment.json").read_text()
    told = "padding: FNetForSequenceClassification reads the places that fill a row up"
    assert any(told in remark for remark in json.loads(written)["remarks"])
    short, long = "the cat", "a dog sat on the mat by the tree"
    (alone,), beside = (composed.model.predict(texts) for texts in ([short], [short, long]))
    assert alone["probabilities"] != pytest.approx(beside[0]["probabilities"], rel=1e-4)

    arguments["micro_batch_size"] = 1
    composed = compose(config, {"data.tokenizer": str(encoder)})
    composed.fit()
    assert not any(told in remark for remark in composed.model.remarks)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"class_weights": [1.0, 2.0], "balance": True}, "Leave out one of the two"),
        ({"class_weights": [1.0, 2.0]}, "has 2 weights and there are 3 classes: cat, dog, none"),
        ({"label_smoothing": 1.5}, r"label_smoothing=1\.5 is not a share"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    config: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    config["model"]["init_args"] |= settings
    with pytest.raises(ConfigError, match=words):
        compose(config).fit()
