"""A student and its teacher: language models, encoders, classifiers; from run to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import pairs_config, write_pairs
from quizzes import quiz_config, quiz_files
from taught import numbers, rows_of, taught
from tiny import LLAMA, tiny_config
from tiny_masked import encoder as encoder_config
from tiny_masked import masked_config
from tiny_tasks import (
    classes,
    tagged,
    tagging_config,
    task_config,
    words_data,
    write_bert,
    write_encoder,
    write_jsonl,
)

import roots
from roots.cli import run as command
from roots.errors import CheckpointError, ConfigError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.inference import generate, load
from roots.runs import Run

pytestmark = pytest.mark.heavy

COMPARED = ("train/loss", "optim/grad_norm", "val/loss")


def texts(folder: Path) -> dict[str, Any]:
    rows = classes(72, 0)
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:-12])),
        "val": str(write_jsonl(folder / "val.jsonl", rows[-12:])),
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    return {"class_path": "roots.data.LabelledTexts", "init_args": arguments}


@pytest.fixture(scope="module")
def causal_teacher(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a wider network on the tiny corpus."""
    config = tiny_config(shards, tmp_path_factory.mktemp("teachers"), max_steps=20)
    network = config["model"]["init_args"]["network"]["init_args"]
    network["config"] = {**LLAMA, "hidden_size": 48}
    return compose(config).fit().path


@pytest.fixture(scope="module")
def classifier(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a classifier that knows its texts."""
    folder = tmp_path_factory.mktemp("classifier")
    config = task_config("SequenceClassifier", texts(folder), encoder, folder / "runs")
    return compose(config, {"trainer.max_steps": 40}).fit().path


@pytest.fixture
def student(encoder: Path, tmp_path: Path) -> dict[str, Any]:
    """A smaller encoder from scratch, on the texts of the teacher."""
    config = task_config("SequenceClassifier", texts(tmp_path), encoder, tmp_path / "runs")
    small = {**encoder_config("bert"), "hidden_size": 16, "num_hidden_layers": 1}
    config["model"]["init_args"]["network"] = {
        "class_path": "roots.networks.Scratch",
        "init_args": {"config": small},
    }
    config["data"]["init_args"]["tokenizer"] = str(encoder)
    return config


# -- what is learned -------------------------------------------------------------------------------


def test_a_student_learns_the_teachers_word_and_is_an_ordinary_network_afterwards(
    config: dict[str, Any], causal_teacher: Path
) -> None:
    config["trainer"] |= {"max_steps": 30, "val_every_steps": 10}
    composed = compose(taught(config, causal_teacher, alpha=0.7, temperature=2.0))
    run = composed.fit()
    rows = rows_of(run)
    for row in rows:
        if row["train/loss"]:
            hard, soft = float(row["train/hard_loss"]), float(row["train/soft_loss"])
            assert float(row["train/loss"]) == pytest.approx(0.3 * hard + 0.7 * soft, rel=1e-5)
    validated = [row for row in rows if row["val/soft_loss"]]
    assert float(validated[-1]["val/soft_loss"]) < 0.7 * float(validated[0]["val/soft_loss"])
    assert float(validated[-1]["val/hard_loss"]) == pytest.approx(
        float(validated[-1]["val/nats_per_token"]), rel=1e-5
    )
    assert any(remark.startswith("teacher: ") for remark in composed.model.remarks)
    # nothing of the teacher is in the checkpoint but its path and the sum of its weights
    state = torch.load(run.last().trainer_file, weights_only=True)
    assert set(state["teacher"]) == {"path", "revision", "sha256"}
    alone = compose(config, {"trainer.max_steps": 3}).fit()
    plain = torch.load(alone.last().trainer_file, weights_only=True)["state_dict"]
    assert state["state_dict"].keys() == plain.keys()
    assert composed.model.trainable.companion is None  # it was let go
    loaded = load(run.path)
    assert generate(loaded.network, loaded.tokenizer, "the cat", max_tokens=3, temperature=0)


def test_with_alpha_0_the_run_is_that_without_a_teacher(
    config: dict[str, Any], causal_teacher: Path
) -> None:
    alone = compose(config).fit()
    beside = compose(taught(config, causal_teacher, alpha=0.0)).fit()
    torch.testing.assert_close(
        numbers(beside, *COMPARED), numbers(alone, *COMPARED), rtol=1e-6, atol=0, equal_nan=True
    )


def test_a_student_that_is_its_teacher_has_no_soft_loss(
    config: dict[str, Any], causal_teacher: Path
) -> None:
    network = {
        "class_path": "roots.networks.Pretrained",
        "init_args": {"path": str(causal_teacher)},
    }
    config["model"]["init_args"]["network"] = network
    run = compose(taught(config, causal_teacher, alpha=1.0)).fit()
    first = rows_of(run)[0]
    assert float(first["train/soft_loss"]) == pytest.approx(0, abs=1e-6)
    assert float(first["train/agreement"]) == 1


def test_hidden_tokens_are_learned_of_a_teacher_of_another_size(
    masked_shards: Path, tmp_path: Path
) -> None:
    config = masked_config(masked_shards, tmp_path / "runs")
    large = {**config["model"]["init_args"]["network"]["init_args"]["config"], "hidden_size": 48}
    teacher = compose(config, {"model.network.init_args.config": large}).fit()
    for settings in ({}, {"data.rows": "packed"}):
        run = compose(taught(config, teacher.path, temperature=2.0), settings).fit()
        last = rows_of(run)[-1]
        hard, soft = float(last["val/hard_loss"]), float(last["val/soft_loss"])
        assert float(last["val/loss"]) == pytest.approx((hard + soft) / 2, rel=1e-5)
        assert 0 <= float(last["val/agreement"]) <= 1
        assert hard == pytest.approx(float(last["val/nats_per_token"]), rel=1e-5)


def test_a_small_classifier_comes_to_agree_with_a_large_one(
    student: dict[str, Any], classifier: Path
) -> None:
    student["trainer"] |= {"max_steps": 60, "val_every_steps": 60}
    student["model"]["init_args"]["optimizer"]["init_args"]["learning_rate"] = 1e-2
    composed = compose(taught(student, classifier, alpha=1.0, temperature=2.0))
    run = composed.fit()
    last = rows_of(run)[-1]
    assert float(last["val/agreement"]) > 0.9
    assert float(last["val/loss"]) == pytest.approx(float(last["val/soft_loss"]), rel=1e-6)
    again = roots.load(run.path)
    assert again.predict(["the cat sat"])[0]["label"] in ("cat", "dog", "none")
    measured = composed.evaluate("validate")[0] or composed.trainer.latest
    assert composed.trainer.latest["val/agreement"] == pytest.approx(float(last["val/agreement"]))
    assert measured


def tags(folder: Path) -> dict[str, Any]:
    words = words_data(folder, tagged(60, 0))
    return tagging_config(write_bert(folder / "bert"), folder / "runs", words)


def quiz(folder: Path) -> dict[str, Any]:
    return quiz_config(quiz_files(folder), folder / "runs")


def pairs(folder: Path) -> dict[str, Any]:
    return pairs_config(write_pairs(folder), folder / "runs", callbacks=[])


@pytest.mark.slow
@pytest.mark.parametrize("made", [tags, quiz, pairs])
def test_every_other_task_has_students_too(made: Any, tmp_path: Path) -> None:
    config = made(tmp_path)
    teacher = compose(config).fit()
    row, *_, last = rows_of(compose(taught(config, teacher.path, temperature=2.0)).fit())
    hard, soft = float(row["train/hard_loss"]), float(row["train/soft_loss"])
    assert float(row["train/loss"]) == pytest.approx((hard + soft) / 2, rel=1e-5)
    assert soft > 0
    assert 0 <= float(last["val/agreement"]) <= 1
    network = {"class_path": "roots.networks.Pretrained", "init_args": {"path": str(teacher.path)}}
    settings = {"model.network": network, "trainer.max_steps": 3, "model.micro_batch_size": 5}
    equal = rows_of(compose(taught(config, teacher.path), settings).fit())[0]
    assert float(equal["train/soft_loss"]) == pytest.approx(0, abs=1e-6)
    assert float(equal["train/agreement"]) == pytest.approx(1)


@pytest.mark.slow
def test_a_teacher_whose_head_cannot_be_told_apart_speaks_by_its_own_logits(
    config: dict[str, Any], causal_teacher: Path, tmp_path: Path
) -> None:
    """Gemma 2 caps its logits: the network's own forward is run, for a teacher and a student."""
    capped = {**LLAMA, "model_type": "gemma2", "head_dim": 16, "num_key_value_heads": 2}
    network = {"class_path": "roots.networks.Scratch", "init_args": {"config": capped}}
    settings = {"model.network": network}
    teacher = compose(config, settings).fit()
    composed = compose(taught(config, teacher.path))
    row = rows_of(composed.fit())[0]
    assert "its own forward is run, because its logits differ" in "".join(composed.model.remarks)
    hard, soft = float(row["train/hard_loss"]), float(row["train/soft_loss"])
    assert float(row["train/loss"]) == pytest.approx((hard + soft) / 2, rel=1e-5)
    row = rows_of(compose(taught(config, causal_teacher, alpha=1.0), settings).fit())[0]
    assert float(row["train/loss"]) == pytest.approx(float(row["train/soft_loss"]), rel=1e-6)


def test_the_steps_are_the_same_for_every_micro_batch_size(
    student: dict[str, Any], classifier: Path
) -> None:
    names = (*COMPARED, "train/soft_loss", "train/hard_loss", "train/agreement", "val/soft_loss")
    found = {}
    for size in (3, 8):
        run = compose(taught(student, classifier), {"model.micro_batch_size": size}).fit()
        found[size] = numbers(run, *names)
    torch.testing.assert_close(found[3], found[8], rtol=1e-5, atol=1e-7, equal_nan=True)


def test_under_bfloat16_the_teacher_computes_as_the_student_does(
    config: dict[str, Any], causal_teacher: Path
) -> None:
    exact = compose(taught(config, causal_teacher)).fit()
    for precision in ("bf16-mixed", "bf16-true"):
        settings = {"trainer.precision": precision}
        run = compose(taught(config, causal_teacher), settings).fit()
        torch.testing.assert_close(
            numbers(run, "train/soft_loss"), numbers(exact, "train/soft_loss"), rtol=0.05, atol=0.02
        )


# -- it goes on ------------------------------------------------------------------------------------


def test_a_run_that_goes_on_is_the_run_that_was_not_interrupted(
    student: dict[str, Any], classifier: Path, encoder: Path
) -> None:
    names = (*COMPARED, "train/soft_loss", "val/agreement")
    student["model"]["init_args"]["network"]["init_args"]["config"]["hidden_dropout_prob"] = 0.3
    config = taught(student, classifier)
    settings = {"trainer.checkpoint_every_steps": 3}
    whole = compose(config, settings).fit()
    half = compose(config, settings)

    class Killed(Exception):
        pass

    def stop(*_: Any) -> None:
        if half.trainer.global_step == 4:
            raise Killed

    half.model.on_train_batch_start = stop
    with pytest.raises(Killed):
        half.fit()
    where = str(half.trainer.run.path)
    other = {"--model.distiller.init_args.teacher": str(_another(classifier, encoder))}
    with pytest.raises(CheckpointError, match=r"learned from .* and the teacher at .* is another"):
        resumed(where, {}, [f"{k}={v}" for k, v in other.items()])
    composed, _ = resumed(where, {}, [])
    torch.testing.assert_close(
        numbers(composed.fit(), *names), numbers(whole, *names), rtol=0, atol=0, equal_nan=True
    )


def _another(classifier: Path, encoder: Path) -> Path:
    """The teacher after fewer steps, under the name of a Hugging Face folder."""
    from transformers import AutoModelForSequenceClassification

    from roots.tokenizer import Tokenizer

    folder = classifier.parent / "another"
    network = AutoModelForSequenceClassification.from_pretrained(Run(classifier).best().path)
    with torch.no_grad():
        network.classifier.weight.mul_(0.5)
    network.save_pretrained(folder)
    Tokenizer.load(encoder).save(folder)
    return folder


# -- what does not fit -----------------------------------------------------------------------------


def test_a_teacher_of_other_tokens_is_refused(
    config: dict[str, Any], student: dict[str, Any], causal_teacher: Path, tmp_path: Path
) -> None:
    other = write_encoder(tmp_path / "other")
    file = other / "tokenizer.json"
    file.write_text(file.read_text().replace('"cat":', '"caz":'))
    with pytest.raises(ConfigError, match=r"id \d+ is 'caz' for it and 'cat' here \(fingerprints"):
        compose(taught(student, other)).fit()
    with pytest.raises(ConfigError, match=r"reads other tokens .* tokenizer of the data"):
        compose(taught(student, causal_teacher)).fit()
    compose(taught(config, causal_teacher), {"trainer.max_steps": 3}).fit()


def test_a_teacher_of_other_labels_is_refused(
    student: dict[str, Any], classifier: Path, tmp_path: Path
) -> None:
    order = {"data.labels": ["dog", "cat", "none"]}
    with pytest.raises(
        ConfigError, match=r"one of 3: cat, dog, none, .* one of 3: dog, cat, none\..*data\.labels"
    ):
        compose(taught(student, classifier), order).fit()
    right = {"data.labels": ["cat", "dog", "none"], "trainer.max_steps": 3}
    compose(taught(student, classifier), right).fit()


def test_a_teacher_without_a_head_is_refused(student: dict[str, Any], tmp_path: Path) -> None:
    labels = ("cat", "dog", "none")
    named = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    folder = write_encoder(tmp_path / "headless", **named)
    with pytest.raises(ConfigError, match=r"no weights for its sequence classifier \(classifier"):
        compose(taught(student, folder)).fit()


def test_a_vocabulary_of_another_width_is_refused_with_both(
    config: dict[str, Any], causal_teacher: Path
) -> None:
    size = json.loads((Run(causal_teacher).best().path / "config.json").read_text())["vocab_size"]
    network = config["model"]["init_args"]["network"]["init_args"]
    network["config"] = {**LLAMA, "vocab_size": size + 20}
    with pytest.raises(
        ConfigError, match=rf"logits for {size} tokens and the student for {size + 20}"
    ):
        compose(taught(config, causal_teacher)).fit()
    network["config"] = {**LLAMA, "vocab_size": size}  # the cure
    compose(taught(config, causal_teacher), {"trainer.max_steps": 3}).fit()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alpha": 1.5}, r"alpha=1\.5 is no share.*0 \(labels alone\) to 1"),
        ({"temperature": 0.0}, r"temperature=0 softens nothing.*above 0"),
        ({"temperature": float("inf")}, r"temperature=inf softens nothing.*above 0"),
        ({"hidden_weight": float("inf")}, r"hidden_weight=inf is no weight.*0 to compare"),
        ({"hidden_weight": float("nan")}, r"hidden_weight=nan is no weight.*0 to compare"),
    ],
)
def test_numbers_that_cannot_work_are_refused(settings: dict[str, Any], words: str) -> None:
    from roots.modules import Distiller

    with pytest.raises(ConfigError, match=words):
        Distiller(teacher="anywhere", **settings)


def test_strategies_and_losses_that_know_no_teacher_are_refused(
    config: dict[str, Any], causal_teacher: Path
) -> None:
    with pytest.raises(ConfigError, match=r"FSDP cuts the weights.*strategy to ddp"):
        compose(taught(config, causal_teacher), {"trainer.strategy": "fsdp"})
    with pytest.raises(ConfigError, match=r"loss: torch knows no teacher.*fused or plain"):
        compose(taught(config, causal_teacher), {"model.loss": "torch"})


def test_the_plan_tells_of_the_teacher_and_finds_one_that_does_not_fit(
    config: dict[str, Any],
    causal_teacher: Path,
    classifier: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import yaml

    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(taught(config, causal_teacher, alpha=0.25)))
    assert command(["fit", "--config", str(file), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "teacher" in said
    assert "0.75 of the loss by the labels, 0.25 by the teacher" in said
    flag = f"--model.distiller.init_args.teacher={classifier}"
    with pytest.raises(ConfigError, match="reads other tokens"):
        command(["fit", "--config", str(file), "--dry-run", flag])
