"""Which data a module takes, and what it refuses before a network is built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import pairs_config, write_pairs
from tiny import tiny_config
from tiny_tasks import classes, tagged, task_config, words_data, write_jsonl

import roots
from roots import data as rooms_of_data
from roots import modules
from roots.cli import run as command
from roots.data.base import StepData
from roots.errors import ConfigError
from roots.fit import compose
from roots.metrics import MultiLabel
from roots.modules import Seq2Seq, StepModule
from roots.modules.asked import _FITS, check_asked
from roots.modules.sequence_classifier import _said
from roots.records import Labels


def texts(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:-12])),
        "val": str(write_jsonl(folder / "val.jsonl", rows[-12:])),
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    return {"class_path": "roots.data.LabelledTexts", "init_args": {**arguments, **settings}}


def classifier(encoder: Path, folder: Path, rows: list[dict[str, Any]], **data: Any) -> Any:
    return task_config("SequenceClassifier", texts(folder, rows, **data), encoder, folder / "runs")


def learned(config: dict[str, Any], **settings: Any) -> Any:
    """The module, when it has learned of its data."""
    config["model"]["init_args"] |= settings
    composed = compose(config)
    composed.model.learn_of(composed.data)
    return composed.model


# -- a module and other data ---------------------------------------------------------------------


def test_every_module_and_all_data_of_roots_say_what_is_learned() -> None:
    for room, base, told in ((modules, StepModule, "learns"), (rooms_of_data, StepData, "asks")):
        kinds = [getattr(room, name) for name in room.__all__]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, base) and not kind.__abstractmethods__:
                assert getattr(kind, told) in _FITS, kind
    for learns, (module, asked) in _FITS.items():
        assert getattr(modules, module).learns == learns
        assert getattr(rooms_of_data, asked).asks == learns


@pytest.mark.parametrize("asks", sorted(_FITS))
@pytest.mark.parametrize("learns", sorted(_FITS))
def test_other_data_are_refused_with_both_cures(asks: str, learns: str) -> None:
    module = object.__new__(getattr(modules, _FITS[learns][0]))
    data = object.__new__(getattr(rooms_of_data, _FITS[asks][1]))
    if asks == learns:
        check_asked(module, data)
        return
    cures = rf"modules\.{_FITS[asks][0]}, or data\.class_path to roots\.data\.{_FITS[learns][1]}\."
    with pytest.raises(ConfigError, match=cures):
        check_asked(module, data)


def test_a_dry_run_says_that_the_data_are_for_another_module(
    encoder: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    config = classifier(encoder, tmp_path, classes(36, 0))
    config["data"] = tiny_config(shards, tmp_path / "runs")["data"]
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match="TokenCorpus asks for next tokens, and Seq") as refused:
        command(["fit", "--config", str(file), "--dry-run"])
    assert refused.value.exit_code == 2


# -- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"balance": True}, {"class_weights": [1.0, 2.0]}, {"label_smoothing": 0.1}]
)
@pytest.mark.parametrize(("kind", "words"), [("value", "a value"), ("many", "several")])
def test_weights_are_for_one_class_per_text(
    encoder: Path, tmp_path: Path, kind: str, words: str, settings: dict[str, Any]
) -> None:
    rows = [
        {**row, "label": number / 9 if kind == "value" else [row["label"]]}
        for number, row in enumerate(classes(36, 0))
    ]
    with pytest.raises(ConfigError, match=rf"one class per text; these data have {words}\. Leave"):
        learned(classifier(encoder, tmp_path, rows, kind=kind), **settings)
    learned(
        classifier(encoder, tmp_path, rows, kind=kind),
        balance=False,
        class_weights=[],
        label_smoothing=0.0,
    )


def test_names_that_cannot_be_reported_are_refused_before_the_run(
    encoder: Path, tmp_path: Path
) -> None:
    other = {"cat": "x y", "dog": "x_y", "none": "z"}
    rows = [{**row, "label": other[row["label"]]} for row in classes(36, 0)]
    with pytest.raises(ConfigError, match="'x y' and 'x_y' would both"):
        learned(classifier(encoder, tmp_path, rows))
    assert learned(classifier(encoder, tmp_path, classes(36, 0))).labels.names[0] == "cat"


def test_tags_that_would_be_reported_as_one_are_refused_before_the_run(
    encoder: Path, tmp_path: Path
) -> None:
    tags = {"O": "O", "B-animal": "B-x y", "B-place": "B-x_y"}
    rows = [{**row, "tags": [tags.get(t, "O") for t in row["tags"]]} for row in tagged(48, 0)]
    for row in rows:
        row["tags"] = [tag.replace(" ", "/") for tag in row["tags"]]
    data = words_data(tmp_path, rows)
    with pytest.raises(ConfigError, match=r"would both be logged as '(B-)?x_y'"):
        learned(task_config("TokenClassifier", data, encoder, tmp_path / "runs"))


# -- asking --------------------------------------------------------------------------------------


def test_a_run_of_pairs_is_opened_and_asked(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    composed = compose(pairs_config(tmp_path, tmp_path / "runs"), {"data.prefix": "say: "})
    run = composed.fit()
    module = roots.load(run.path)
    assert isinstance(module, Seq2Seq)
    ours, was = module.format, composed.model.format
    assert ours.tokenizer.fingerprint == was.tokenizer.fingerprint
    assert replace(ours, tokenizer=was.tokenizer) == was
    asked = ["the cat", "on the mat it ran"]
    assert module.predict(asked) == composed.model.predict(asked)
    with pytest.raises(ConfigError, match=r"'the cat' is a text\. Put it into one: predict\("):
        module.predict("the cat")


def test_one_text_where_several_are_asked_for_is_refused(encoder: Path, tmp_path: Path) -> None:
    model = learned(classifier(encoder, tmp_path, classes(36, 0)))
    model.build(seed=0, device=torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"'on the mat' is a text\. Put it into one: predict\("):
        model.predict("on the mat")
    assert len(model.predict(["on the mat"])) == 1  # the cure


def test_a_label_is_said_where_it_is_counted() -> None:
    """Also where it is as likely as not: a logit of 0."""
    logits = torch.tensor([[0.0, -1.0, 1e-9]])
    labels = Labels(kind="many", names=("a", "b", "c"))
    (said,) = _said(logits, labels)
    measure = MultiLabel(names=labels.names)
    measure.update(logits, torch.tensor([[int(n in said["label"]) for n in labels.names]]))
    assert said["label"] == ["c"]
    assert measure.values()["subset_accuracy"] == 1


def test_a_module_of_pairs_refuses_a_penalty_that_orders_nothing(tmp_path: Path) -> None:
    config = pairs_config(write_pairs(tmp_path), tmp_path / "runs")
    with pytest.raises(ConfigError, match="length_penalty=nan leaves no order"):
        compose(config, {"model.length_penalty": ".nan"})
    assert compose(config, {"model.length_penalty": 0.5}).model.length_penalty == 0.5
