"""Pairs of texts from files to translations: training, generation, checkpoints, predictions."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import torch
from pairs import NETWORKS, pairs_config, write_pairs
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from roots.cli import run as roots
from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.modules import Seq2Seq
from roots.runs import Run

CONFIG = "model.network.config"
EXPERIMENT = Path(__file__).parents[2] / "experiments" / "2026-11-multi30k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def fitted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    composed = compose(pairs_config(folder, tmp_path_factory.mktemp("runs")))
    composed.fit()
    return composed


def test_a_validation_reports_loss_and_what_is_written(fitted: Any) -> None:
    rows = rows_of(fitted.trainer.run)
    during, last = (row for row in rows if row["val/loss"])
    assert (during["val/generated_rows"], last["val/generated_rows"]) == ("5.0", "5.0")
    assert (during["val/all_rows/chrf"], last["val/all_rows/generated_rows"]) == ("", "12.0")
    for row in (during, last):
        for name in ("bleu", "chrf", "rouge1", "exact_match", "nats_per_token", "perplexity"):
            assert float(row[f"val/{name}"]) >= 0
    assert float(last["val/loss"]) < float(during["val/loss"])
    assert 0 < float(rows[-1]["train/padding_fraction"]) < 0.5


def test_without_rows_before_the_last_validation_its_values_are_of_all(
    folder: Path, tmp_path: Path
) -> None:
    config = pairs_config(folder, tmp_path, max_steps=2, val_every_steps=1)
    config["trainer"]["callbacks"][0]["init_args"]["rows"] = 0
    during, last = rows_of(compose(config).fit())
    assert (during["val/generated_rows"], last["val/generated_rows"]) == ("", "12.0")
    assert "val/all_rows/chrf" not in last


def test_samples_are_kept_in_the_order_of_the_split(fitted: Any, folder: Path) -> None:
    kept = jsonl(fitted.trainer.run.path / "samples.jsonl")
    assert [(row["step"], row["sample"]) for row in kept] == [
        *((3, n) for n in range(5)),
        *((6, n) for n in range(10)),
    ]
    assert [row["source"] for row in kept[5:]] == (folder / "val.en").read_text().splitlines()[:10]
    assert kept[5]["reference"] == (folder / "val.de").read_text().splitlines()[0]


def test_the_values_are_sacrebleus_of_the_predictions(
    fitted: Any, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    run = fitted.trainer.run
    assert roots(["predict", "--run", str(run.path), "--checkpoint", "last"]) == 0
    rows = jsonl(run.path / "predictions.jsonl")  # in the order of the file
    assert len({row["where"] for row in rows}) == len(rows) == 12
    references = (folder / "val.de").read_text().splitlines()
    outputs = [row["text"] for row in rows]
    assert roots(["validate", "--run", str(run.path), "--checkpoint", "last"]) == 0
    measured = json.loads((run.path / "validate.json").read_text())
    chrf = sacrebleu.corpus_chrf(outputs, [references]).score
    bleu = sacrebleu.corpus_bleu(outputs, [references], force=True).score
    assert measured["val/chrf"] == pytest.approx(chrf)
    assert measured["val/bleu"] == pytest.approx(bleu)
    last = rows_of(run)[-1]
    assert float(last["val/all_rows/chrf"]) == pytest.approx(chrf)
    first = sacrebleu.corpus_chrf(outputs[:5], [references[:5]]).score
    assert float(last["val/chrf"]) == pytest.approx(first) != pytest.approx(chrf)


def test_a_loaded_module_writes_what_transformers_writes(fitted: Any, folder: Path) -> None:
    run = fitted.trainer.run
    sources = (folder / "val.en").read_text().splitlines()
    loaded = Seq2Seq.load_from_checkpoint(run.last().trainer_file, map_location="cpu")
    outputs = loaded.predict(sources)
    assert outputs == fitted.model.predict(sources)
    network = AutoModelForSeq2SeqLM.from_pretrained(run.last().path).eval()
    tokenizer = AutoTokenizer.from_pretrained(run.last().path)
    for source, output in zip(sources, outputs, strict=True):
        ids = [*tokenizer(source, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        theirs = network.generate(torch.tensor([ids]), num_beams=2, max_length=33, do_sample=False)
        assert tokenizer.decode(theirs[0], skip_special_tokens=True) == output


@pytest.mark.parametrize("name", [pytest.param("bart", marks=pytest.mark.slow), "t5"])
def test_one_batch_is_learned_and_written_back_exactly(tmp_path: Path, name: str) -> None:
    write_pairs(tmp_path, train=8, val=2)
    config = pairs_config(tmp_path, tmp_path / "runs", max_steps=150, val_every_steps=0)
    config["model"]["init_args"] |= {"label_smoothing": 0.0, "micro_batch_size": 8}
    config["model"]["init_args"]["network"]["init_args"]["config"] = NETWORKS[name]
    config["model"]["init_args"]["optimizer"]["init_args"]["learning_rate"] = 1e-2
    config["model"]["init_args"]["schedule"]["init_args"]["warmup_steps"] = 5
    composed = compose(config)
    run = composed.fit()
    assert float(rows_of(run)[-1]["train/loss"]) < 0.05
    sources, targets = ((tmp_path / f"train.{e}").read_text().splitlines() for e in ("en", "de"))
    assert composed.model.predict(sources) == targets


def test_a_resumed_run_is_bitwise_the_one_that_was_not_interrupted(
    folder: Path, tmp_path: Path
) -> None:
    dropout = {f"{CONFIG}.dropout": 0.2}
    config = pairs_config(folder, tmp_path / "a", checkpoint_every_steps=3)
    whole = rows_of(compose(config, dropout).fit())
    config = pairs_config(folder, tmp_path / "b", checkpoint_every_steps=3)
    short = compose(config, {**dropout, "trainer.max_steps": 3, "model.schedule.decay_steps": 6})
    run = short.fit()
    resumed(str(run.path), {}, ["--trainer.max_steps=6"])[0].fit()
    names = ("train/loss", "optim/grad_norm", "optim/learning_rate")
    assert [[row[n] for n in names] for row in rows_of(run)] == [
        [row[n] for n in names] for row in whole
    ]
    assert rows_of(run)[-1]["val/loss"] == whole[-1]["val/loss"]
    assert rows_of(run)[-1]["val/chrf"] == whole[-1]["val/chrf"]


def test_a_prefix_is_seen_by_the_network_and_kept_with_it(folder: Path, tmp_path: Path) -> None:
    config = pairs_config(folder, tmp_path, max_steps=1)
    config["data"]["init_args"]["prefix"] = "turn: "
    composed = compose(config)
    run = composed.fit()
    loaded = Seq2Seq.load_from_checkpoint(run.last().trainer_file, map_location="cpu")
    assert loaded.format is not None
    assert loaded.format.prefix == "turn: "
    caught: list[torch.Tensor] = []
    loaded.trainable.network.get_encoder().register_forward_pre_hook(
        lambda _m, _a, given: caught.append(given["input_ids"]), with_kwargs=True
    )
    loaded.predict(["the cat"])
    tokenizer = composed.data.tokenizer
    assert caught[0].tolist() == [[*tokenizer.encode("turn: the cat"), tokenizer.eos_id]]


def test_fewer_positions_than_tokens_are_refused_and_the_cure_works(
    folder: Path, tmp_path: Path
) -> None:
    config = pairs_config(folder, tmp_path, max_steps=1)
    with pytest.raises(ConfigError, match=r"max_target_tokens=40 is more than the 32 positions"):
        compose(config, {"data.max_target_tokens": 40}).fit()
    compose(config, {"data.max_target_tokens": 32}).fit()
    compose(config, {"data.max_target_tokens": 40, f"{CONFIG}.max_position_embeddings": 40}).fit()


def test_an_architecture_without_a_decoder_is_refused(folder: Path, tmp_path: Path) -> None:
    config = pairs_config(folder, tmp_path)
    config["model"]["init_args"]["network"]["init_args"]["config"] = {"model_type": "bert"}
    with pytest.raises(ConfigError, match=r"'bert' is no sequence-to-sequence model.*t5, bart"):
        compose(config).fit()


def test_a_module_without_a_network_says_how_to_get_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Fit it first, or load one"):
        compose(pairs_config(folder, tmp_path)).model.predict(["the cat"])


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ({"model.beams": 0}, "beams=0 finds nothing"),
        ({"model.label_smoothing": 1.0}, "label_smoothing=1 is not a share"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    folder: Path, tmp_path: Path, flag: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        compose(pairs_config(folder, tmp_path), flag)


def test_the_experiments_script_scores_a_run_and_a_part_that_is_kept_apart(
    fitted: Any, folder: Path, tmp_path: Path
) -> None:
    script = runpy.run_path(str(EXPERIMENT / "run.py"))
    run = fitted.trainer.run
    done = tmp_path / "done.json"
    done.write_text(json.dumps({"run": str(run.path), "seconds": 2.0}))
    result = script["result_of"](done, folder / "val")
    assert result["val/chrf"] == pytest.approx(float(rows_of(run)[-1]["val/all_rows/chrf"]))
    assert result["val/generated_rows"] == 12
    assert result["test/chrf"] == pytest.approx(result["val/chrf"])
    words = script["table"]([result, {**result, "seconds": 4.0}])
    assert "| seconds | 3 | 1.4 | 2 |" in words
    assert len(script["samples"](run.path).splitlines()) == 2 + 10
