"""Masked language models from run file to checkpoint, and on to a classifier."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_masked import masked_config
from transformers import AutoModelForMaskedLM, AutoTokenizer

from roots.batch import IGNORE
from roots.cli import run as roots
from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.compose import Composed, resumed
from roots.runs import Run

ROWS = ("windows", "documents", "packed")


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def numbers(run: Run) -> list[tuple[str, ...]]:
    names = ("step", "train/loss", "optim/grad_norm", "val/loss", "val/accuracy")
    return [tuple(row[name] for name in names) for row in rows_of(run)]


@pytest.fixture(scope="module", params=ROWS)
def fitted(request: Any, masked_shards: Path, tmp_path_factory: Any) -> Composed:
    runs = tmp_path_factory.mktemp("runs")
    composed = compose(masked_config(masked_shards, runs, rows=request.param))
    composed.fit()
    return composed


def test_a_validation_reports_the_means_over_all_hidden_tokens(fitted: Composed) -> None:
    network = fitted.model.trainable.network.eval()
    nats, hits, count = 0.0, 0, 0
    for batch in fitted.data.val_dataloader():
        arguments = fitted.model.trainable.arguments(batch)
        with torch.no_grad():
            logits = network(**arguments).logits.double()
        there = batch.labels != IGNORE
        labels = batch.labels[there]
        nats += float(-logits.log_softmax(-1)[there].gather(1, labels[:, None]).sum())
        hits += int((logits.argmax(-1)[there] == labels).sum())
        count += len(labels)
    assert fitted.trainer.run is not None
    last = rows_of(fitted.trainer.run)[-1]
    assert float(last["val/nats_per_token"]) == pytest.approx(nats / count, rel=1e-5)
    assert float(last["val/loss"]) == float(last["val/nats_per_token"])
    assert float(last["val/perplexity"]) == pytest.approx(math.exp(nats / count), rel=1e-4)
    assert float(last["val/accuracy"]) == pytest.approx(hits / count)


def test_a_checkpoint_opens_in_transformers(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    folder = fitted.trainer.run.last().path
    network = AutoModelForMaskedLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("the cat")["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert tokenizer.mask_token_id == fitted.data.tokenizer.mask_id
    assert network.config.pad_token_id == fitted.data.tokenizer.pad_id
    expected = fitted.model.trainable.network.state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("rows", ROWS)
def test_resuming_gives_bitwise_the_uninterrupted_run(
    masked_shards: Path, tmp_path: Path, rows: str
) -> None:
    whole = compose(masked_config(masked_shards, tmp_path / "a", rows=rows)).fit()
    short = masked_config(masked_shards, tmp_path / "b", rows=rows, checkpoint_every_steps=3)

    class PowerCut(Exception):
        pass

    composed = compose(short)

    def cut(*_: Any) -> None:
        if composed.trainer.global_step == 4:
            raise PowerCut

    composed.model.on_train_batch_start = cut
    with pytest.raises(PowerCut):
        composed.fit()
    assert composed.trainer.run is not None
    again, changes = resumed(str(composed.trainer.run.path), {}, [])
    assert changes == []
    assert numbers(again.fit()) == numbers(whole)


def test_a_resumed_run_cannot_cut_its_rows_otherwise(masked_shards: Path, tmp_path: Path) -> None:
    from roots.errors import CheckpointError

    run = compose(masked_config(masked_shards, tmp_path, max_steps=3)).fit()
    with pytest.raises(CheckpointError, match=r"cannot change data\.init_args\.rows: \"windows\""):
        resumed(str(run.path), {}, ["--data.rows=packed"])


def test_one_batch_can_be_learned_by_heart(masked_shards: Path, tmp_path: Path) -> None:
    config = masked_config(masked_shards, tmp_path, max_steps=150, val_every_steps=150)
    config["model"]["init_args"]["optimizer"]["init_args"] = {
        "learning_rate": 1e-2,
        "weight_decay": 0.0,
    }
    composed = compose(config)
    first: list[Any] = []

    def same(batch: Any, *_: Any) -> Any:
        first.append(batch)
        return replace(first[0], step=batch.step)

    composed.data.on_before_batch_transfer = same
    composed.data.val_dataloader = lambda: []
    run = composed.fit()
    assert float(rows_of(run)[0]["train/loss"]) > 3
    assert float(rows_of(run)[-1]["train/loss"]) < 0.05


def test_predictions_are_scores_of_rows(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    path = fitted.trainer.run.path
    assert roots(["predict", "--run", str(path), "--checkpoint", "last"]) == 0
    lines = (path / "predictions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert sorted(row["sample"] for row in rows) == list(range(len(fitted.data.sequences("val"))))
    mean = sum(row["nats"] for row in rows) / sum(row["labels"] for row in rows)
    last = rows_of(fitted.trainer.run)[-1]
    assert mean == pytest.approx(float(last["val/loss"]), rel=1e-4)


def test_the_command_line_trains_one(masked_shards: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(masked_config(masked_shards, tmp_path / "runs")))
    flags = ["--data.masking.rate", "0.3", "--model.network.config.num_hidden_layers", "1"]
    assert roots(["fit", "--config", str(file), "--trainer.max_steps", "3", *flags]) == 0
    run = Run(tmp_path / "runs" / "tiny" / "0001")
    written = yaml.safe_load(run.config_file.read_text())
    assert written["data"]["init_args"]["masking"]["init_args"]["rate"] == 0.3
    assert roots(["validate", "--run", str(run.path)]) == 0


# -- and on -----------------------------------------------------------------------------------


def test_a_classifier_starts_from_a_run_with_its_weights_and_tokenizer(
    fitted: Composed, tmp_path: Path
) -> None:
    table = tmp_path / "rows.tsv"
    lines = [f"the {a} sat\t{a}" for a in ("cat", "dog") for _ in range(12)]
    table.write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    assert fitted.trainer.run is not None
    config = masked_config(Path("unused"), tmp_path / "runs")
    config["model"] = {
        "class_path": "roots.modules.SequenceClassifier",
        "init_args": {
            "network": {
                "class_path": "roots.networks.Pretrained",
                "init_args": {"path": str(fitted.trainer.run.path)},
            },
            "optimizer": config["model"]["init_args"]["optimizer"],
            "schedule": config["model"]["init_args"]["schedule"],
        },
    }
    config["data"] = {
        "class_path": "roots.data.LabelledTexts",
        "init_args": {
            "train": str(table),
            "val": str(table),
            "seq_len": 16,
            "sequences_per_step": 8,
        },
    }
    overrides = {"trainer.max_steps": 1, "trainer.val_every_steps": 1}
    composed = compose(config, {**overrides, "model.schedule.warmup_steps": 0})
    started: dict[str, torch.Tensor] = {}

    def keep() -> None:
        body = composed.model.trainable.network.base_model
        started.update({k: v.clone() for k, v in body.state_dict().items()})

    composed.model.on_train_start = keep
    run = composed.fit()
    assert "accuracy" in json.dumps(list(rows_of(run)[-1]))
    assert composed.data.tokenizer.fingerprint == fitted.data.tokenizer.fingerprint
    assert composed.data.split("train").input_ids[0][0] == fitted.data.tokenizer.bos_id
    body = AutoModelForMaskedLM.from_pretrained(fitted.trainer.run.best().path).base_model
    for name, value in body.state_dict().items():
        assert torch.equal(started[name], value), name
    assert len(started) > len(body.state_dict())  # the pooler is new


def test_a_masked_model_goes_on_from_a_run(
    fitted: Composed, masked_shards: Path, tmp_path: Path
) -> None:
    assert fitted.trainer.run is not None
    config = masked_config(masked_shards, tmp_path)
    config["model"]["init_args"]["network"] = {
        "class_path": "roots.networks.Pretrained",
        "init_args": {"path": str(fitted.trainer.run.path)},
    }
    run = compose(config, {"trainer.max_steps": 1, "model.schedule.warmup_steps": 0}).fit()
    assert float(rows_of(run)[0]["train/loss"]) < 4.2  # log of 65 tokens


# -- what is refused ----------------------------------------------------------------------------


def test_hidden_tokens_are_no_task_for_a_causal_model_and_the_other_way_round(
    masked_shards: Path, tmp_path: Path
) -> None:
    config = masked_config(masked_shards, tmp_path, "bert")
    wrong = {**config, "model": {**config["model"], "class_path": "roots.modules.CausalLM"}}
    with pytest.raises(
        ConfigError, match=r"MaskedCorpus asks for hidden tokens, .*roots\.modules\.MaskedLM"
    ):
        compose(wrong).fit()
    data = {"class_path": "roots.data.TokenCorpus", "init_args": {"shards": str(masked_shards)}}
    with pytest.raises(
        ConfigError, match=r"TokenCorpus asks for next tokens, .*roots\.modules\.CausalLM"
    ):
        compose({**config, "data": data}).fit()


def test_rows_of_different_lengths_are_not_compiled(masked_shards: Path, tmp_path: Path) -> None:
    config = masked_config(masked_shards, tmp_path, rows="documents")
    with pytest.raises(ConfigError, match=r"compile: blocks .*\(data.rows: documents\).*to none"):
        compose(config, {"model.compile": "blocks"}).fit()


def test_a_family_that_cannot_be_packed_is_refused_with_the_setting(
    masked_shards: Path, tmp_path: Path
) -> None:
    config = masked_config(masked_shards, tmp_path, "deberta-v2", rows="packed")
    message = r"DebertaV2ForMaskedLM cannot keep .* apart, as data\.rows: packed asks: "
    with pytest.raises(ConfigError, match=message):
        compose(config).fit()
    compose(
        config, {"data.rows": "windows", "trainer.max_steps": 1, "model.schedule.warmup_steps": 0}
    ).fit()


# -- compiled -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["blocks", "network"])
@pytest.mark.parametrize("rows", ["windows", "packed"])
def test_compiled_it_makes_the_same_steps_and_nothing_is_compiled_twice(
    masked_shards: Path, tmp_path: Path, rows: str, mode: str
) -> None:
    from torch._dynamo.utils import counters

    plain = rows_of(compose(masked_config(masked_shards, tmp_path / "a", rows=rows)).fit())
    torch.compiler.reset()
    counters.clear()
    config = masked_config(masked_shards, tmp_path / "b", rows=rows, val_every_steps=6)
    composed = compose(config, {"model.compile": mode})
    after: list[int] = []

    def count(*_: Any) -> None:
        after.append(counters["stats"]["unique_graphs"])

    composed.model.on_train_batch_end = count
    compiled = rows_of(composed.fit())
    for one, two in zip(plain, compiled, strict=True):
        assert float(one["train/loss"]) == pytest.approx(float(two["train/loss"]), rel=1e-4)
    assert after[0] > 0
    assert len(set(after)) == 1


@pytest.mark.heavy
@pytest.mark.parametrize(("mode", "quick"), [("none", True), ("blocks", False)])
def test_dropout_is_quick_where_nothing_is_compiled(
    mode: str, quick: bool, masked_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roots.networks.dropout import QuickDropout

    monkeypatch.setattr("roots.networks.compiling.compile_network", lambda *_, **__: None)
    monkeypatch.setattr("roots.modules.make_fast.compile_network", lambda *_, **__: None)
    config = masked_config(masked_shards, tmp_path / "runs", max_steps=3)
    composed = compose(config, {"model.compile": mode})
    composed.fit()
    kinds = {type(module) for module in composed.model.trainable.modules()}
    assert (QuickDropout in kinds) is quick
    assert (torch.nn.Dropout in kinds) is not quick


@pytest.mark.parametrize(("rows", "expected"), [("documents", True), ("windows", False)])
def test_a_network_that_reads_padding_is_told_of_where_rows_are_filled_up(
    rows: str, expected: bool, masked_shards: Path, tmp_path: Path
) -> None:
    config = masked_config(masked_shards, tmp_path, rows=rows)
    config["model"]["init_args"]["network"]["init_args"]["config"] = {
        "model_type": "fnet",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
    }
    composed = compose(config, {"trainer.max_steps": 3})
    composed.fit()
    told = [remark for remark in composed.model.remarks if remark.startswith("padding: ")]
    assert bool(told) is expected
