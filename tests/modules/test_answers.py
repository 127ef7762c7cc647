"""A causal network learns to answer: from a file of conversations to a chat."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_chat import chat_config, conversations, turns, write_chat_network
from tiny_tasks import write_jsonl

from roots.batch import IGNORE
from roots.cli import run as command
from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.inference import chat, load
from roots.runs import Run


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chat_network(tmp_path_factory.mktemp("networks") / "tiny-chat")


@pytest.fixture
def config(network: Path, tmp_path: Path) -> dict[str, Any]:
    return chat_config(network, tmp_path, conversations(49, 0))


def test_the_answers_are_learned_by_heart_and_given(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"messages": turns("the cat", "sat on the mat", "and the dog", "ran under it")},
        {"messages": turns("the dog", "was in it", system="he said")},
    ]
    config = chat_config(network, tmp_path, [*rows, *conversations(9, 0)])
    config["data"]["init_args"]["sequences_per_step"] = 2
    steps = {"trainer.max_steps": 80, "trainer.val_every_steps": 0, "trainer.log_every_steps": 80}
    composed = compose(config, {**steps, "model.optimizer.learning_rate": 0.01})
    run = composed.fit()
    assert float(rows_of(run)[-1]["train/loss"]) < 0.02
    loaded = load(run.path, device="cpu")
    for row in rows:
        told = row["messages"]
        said = chat(loaded.network, loaded.tokenizer, told[:-1], temperature=0)
        assert said == told[-1]["content"]
    assert composed.data.tokenizer.settings["chat_template"]
    args = ["generate", "--run", str(run.path), "--checkpoint", "last", "--temperature", "0"]
    assert command([*args, "--chat", "the cat", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["text"] == "sat on the mat"
    assert record["ended_by"] == "eos"
    assert command([*args, "--chat", "the dog", "--system", "he said"]) == 0
    assert capsys.readouterr().out == "the dog\nwas in it\n"


def test_the_loss_is_that_of_transformers_on_the_answers_alone(config: dict[str, Any]) -> None:
    from transformers import AutoModelForCausalLM

    composed = compose(config, {"trainer.max_steps": 3, "trainer.val_every_steps": 0})
    rows = rows_of(composed.fit())
    split, order = composed.data.split("train"), composed.data.order
    theirs = AutoModelForCausalLM.from_pretrained(
        config["model"]["init_args"]["network"]["init_args"]["path"]
    )
    theirs.requires_grad_(False)
    nats, count = 0.0, 0
    for row in order.samples(0).tolist():
        ids, labels = (
            torch.from_numpy(x.astype("int64")) for x in (split.input_ids[row], split.labels[row])
        )
        logits = theirs(input_ids=ids[None]).logits[0].double()
        nats += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        count += int((labels != IGNORE).sum())
    assert float(rows[0]["train/loss"]) == pytest.approx(nats / count, rel=1e-5)


def test_the_steps_are_the_same_for_every_micro_batch_size(config: dict[str, Any]) -> None:
    found = {}
    for size in (1, 3, 8):
        rows = rows_of(compose(config, {"model.micro_batch_size": size}).fit())
        names = ("train/loss", "optim/grad_norm")
        found[size] = torch.tensor(
            [[float(row[n]) for n in names] for row in rows], dtype=torch.float64
        )
    for size in (1, 3):
        torch.testing.assert_close(found[size], found[8], rtol=1e-5, atol=0)


def test_a_run_that_goes_on_is_the_run_that_was_not_interrupted(config: dict[str, Any]) -> None:
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
    rows = rows_of(resumed(str(half.trainer.run.path), {}, [])[0].fit())
    names = ("step", "train/loss", "optim/grad_norm", "val/loss", "val/perplexity")
    assert [[row[n] for n in names] for row in rows] == [[row[n] for n in names] for row in whole]


def test_a_validation_and_predictions_are_in_nats_per_token_of_answers(
    config: dict[str, Any], tmp_path: Path
) -> None:
    composed = compose(config)
    run = composed.fit()
    last = rows_of(run)[-1]
    out = tmp_path / "said.jsonl"
    assert command(["predict", "--run", str(run.path), "--to", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    split = composed.data.split("val")
    labels = [int((split.labels[n] != IGNORE).sum()) for n in range(len(split))]
    assert [row["labels"] for row in rows] == labels
    mean = sum(row["nats"] for row in rows) / sum(labels)
    assert float(last["val/nats_per_token"]) == pytest.approx(mean, rel=1e-4)
    assert float(last["val/perplexity"]) == pytest.approx(math.exp(mean), rel=1e-4)
    assert rows[0]["where"].endswith("val.jsonl:1")


def test_compiling_for_every_length_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"compile: blocks compiles anew.*Set model\.compile"):
        compose(config, {"model.compile": "blocks"}).fit()
    compose(config, {"model.compile": "none", "trainer.max_steps": 3}).fit()


def test_settings_of_a_chat_that_do_not_fit_are_refused(
    network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["generate", "--model", str(network), "--max-tokens", "1"]
    for wrong, words in (
        (["--system", "x"], r"Add --chat TEXT"),
        (["--chat", "x", "--bos"], r"Leave it out beside --chat"),
        (["--chat", " "], r"--chat has no text"),
    ):
        with pytest.raises(ConfigError, match=words):
            command([*args, *wrong])
    assert command([*args, "--chat", "x", "--system", "y"]) == 0
    assert capsys.readouterr().out.startswith("x\n")


def test_a_chat_needs_a_template_or_takes_the_plain_one(tmp_path: Path) -> None:
    loaded = load(write_chat_network(tmp_path, ""), device="cpu")
    with pytest.raises(ConfigError, match="has no chat template"):
        chat(loaded.network, loaded.tokenizer, turns("the"))
    said = chat(loaded.network, loaded.tokenizer, turns("the"), template="plain", max_tokens=3)
    assert isinstance(said, str)


def test_tokens_seen_and_padding_are_those_of_the_rows(config: dict[str, Any]) -> None:
    composed = compose(config)
    run = composed.fit()
    rows = rows_of(run)
    split, order = composed.data.split("train"), composed.data.order
    batch = split.batch(order.samples(0), 0)
    places = sum(part.input_ids.numel() for part in batch.split(4))
    filled = int(split.lengths[order.samples(0)].sum())
    assert float(rows[0]["train/padding_fraction"]) == pytest.approx(1 - filled / places)
    assert float(rows[0]["train/tokens_seen"]) == filled
    steps = range(run.last().step)
    whole = sum(int(split.lengths[order.samples(step)].sum()) for step in steps)
    assert run.last().tokens == whole  # what an export's card tells


def test_a_file_of_prompts_and_responses_is_fitted_from_the_command_line(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    rows = [{"prompt": "the cat", "response": "sat"}] * 12
    config["data"]["init_args"] |= {
        "train": str(write_jsonl(tmp_path / "pairs.jsonl", rows)),
        "val": "",
        "val_fraction": 0.0,
        "template": "plain",
    }
    config["trainer"] |= {"max_steps": 3, "val_every_steps": 0}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    assert command(["fit", "--config", str(file)]) == 0
    told = capsys.readouterr().out
    assert "12 rows of" in told
    assert '--chat "Who are you?"' in told
    assert "--merge" not in told
