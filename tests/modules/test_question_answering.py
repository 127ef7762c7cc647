"""Question answering from file to answers: loss, windows, threshold, predictions, resume."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from quizzes import quiz_config, quiz_files
from squad_script import official_report
from transformers import AutoConfig, AutoModelForQuestionAnswering

from roots.cli import run as roots
from roots.data.question_split import label_windows
from roots.errors import ConfigError, DataError
from roots.fit import compose, load
from roots.fit.compose import Composed, resumed
from roots.modules import QuestionAnswering
from roots.networks.root import Root
from roots.objectives import Spans
from roots.runs import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quiz_files(tmp_path_factory.mktemp("quiz"))


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Composed]:
    """Six steps, validated after three and six."""
    composed = compose(quiz_config(folder, tmp_path_factory.mktemp("runs")))
    return composed.fit(), composed


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def lines_of(run: Run) -> list[dict[str, Any]]:
    text = (run.path / "predictions.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def numbers(run: Run) -> list[tuple[str, ...]]:
    names = (
        "step",
        "train/loss",
        "optim/grad_norm",
        "val/loss",
        "val/f1",
        "val/no_answer_threshold",
    )
    return [tuple(row[name] for name in names) for row in rows_of(run)]


def test_what_is_kept_for_pictures_adds_up_to_what_was_measured(
    trained: tuple[Run, Composed],
) -> None:
    run, _ = trained
    kept = json.loads(run.details_file("val").read_text())["answers"]
    measured = rows_of(run)[-1]
    for part, name in zip(kept["parts"], ("HasAns", "NoAns"), strict=True):
        assert part["f1"] == pytest.approx(float(measured[f"val/f1/{name}"]))
    assert sum(part["questions"] for part in kept["parts"]) == 12
    assert kept["threshold"]["value"] == pytest.approx(float(measured["val/no_answer_threshold"]))


def test_loss_and_logits_are_those_of_transformers_own_head_for_each_row_alone(
    trained: tuple[Run, Composed],
) -> None:
    run, composed = trained
    network = AutoModelForQuestionAnswering.from_pretrained(run.last().path).eval()
    batch = composed.data.split("train").batch(np.arange(9), 0)
    score = composed.model.trainable.eval()(batch)
    assert len(set(batch.lengths.tolist())) > 1
    assert int(score.n_labels) == 18
    losses = []
    for row, length in enumerate(batch.lengths.tolist()):
        inputs = {name: value[row : row + 1, :length] for name, value in batch.inputs.items()}
        start, end = batch.labels[row : row + 1].unbind(1)
        alone = network(**inputs, start_positions=start, end_positions=end)
        losses.append(alone.loss)
        expected = torch.cat([alone.start_logits, alone.end_logits])
        torch.testing.assert_close(score.outputs[row, :, :length], expected, rtol=1e-5, atol=1e-5)
        assert (score.outputs[row, :, length:] == -math.inf).all()
    mean = torch.stack(losses).mean()
    torch.testing.assert_close(score.loss / score.n_labels, mean, rtol=1e-5, atol=1e-6)


class Oracle(Root):
    """Knows the labels: one for the answer's tokens in the windows that hold it, else for none."""

    def __init__(self, split: Any) -> None:
        super().__init__()
        self.network = SimpleNamespace(config=SimpleNamespace())
        self.split = split
        self.labels = label_windows(split.questions, split.windows)

    def forward(self, batch: Any) -> Any:
        logits = torch.zeros(len(batch), 2, batch.inputs["input_ids"].shape[1])
        for row, sample in enumerate(batch.samples.tolist()):
            for side in (0, 1) if sample >= 0 else ():
                label = int(self.labels[sample, side])
                is_none = label == self.split.windows[sample].no_answer
                logits[row, side, label] = 1.0 if is_none else 5.0
        output = SimpleNamespace(start_logits=logits[:, 0], end_logits=logits[:, 1])
        return Spans()(output, batch.labels)


def asked_the_oracle(folder: Path, runs: Path, **data: Any) -> tuple[Composed, Any]:
    """Validates with logits that are right in every window."""
    overrides = {f"data.{name}": value for name, value in data.items()}
    composed = compose(quiz_config(folder, runs), overrides)
    composed.data.take_tokenizer_of(composed.model.builder)
    composed.model.learn_of(composed.data)
    split = composed.data.asked("validate")
    composed.model.trainable = Oracle(split)
    composed.evaluate("validate")
    return composed, split


@pytest.mark.parametrize("sizes", [{}, {"seq_len": 21, "stride": 1}])
def test_right_logits_give_every_answer_that_some_window_holds(
    folder: Path, tmp_path: Path, sizes: dict[str, int]
) -> None:
    val = folder / ("train.json" if sizes else "dev.json")  # where some answers are cut by all
    composed, split = asked_the_oracle(folder, tmp_path, val=val, **sizes)
    lost = sum(number < split.n_measured for number in split.nowhere)
    values = composed.trainer.latest
    n_answerable = sum(bool(q.answers) for q in split.questions[: split.n_measured])
    assert values["val/exact_match"] == pytest.approx(1 - lost / split.n_measured)
    assert values["val/exact_match/HasAns"] == pytest.approx(1 - lost / n_answerable)
    assert values["val/f1/NoAns"] == 1
    assert bool(lost) == bool(sizes)
    assert -10 <= values["val/no_answer_threshold"] < 2


def test_a_run_writes_answers_whose_official_score_is_the_one_it_reports(
    trained: tuple[Run, Composed], folder: Path, capsys: pytest.CaptureFixture
) -> None:
    run, composed = trained
    assert roots(["validate", "--run", str(run.path), "--checkpoint", "last"]) == 0
    values = json.loads((run.path / "validate.json").read_text())
    assert "val/no_answer_threshold" in capsys.readouterr().out
    assert roots(["predict", "--run", str(run.path), "--checkpoint", "last"]) == 0
    answers = json.loads((run.path / "predictions.squad.json").read_text())
    lines = lines_of(run)
    assert {line["id"]: line["answer"] for line in lines} == answers
    rows = []
    for article in json.loads((folder / "dev.json").read_text())["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                right = [answer["text"] for answer in asked["answers"]]
                answer = answers.pop(asked["id"])
                assert answer in paragraph["context"]
                rows.append((answer, right, -math.inf))
    assert not answers
    for name, value in official_report(rows, math.inf).items():
        assert values[f"val/{name}"] == pytest.approx(value)
    threshold = composed.model.no_answer_threshold
    for line in lines:
        assert (line["answer"] == "") == (line["no_answer"] > threshold)
        assert line["answer"] in ("", line["candidates"][0]["text"])
        total = sum(c["probability"] for c in line["candidates"]) + line["no_answer_probability"]
        assert total == pytest.approx(1)


def test_the_threshold_is_saved_with_the_network_and_read_back(
    trained: tuple[Run, Composed], folder: Path, tmp_path: Path
) -> None:
    run, composed = trained
    last = run.last()
    threshold = composed.model.no_answer_threshold
    assert last.metrics["val/no_answer_threshold"] == threshold
    assert threshold == float(rows_of(run)[-1]["val/no_answer_threshold"])
    config = quiz_config(folder, tmp_path)
    config["model"]["init_args"]["network"] = {
        "class_path": "roots.networks.Pretrained",
        "init_args": {"path": str(last.path)},
    }
    config["data"]["init_args"].pop("tokenizer")
    file = tmp_path / "from_folder.yaml"
    file.write_text(yaml.safe_dump(config))
    assert roots(["predict", "--config", str(file), "--to", str(tmp_path / "said.jsonl")]) == 0
    assert roots(["predict", "--run", str(run.path), "--checkpoint", "last"]) == 0
    said = json.loads((tmp_path / "said.squad.json").read_text())
    assert said == json.loads((run.path / "predictions.squad.json").read_text())


def test_predict_answers_as_the_run_does_also_from_its_files(
    trained: tuple[Run, Composed],
) -> None:
    run, composed = trained
    questions = composed.data.split("val").questions
    assert roots(["predict", "--run", str(run.path), "--checkpoint", "last"]) == 0
    lines = lines_of(run)
    from_checkpoint = QuestionAnswering.load_from_checkpoint(run.last().trainer_file)
    for module in (composed.model, from_checkpoint, load(run.path, "last")):
        assert module.no_answer_threshold == composed.model.no_answer_threshold
        module.train()
        said = module.predict([(q.text, q.context) for q in questions])
        assert module.trainable.training
        assert [row["answer"] for row in said] == [line["answer"] for line in lines]
        for row, line in zip(said, lines, strict=True):
            assert row["no_answer"] == pytest.approx(line["no_answer"], abs=1e-4)
            assert row["candidates"][0]["text"] == line["candidates"][0]["text"]
    with pytest.raises(DataError, match="question of pair 1 is empty"):
        module.predict([("it ran ?", "the cat"), (" ", "the cat")])
    for texts, item in (
        (("it ran ?", "the cat"), r"item 0 is 'it ran \?'"),
        ([("it ran ?", "the cat"), "ab"], "item 1 is 'ab'"),
        ([("it ran ?", None)], r"item 0 is \"\('it ran \?', None\)\""),
    ):
        with pytest.raises(ConfigError, match=rf"a list of pairs, .*{item}\. Put each pair into"):
            module.predict(texts)
    assert module.predict([]) == []


def test_one_batch_is_learned_by_heart_and_then_answered(folder: Path, tmp_path: Path) -> None:
    small = json.loads((folder / "train.json").read_text())
    small["data"] = small["data"][:1]
    file = tmp_path / "small.json"
    file.write_text(json.dumps(small))
    config = quiz_config(folder, tmp_path, max_steps=90, val_every_steps=0, log_every_steps=45)
    config["data"]["init_args"] |= {
        "train": str(file), "val": str(file), "threshold_fraction": 0, "sequences_per_step": 16,
        "seq_len": 48, "stride": 8,
    }  # fmt: skip
    optimizer = {"class_path": "roots.optim.AdamW", "init_args": {"learning_rate": 1e-2}}
    config["model"]["init_args"] |= {"micro_batch_size": 16, "optimizer": optimizer}
    composed = compose(config)
    rows = rows_of(composed.fit())
    assert float(rows[0]["train/loss"]) > 2
    assert float(rows[-1]["train/loss"]) < 0.01
    assert float(rows[-1]["val/f1"]) == 1
    assert composed.model.no_answer_threshold == 0


def test_a_resumed_run_is_bitwise_the_run_that_was_not_stopped(
    trained: tuple[Run, Composed], folder: Path, tmp_path: Path
) -> None:
    class PowerCut(L.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 4:
                raise RuntimeError("power cut")

    composed = compose(quiz_config(folder, tmp_path))
    composed.trainer.callbacks.insert(0, PowerCut())
    with pytest.raises(RuntimeError, match="power cut"):
        composed.fit()
    run = composed.trainer.run
    assert run is not None
    assert run.last().step == 3
    again, changes = resumed(str(run.path), {}, [])
    assert changes == []
    again.fit()
    assert numbers(run) == numbers(trained[0])
    assert len(numbers(run)) == 6


def test_squad_1_always_answers(tmp_path: Path) -> None:
    folder = quiz_files(tmp_path, without=False)
    composed = compose(quiz_config(folder, tmp_path / "runs"))
    run = composed.fit()
    assert "val/no_answer_threshold" not in rows_of(run)[-1]
    said = composed.model.predict([("it ran ?", "the cat sat"), ("was it ?", "the dog " * 30)])
    assert all(row["answer"] for row in said)
    assert composed.model.no_answer_threshold == math.inf


def test_a_threshold_of_other_questions_is_dropped_where_all_have_answers(
    trained: tuple[Run, Composed], tmp_path: Path
) -> None:
    base = shutil.copytree(trained[0].last().path, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config["no_answer_threshold"] = -3e4  # by which nothing would be answered
    (base / "config.json").write_text(json.dumps(config))
    network = {"class_path": "roots.networks.Pretrained", "init_args": {"path": str(base)}}
    said = quiz_config(quiz_files(tmp_path, without=False), tmp_path / "runs", max_steps=3)
    said["model"]["init_args"]["network"] = network
    run = compose(said).fit()
    resumed(str(run.path), {}, ["--trainer.max_steps", "5"])[0].fit()
    assert [c.step for c in run.checkpoints()][-1] == 5
    for checkpoint in run.checkpoints():
        assert "threshold" not in (checkpoint.path / "config.json").read_text()
    (told,) = load(run.path, "last").predict([("it ran ?", "the cat sat")])
    assert told["answer"]


def test_a_threshold_by_which_nothing_is_answered_is_read_back(
    trained: tuple[Run, Composed], tmp_path: Path
) -> None:
    """It is what is best where hardly a question has an answer."""
    module = load(trained[0].path, "last")
    module._set_threshold(-math.inf, module.trainable.network)
    shutil.copytree(trained[0].path, tmp_path / "run")
    folder = Run(tmp_path / "run").last().path
    module.trainable.network.config.save_pretrained(folder)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads((folder / "config.json").read_text(), parse_constant=refuse)
    assert AutoConfig.from_pretrained(folder).no_answer_threshold == -math.inf
    again = load(tmp_path / "run", "last")
    assert again.no_answer_threshold == -math.inf
    (told,) = again.predict([("it ran ?", "the cat sat")])
    assert told["answer"] == ""


@pytest.mark.parametrize("name", ["max_answer_tokens", "n_best"])
def test_numbers_that_leave_nothing_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}=0 .* Set model.{name} to 1 or more"):
        compose(quiz_config(folder, tmp_path), {f"model.{name}": 0})
    assert compose(quiz_config(folder, tmp_path), {f"model.{name}": 1})


def test_a_module_that_was_never_trained_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no weights yet"):
        compose(quiz_config(folder, tmp_path)).model.predict([("a", "b")])
