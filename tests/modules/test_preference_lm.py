"""A network learns which answers are preferred: from a file of pairs to a chat."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from preferred import NAMES, adapted, log_probs, preference_config, preferences
from taught import numbers, rows_of
from tiny_chat import turns, write_chat_network

import roots
from roots.batch import IGNORE
from roots.cli import run as command
from roots.errors import ConfigError
from roots.evaluation.run_record import read_record
from roots.fit import compose
from roots.inference import chat, load
from roots.runs import Run

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chat_network(tmp_path_factory.mktemp("networks") / "tiny-chat")


@pytest.fixture
def config(network: Path, tmp_path: Path) -> dict[str, Any]:
    return preference_config(network, tmp_path, preferences(49, 0))


# -- what is learned -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapts", "precision"),
    [
        ("", "32"),
        ("", "bf16-mixed"),
        ("", "bf16-true"),
        ("lora", "32"),
        ("lora", "bf16-mixed"),
        ("qlora", "32"),
    ],
)
def test_before_training_the_loss_is_ln_2_and_there_are_no_rewards(
    config: dict[str, Any], adapts: str, precision: str
) -> None:
    config = adapted(config) if adapts else config
    if adapts == "qlora":
        few = {"class_path": "roots.networks.NF4", "init_args": {"compute_dtype": "float32"}}
        config["model"]["init_args"]["network"]["init_args"]["quantise"] = few
    settings = {"trainer.max_steps": 3, "trainer.precision": precision}
    first, second, *_ = rows_of(compose(config, settings).fit())
    assert float(first["train/loss"]) == pytest.approx(math.log(2), rel=1e-7)
    assert float(first["train/accuracy"]) == 0.5
    for name in ("margin", "chosen_reward", "rejected_reward"):
        assert float(first[f"train/{name}"]) == 0
    assert float(second["train/margin"]) != 0


def test_pairs_are_learned_by_heart_measured_predicted_exported_and_the_network_answers(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": "the cat", "chosen": "sat on the mat", "rejected": "ran"},
        {"prompt": turns("the dog"), "chosen": turns("", "ran")[1:], "rejected": "sat on the mat"},
        {"chosen": turns("he said", "on"), "rejected": turns("he said", "in")},
    ]
    config = preference_config(network, tmp_path, [*rows, *rows * 3])
    config["data"]["init_args"]["sequences_per_step"] = 3
    config["model"]["init_args"] |= {"chosen_weight": 1.0, "beta": 0.5}
    settings = {"trainer.max_steps": 60, "trainer.val_every_steps": 60}
    composed = compose(config, {**settings, "model.optimizer.learning_rate": 0.01})
    run = composed.fit()
    last = rows_of(run)[-1]
    margin, nats = float(last["val/margin"]), float(last["val/chosen_nats"])
    assert float(last["val/accuracy"]) == 1
    assert float(last["val/loss"]) - nats < 0.01
    assert float(last["val/chosen_reward"]) - float(last["val/rejected_reward"]) == pytest.approx(
        margin, rel=1e-6
    )
    loaded = load(run.path, device="cpu")
    assert chat(loaded.network, loaded.tokenizer, turns("the cat"), temperature=0) == (
        "sat on the mat"
    )
    capsys.readouterr()
    where = str(run.path)
    assert command(["validate", "--run", where, "--checkpoint", "last"]) == 0
    said = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert float(said["val/margin"]) == pytest.approx(margin, rel=1e-5)
    assert command(["predict", "--run", where, "--checkpoint", "last"]) == 0
    found = [json.loads(line) for line in (run.path / "predictions.jsonl").read_text().splitlines()]
    assert [row["preferred"] for row in found] == ["chosen"] * 9
    assert found[0]["where"].endswith("val.jsonl:1")
    assert sum(row["margin"] for row in found) / 9 == pytest.approx(margin, rel=1e-5)
    split = composed.data.split("val")
    now, before = (log_probs(folder, split, 0) for folder in (run.last().path, network))
    given = [found[0][f"{side}_log_prob"] for side in ("chosen", "rejected")]
    assert given == pytest.approx(now, rel=1e-4, abs=1e-4)
    assert [found[0][f"{side}_log_prob_before"] for side in ("chosen", "rejected")] == (
        pytest.approx(before, rel=1e-4)
    )
    assert found[0]["chosen_reward"] == pytest.approx(0.5 * (now[0] - before[0]), rel=1e-4)
    out = tmp_path / "exported"
    args = ["export", "--run", where, "--checkpoint", "last", "--to", str(out)]
    assert command(args) == 0
    again = load(out, device="cpu")
    assert chat(again.network, again.tokenizer, turns("the dog"), temperature=0) == "ran"


def test_the_loss_of_a_step_is_equation_7_by_transformers_in_float64(
    config: dict[str, Any], network: Path, tmp_path: Path
) -> None:
    config["model"]["init_args"] |= {"beta": 0.3, "label_smoothing": 0.1, "chosen_weight": 0.2}
    composed = compose(config, {"trainer.max_steps": 3, "trainer.val_every_steps": 0})
    folder = tmp_path / "after two steps"

    def save(*_: Any) -> None:
        if composed.trainer.global_step == 2:
            composed.model.trainable.network.save_pretrained(folder)

    composed.model.on_train_batch_start = save
    run = composed.fit()
    split = composed.data.split("train")
    losses = []
    for pair in composed.data.order.samples(2).tolist():
        now, before = log_probs(folder, split, pair), log_probs(network, split, pair)
        margin = 0.3 * ((now[0] - before[0]) - (now[1] - before[1]))
        nats, other = math.log1p(math.exp(-margin)), math.log1p(math.exp(margin))
        n_tokens = int((split.labels[2 * pair] != IGNORE).sum())
        losses.append(0.9 * nats + 0.1 * other - 0.2 * now[0] / n_tokens)
    expected = sum(losses) / len(losses)
    assert float(rows_of(run)[2]["train/loss"]) == pytest.approx(expected, rel=1e-5)


def test_the_steps_are_the_same_for_every_micro_batch_size(config: dict[str, Any]) -> None:
    found = {
        size: numbers(compose(config, {"model.micro_batch_size": size}).fit(), *NAMES)
        for size in (1, 3, 8)
    }
    assert found[8].isfinite().any(0).all()
    for size in (1, 3):
        torch.testing.assert_close(found[size], found[8], rtol=2e-5, atol=1e-6, equal_nan=True)


def test_a_network_that_caps_its_logits_is_compared_by_its_own_forward(
    network: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    capped = {
        "model_type": "gemma2",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    config["model"]["init_args"]["network"] = {
        "class_path": "roots.networks.Scratch",
        "init_args": {"config": capped},
    }
    config["data"]["init_args"]["tokenizer"] = str(network)
    composed = compose(config)
    rows = rows_of(composed.fit())
    assert "loss: plain, on the network's own logits" in "".join(composed.model.remarks)
    assert float(rows[0]["train/loss"]) == pytest.approx(math.log(2), rel=1e-7)
    assert float(rows[-1]["val/margin"]) > 0


# -- used ------------------------------------------------------------------------------------------


def test_a_loaded_network_writes_and_says_where_pairs_are_measured(
    config: dict[str, Any], network: Path
) -> None:
    composed = compose(config)
    run = composed.fit()
    module = roots.load(run.path)
    text = roots.inference.generate(
        module.trainable.network, module.tokenizer, "the cat", max_tokens=3, temperature=0
    )
    assert isinstance(text, str)
    batch = composed.data.split("val").batch(composed.data.order.samples(0)[:2] % 9, 0)
    with pytest.raises(ConfigError, match=r"before training, which is only there in a run"):
        module.trainable(batch)
    assert composed.generate("the cat", max_tokens=2) is not None


def test_pairs_of_a_file_are_judged(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiny_tasks import write_jsonl

    run = compose(adapted(config)).fit()
    asked = write_jsonl(tmp_path / "asked.jsonl", preferences(4, 9))
    out = tmp_path / "said.csv"
    args = ["predict", "--run", str(run.path), "--from", str(asked), "--to", str(out)]
    assert command(args) == 0
    assert "4 rows" in capsys.readouterr().out
    header, *lines = out.read_text().splitlines()
    assert header.startswith("where,preferred,margin,chosen_reward,rejected_reward")
    assert len(lines) == 4


def test_a_run_from_the_command_line_says_what_comes_next(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    config["trainer"] |= {"max_steps": 3, "val_every_steps": 3}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(adapted(config)))
    assert command(["fit", "--config", str(file)]) == 0
    told = capsys.readouterr().out
    assert "40 pairs, prompt and answer of" in told
    assert "8 pairs of up to 128" in told
    assert "reference" in told
    assert '--chat "Who are you?"' in told
    assert "--merge" in told
    (run,) = (tmp_path / "runs" / "tiny").iterdir()
    assert command(["generate", "--run", str(run), "--chat", "the cat", "--max-tokens", "2"]) == 0
    assert command(["list", str(tmp_path / "runs")]) == 0
    assert command(["report", str(run)]) == 0
    page = (Run(run).path / "report.html").read_text()
    assert read_record(Run(run)).loss_unit == "nats per pair"
    assert "val/accuracy" in page


def test_lists_and_data_that_ask_for_something_else_are_refused(
    config: dict[str, Any], network: Path, tmp_path: Path
) -> None:
    from tiny_chat import chat_config, conversations

    (tmp_path / "chat").mkdir()
    other = chat_config(network, tmp_path / "chat", conversations(20, 0))
    with pytest.raises(ConfigError, match=r"learns which answer is preferred.*Preferences"):
        compose({**config, "data": other["data"]}).fit()
    with pytest.raises(ConfigError, match=r"asks for which answer is preferred.*PreferenceLM"):
        compose({**other, "data": config["data"]}).fit()
