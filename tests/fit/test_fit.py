"""A run from beginning to end: its numbers are right and its directory tells the whole story."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny import tiny_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from roots.cli import run as roots
from roots.errors import ConfigError
from roots.fit import compose, read_run_files
from roots.fit.compose import Composed
from roots.runs import Run
from roots.shards import ShardFolder

STEPS, EVERY = 10, 4  # 4 does not divide 10


@pytest.fixture(scope="module")
def fitted(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Composed:
    """One finished run, shared by the tests that only read it."""
    runs = tmp_path_factory.mktemp("fitted")
    composed = compose(tiny_config(shards, runs, max_steps=STEPS, val_every_steps=EVERY))
    composed.fit()
    return composed


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def column(composed: Composed, name: str) -> list[float]:
    """The values of a metric, in the steps that have it."""
    assert composed.trainer.run is not None
    return [float(row[name]) for row in rows_of(composed.trainer.run) if row[name]]


# -- metrics --------------------------------------------------------------------------------------


def test_every_step_has_its_row_with_the_columns_that_are_promised(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    rows = rows_of(fitted.trainer.run)
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    assert set(rows[0]) >= {
        "train/loss",
        "val/loss",
        "val/nats_per_token",
        "val/perplexity",
        "val/bits_per_byte",
        "optim/grad_norm",
        "optim/learning_rate",
        "train/tokens_per_second",
        "train/tokens_seen",
    }


def test_the_loss_starts_at_a_uniform_guess_and_falls(fitted: Composed) -> None:
    losses = column(fitted, "train/loss")
    assert losses[0] == pytest.approx(math.log(fitted.data.vocabulary.size), abs=0.1)
    assert losses[-1] < losses[0] - 0.4
    validated = column(fitted, "val/loss")
    assert validated == sorted(validated, reverse=True)


def test_validation_comes_at_its_interval_and_after_the_last_step(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    validated = [int(row["step"]) for row in rows_of(fitted.trainer.run) if row["val/loss"]]
    assert validated == [4, 8, 10]


def test_tokens_seen_are_sequences_times_length_times_steps(fitted: Composed) -> None:
    assert column(fitted, "train/tokens_seen") == [8 * 16 * n for n in range(1, STEPS + 1)]


def test_the_learning_rate_of_each_step_is_the_schedules(fitted: Composed) -> None:
    """Two warm-up steps, then half a cosine from the peak to a tenth of it."""
    peak, floor, warm = 3e-3, 0.1, 2
    falling = [math.cos(math.pi * n / (STEPS - 1 - warm)) for n in range(STEPS - warm)]
    expected = [peak / 2, peak, *(peak * (floor + (1 - floor) * (1 + c) / 2) for c in falling)]
    assert column(fitted, "optim/learning_rate") == pytest.approx(expected, rel=1e-12)


def validation_by_definition(folder: ShardFolder, network: Any, seq_len: int) -> dict[str, float]:
    """Nats, labels and bytes of all validation windows, in float64, from the raw token file."""
    tokenizer = AutoTokenizer.from_pretrained(folder.tokenizer_path)
    tokens = np.asarray(folder.shard("val").tokens, dtype=np.int64)
    nats, labels, n_bytes = 0.0, 0, 0
    for start in range(0, len(tokens) - 1, seq_len):
        window = torch.from_numpy(tokens[start : start + seq_len + 1])
        with torch.no_grad():
            logits = network(window[None, :-1]).logits[0].double()
        chances = torch.log_softmax(logits, dim=-1)
        for place, target in enumerate(window[1:].tolist()):
            if window[place] == tokenizer.eos_token_id:
                continue  # what follows a document is another document
            nats -= chances[place, target].item()
            labels += 1
            if target != tokenizer.eos_token_id:  # a letter of the byte alphabet is one byte
                n_bytes += len(tokenizer.convert_ids_to_tokens(target))
    return {"nats": nats, "labels": labels, "bytes": n_bytes}


def test_validation_is_the_mean_over_all_labels_of_all_windows(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    checkpoint = fitted.trainer.run.last()
    assert checkpoint.step == STEPS
    network = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float64).eval()
    direct = validation_by_definition(fitted.data.folder, network, seq_len=16)
    mean = direct["nats"] / direct["labels"]
    last = {name: column(fitted, f"val/{name}")[-1] for name in ("loss", "nats_per_token")}
    assert last == pytest.approx({"loss": mean, "nats_per_token": mean}, rel=1e-6)
    assert column(fitted, "val/perplexity")[-1] == pytest.approx(math.exp(mean), rel=1e-5)
    bits = direct["nats"] / math.log(2) / direct["bytes"]
    assert column(fitted, "val/bits_per_byte")[-1] == pytest.approx(bits, rel=1e-6)


# -- the directory --------------------------------------------------------------------------------


def test_the_written_configuration_composes_to_itself(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    again = compose(fitted.trainer.run.config_file)
    assert again.config == fitted.config == read_run_files([fitted.trainer.run.config_file])


def test_a_precision_that_was_chosen_is_written_down_by_name(config: dict) -> None:
    composed = compose(config, {"trainer.precision": "auto"})
    assert composed.trainer.spec["trainer"]["precision"] in ("32", "bf16-mixed")


def test_the_environment_says_what_ran_on_what(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    said = json.loads((fitted.trainer.run.path / "environment.json").read_text())
    assert said["packages"]["torch"] == torch.__version__
    assert {"lightning", "transformers", "tokenizers", "numpy"} <= said["packages"].keys()
    assert said["python"] == ".".join(map(str, sys.version_info[:3]))
    assert said["hardware"]["device"] == "cpu"
    assert said["hardware"]["ranks"] == 1
    assert said["hardware"]["cores"] >= 1
    assert said["command"]
    shards = ShardFolder.open(Path(said["data"]["path"]))
    assert said["data"]["fingerprint"] == shards.fingerprint
    assert set(said["code"]) in ({"commit", "changed", "diff_sha256", "untracked_sha256"}, set())


def test_two_runs_do_not_collide(config: dict) -> None:
    config["trainer"].update(max_steps=3)
    first, second = compose(config).fit(), compose(config).fit()
    assert (first.path.name, second.path.name) == ("0001", "0002")
    assert rows_of(first)[0]["train/loss"] == rows_of(second)[0]["train/loss"]


def test_a_name_that_is_no_folders_name_is_refused(config: dict) -> None:
    with pytest.raises(ConfigError, match=r"name='a/b' cannot be a folder's name\. Use letters"):
        compose(config, {"name": "a/b"}).fit()


def test_secrets_of_the_environment_are_in_no_file(
    config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sesame-open-8457"
    monkeypatch.setenv("FAKE_API_KEY", secret)
    monkeypatch.setattr(sys, "argv", ["roots", "fit", f"--trainer.runs_dir={tmp_path}/{secret}"])
    config["trainer"].update(max_steps=3, runs_dir=f"{tmp_path}/{secret}")
    run = compose(config).fit()
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert {"config.yaml", "environment.json", "trainer.ckpt"} <= {path.name for path in files}
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert "<FAKE_API_KEY>" in (run.path / "environment.json").read_text()
    assert "<FAKE_API_KEY>" in run.config_file.read_text()


# -- number formats -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16-mixed", torch.float32), ("bf16-true", torch.bfloat16)]
)
def test_bfloat16_runs_come_out_near_float32_and_say_what_they_are(
    config: dict, fitted: Composed, precision: str, dtype: torch.dtype
) -> None:
    config["trainer"].update(max_steps=STEPS, val_every_steps=EVERY, precision=precision)
    composed = compose(config)
    run = composed.fit()
    assert composed.model.trainable is not None
    assert {p.dtype for p in composed.model.trainable.parameters()} == {dtype}
    assert yaml.safe_load(run.config_file.read_text())["trainer"]["precision"] == precision
    for name in ("train/loss", "val/loss"):
        exact, rounded = column(fitted, name), column(composed, name)
        assert rounded != exact  # it did compute in another format
        assert rounded == pytest.approx(exact, rel=2**-7)


def test_validation_text_may_be_absent_in_a_fit_alone(
    config: dict, text_folder: Path, tmp_path: Path
) -> None:
    from roots.corpus import BytePairs, Corpus, Existing
    from roots.sources import Text

    def made(name: str, tokenizer: Any, val_fraction: float) -> Path:
        corpus = Corpus(
            source=Text(paths=[str(text_folder)]),
            out=str(tmp_path / name),
            tokenizer=tokenizer,
            val_fraction=val_fraction,
            workers=1,
        )
        return corpus.prepare(progress=False)

    shards = made("whole", BytePairs(vocab_size=300), 0.0)
    composed = compose(config, {"data.shards": str(shards), "data.val_fraction": 0.0})
    run = composed.fit()
    rows = rows_of(run)
    assert len(rows) == 6
    assert not [name for name in rows[0] if name.startswith("val/")]
    assert run.last().step == 6
    flags = ["--run", str(run.path)]
    for verb in ("validate", "predict"):
        words = rf"no text to {verb}.*whole has no .*val_fraction=0 keeps .*--data\.shards FOLDER"
        with pytest.raises(ConfigError, match=words):
            roots([verb, *flags])
    assert not (run.path / "validate.json").exists()
    divided = made("divided", Existing(path=str(run.path)), 0.2)
    assert roots(["validate", *flags, "--data.shards", str(divided)]) == 0


@pytest.mark.usefixtures("pages")
def test_a_corpus_that_a_fit_makes_has_the_card_that_roots_corpus_draws(
    config: dict, text_folder: Path, tmp_path: Path
) -> None:
    def made(out: Path) -> dict:
        text = {"class_path": "roots.sources.Text", "init_args": {"paths": [str(text_folder)]}}
        pieces = {"class_path": "roots.corpus.BytePairs", "init_args": {"vocab_size": 300}}
        return {
            "source": text,
            "tokenizer": pieces,
            "out": str(out),
            "workers": 1,
            "val_fraction": 0.2,
        }

    corpus = {"class_path": "roots.corpus.Corpus", "init_args": made(tmp_path / "made")}
    compose(config, {"data.shards": corpus}).fit()
    (tmp_path / "corpus.yaml").write_text(yaml.safe_dump(made(tmp_path / "other" / "made")))
    assert roots(["corpus", "--config", str(tmp_path / "corpus.yaml")]) == 0
    pages = [tmp_path / "made", tmp_path / "other" / "made"]
    mine, theirs = (page.joinpath("report.html").read_text() for page in pages)
    assert mine.replace(str(pages[0]), "OUT") == theirs.replace(str(pages[1]), "OUT")
    before = (tmp_path / "made/report.html").stat().st_mtime_ns
    compose(config, {"data.shards": corpus}).fit()
    assert (tmp_path / "made/report.html").stat().st_mtime_ns == before, "drawn once"


def test_documents_kept_apart_do_not_see_each_other_in_a_run(shards: Path, tmp_path: Path) -> None:
    """The loss of a validation is that of each document of each window by itself."""
    config = tiny_config(shards, tmp_path, max_steps=1, val_every_steps=1)
    config["data"]["init_args"]["attend_across_documents"] = False
    config["model"]["init_args"]["schedule"]["init_args"]["warmup_steps"] = 0
    composed = compose(config)
    run = composed.fit()
    network, nats, count = composed.model.trainable.network.eval(), 0.0, 0
    for batch in composed.data.val_dataloader():
        for ids, labels, numbers in zip(
            batch.input_ids, batch.labels, batch.document_ids, strict=True
        ):
            for number in numbers.unique().tolist():
                part, wanted = ids[numbers == number], labels[numbers == number]
                there = wanted != -100
                if there.any():
                    with torch.no_grad():
                        log_p = network(input_ids=part[None]).logits[0].double().log_softmax(-1)
                    nats -= float(log_p[there].gather(1, wanted[there][:, None]).sum())
                    count += int(there.sum())
    (row,) = [r for r in rows_of(run) if r["val/loss"]]
    assert float(row["val/loss"]) == pytest.approx(nats / count, rel=1e-5)
