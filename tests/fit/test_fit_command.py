"""`roots fit`, `validate`, `test` and `predict`, as a person types them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import tiny_config

from roots.cli import run as roots
from roots.errors import CheckpointError, ConfigError, DataError
from roots.fit import compose
from roots.runs import Run

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def run_file(config: dict[str, Any], tmp_path: Path) -> str:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one finished run; what a test writes there, the next one writes over."""
    config = tiny_config(shards, tmp_path_factory.mktemp("trained"), keep_best=5)
    return compose(config).fit().path


def validated(run: Path) -> dict[int, dict[str, float]]:
    """What the run's own validations measured, by step."""
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    return {
        int(row["step"]): {k: float(v) for k, v in row.items() if k.startswith("val/")}
        for row in rows
    }


# -- fit ------------------------------------------------------------------------------------------


def test_a_dry_run_tells_the_run_and_writes_nothing(
    run_file: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert roots(["fit", "--config", run_file, "--dry-run"]) == 0
    said = capsys.readouterr().out
    for words in (
        "llama, 30.2 k parameters (30,240; 9,600 of them the 300 embeddings)",
        "8 sequences of 16 = 128 tokens, in 2 forward passes of 4",
        "6 steps = 768 tokens",
        "1.50e-03 ▅▅",
        "▂ 3.00e-04, peak 3.00e-03 (WarmupCosine)",
        "cpu, SingleDevice, 32-true: float32 weights and arithmetic",
        "kFLOP per token (feed-forward",
        "sequences to train on",
        f"{tmp_path}/runs/tiny/<number>/: config.yaml, environment.json, metrics.csv, loss.png,",
        "checkpoints/ (every 3 steps; the newest and the best 1 stay)",
        "dry run: nothing was trained or written",
    ):
        assert words in said
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_a_dry_run_refuses_what_the_run_would(run_file: str) -> None:
    with pytest.raises(ConfigError, match=r"warmup_steps=99 .* 6 steps.* at most 5"):
        roots(["fit", "-c", run_file, "--dry-run", "--model.schedule.warmup_steps=99"])
    with pytest.raises(
        ConfigError, match=r"seq_len=99 .*64 positions.*data\.seq_len to at most 64"
    ):
        roots(["fit", "-c", run_file, "--dry-run", "--data.seq_len=99"])
    assert roots(["fit", "-c", run_file, "--dry-run", "--data.seq_len=64"]) == 0


def test_print_config_prints_what_composes_to_the_same(
    run_file: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as ended:
        roots(["fit", "--config", run_file, "--trainer.max_steps", "9", "--print_config"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    again = tmp_path / "again.yaml"
    again.write_text(printed)
    assert compose(again).config == compose(run_file, {"trainer.max_steps": 9}).config
    with pytest.raises(SystemExit):
        roots(["fit", "--config", str(again), "--print_config"])
    assert capsys.readouterr().out == printed


def test_help_tells_the_settings_in_the_words_of_the_docstrings(
    capsys: pytest.CaptureFixture,
) -> None:
    with pytest.raises(SystemExit) as ended:
        roots(["fit", "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "--resume RUN",
        "--dry-run",
        "--trainer.max_steps MAX_STEPS Optimizer steps of the run; 0 takes them",
        "How many checkpoints to keep of the best, beside the newest.",
        "Decides weights, order and dropout; the same seed gives the same run.",
        "roots.modules.CausalLM",
        "roots.data.TokenCorpus",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model.optimizer.help", "roots.optim.Muon"], "adamw_learning_rate"),
        (["--model.network.help=roots.networks.Scratch"], "network.attention"),
        (["--data.shards.help", "roots.data.Mixture"], "shards.corpora"),
        (["--model", "roots.modules.MaskedLM", "--model.optimizer.help", "roots.optim.AdamW"],
         "optimizer.layer_decay"),
    ],
)  # fmt: skip
def test_help_of_a_class_within_another_needs_no_run_file(
    capsys: pytest.CaptureFixture, flags: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        roots(["fit", *flags])
    assert ended.value.code == 0
    assert said in capsys.readouterr().out


def test_help_of_a_class_tells_its_arguments(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        roots(["fit", "--model.help", "roots.modules.CausalLM"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Trains a network to predict the next token" in said
    assert "--model.z_loss Z_LOSS Weight of the squared log of the softmax's denominator" in said


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_the_other_verbs_tell_their_own_arguments(verb: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        roots([verb, "--help"])
    said = capsys.readouterr().out
    assert f"usage: roots {verb}" in said
    assert "--checkpoint WHICH" in said
    assert ("--to FILE" in said) == (verb == "predict")


def test_fit_says_at_the_end_where_the_run_is_and_what_to_do_next(
    run_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--trainer.max_steps=4", "--trainer.runs_dir=runs"]
    assert roots(["fit", "--config", run_file, *flags]) == 0
    said = capsys.readouterr().out
    assert "4 steps in " in said
    assert re.search(r"tokens/s \(median\) · \d+\.\d% of the matmul peak · val/loss", said)
    assert "val/bits_per_byte" in said
    assert "run directory: runs/tiny/0001" in said
    assert "roots fit --resume runs/tiny/0001 --trainer.max_steps 8" in said
    assert Run("runs/tiny/0001").last().step == 4


def test_an_argument_that_nobody_knows_is_refused(run_file: str) -> None:
    with pytest.raises(ConfigError, match=r"--resum\b"):
        roots(["fit", "--config", run_file, "--resum", "x"])
    with pytest.raises(ConfigError, match=r"no --trainer.max_step .*'--trainer.max_steps'"):
        roots(["fit", "--config", run_file, "--trainer.max_step", "3"])  # no abbreviations
    with pytest.raises(ConfigError, match="Argument -c/--config: expected one argument"):
        roots(["fit", "--config"])
    with pytest.raises(ConfigError, match=r"run\.yaml belongs to no flag\. .* --config FILE"):
        roots(["fit", run_file])


@pytest.mark.parametrize("file", ["corpus/stdlib.yaml", "sweep/quickstart.yaml"])
def test_a_file_for_another_verb_is_told_as_one(file: str) -> None:
    with pytest.raises(ConfigError, match=r"is no key of a run file, .* for `roots sweep`"):
        roots(["fit", "--config", str(CONFIGS / file)])


def test_a_misspelt_part_is_told_with_the_word_that_was_meant(run_file: str) -> None:
    file = Path(run_file)
    text = file.read_text()
    file.write_text(text.replace("trainer:", "trianer:"))
    with pytest.raises(ConfigError, match=r"'trianer' .*\(did you mean 'trainer'\?\)"):
        roots(["fit", "--config", run_file, "--print_config"])
    file.write_text(f"{text}\ntrainer.keep_best: 2\n")
    with pytest.raises(SystemExit) as ended:  # the cure, and a key by its whole name
        roots(["fit", "--config", run_file, "--print_config"])
    assert ended.value.code == 0


@pytest.mark.parametrize(
    ("verb", "flag"),
    [
        ("fit", "resume"),
        ("validate", "run"),
        ("test", "run"),
        ("predict", "to"),
        ("predict", "from"),
        ("validate", "checkpoint"),
    ],
)
def test_a_word_that_the_shell_left_empty_starts_nothing_else(
    verb: str, flag: str, run_file: str
) -> None:
    with pytest.raises(ConfigError, match=rf"--{flag} is given an empty word.*leave --{flag} out"):
        roots([verb, "--config", run_file, f"--{flag}", ""])


@pytest.mark.heavy
def test_float16_weights_are_refused_with_exit_code_2_and_the_cure_works(run_file: str) -> None:
    with pytest.raises(ConfigError, match=r"precision=16-true .*trainer\.precision to") as refused:
        roots(["fit", "--config", run_file, "--trainer.precision", "16-true"])
    assert refused.value.exit_code == 2
    (cure,) = re.findall(r"Set trainer\.precision to ([\w-]+)", str(refused.value))
    assert roots(["fit", "--config", run_file, "--trainer.precision", cure, "--dry-run"]) == 0


# -- validate, test, predict ----------------------------------------------------------------------


@pytest.mark.parametrize("which", ["best", "last", "3"])
def test_validate_gives_the_numbers_of_the_runs_own_validation(
    trained: Path, which: str, capsys: pytest.CaptureFixture
) -> None:
    assert roots(["validate", "--run", str(trained), "--checkpoint", which]) == 0
    said = dict(line.split() for line in capsys.readouterr().out.splitlines() if "/" in line)
    expected = validated(trained)[3 if which == "3" else 6]
    assert {name: float(value) for name, value in said.items()} == pytest.approx(expected, rel=1e-5)
    record = json.loads((trained / "validate.json").read_text())
    assert record.pop("checkpoint") == which
    assert record.pop("data")["fingerprint"]
    assert record == expected


def test_validate_takes_flags_too(trained: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ["--model.micro_batch_size=1", "--data.max_val_sequences=3"]
    assert roots(["validate", "--run", str(trained), *flags]) == 0
    (file,) = trained.glob("validate-*.json")
    record = json.loads(file.read_text())
    assert record["val/loss"] != pytest.approx(validated(trained)[6]["val/loss"], rel=1e-5)


def test_a_checkpoint_that_is_not_there_is_named_with_those_that_are(trained: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint '5'; .*steps 3, 6\. Name one"):
        roots(["validate", "--run", str(trained), "--checkpoint", "5"])


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_a_checkpoint_of_no_run_is_refused(verb: str) -> None:
    with pytest.raises(ConfigError, match=r"--checkpoint last .* none is named\. Add --run RUN"):
        roots([verb, "--checkpoint", "last", "--trainer.max_steps", "1"])


def test_a_run_that_is_not_there_is_named(tmp_path: Path, trained: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere does not exist\. Give a run's own"):
        roots(["validate", "--run", str(tmp_path / "nowhere")])
    with pytest.raises(CheckpointError, match=r"is no run directory \(no config\.yaml\)"):
        roots(["validate", "--run", str(trained.parent)])


def test_a_run_and_a_configuration_together_are_refused(run_file: str, trained: Path) -> None:
    with pytest.raises(ConfigError, match="leave out --config, or --run"):
        roots(["validate", "--config", run_file, "--run", str(trained)])


def test_test_without_test_text_is_refused_with_the_cure(
    trained: Path, text_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(DataError, match=r"no test split.*test_fraction above 0"):
        roots(["test", "--run", str(trained)])
    corpus = ["--source=roots.sources.Text", f"--source.paths=[{text_folder}]", "--workers=1"]
    corpus += ["--tokenizer=roots.corpus.Existing", f"--tokenizer.path={trained}"]
    out = tmp_path / "with-test"
    split = ["--test_fraction=0.2", "--val_fraction=0.2"]
    assert roots(["corpus", *corpus, f"--out={out}", *split]) == 0
    capsys.readouterr()
    assert roots(["test", "--run", str(trained), f"--data.shards={out}"]) == 0
    assert "test/bits_per_byte" in capsys.readouterr().out
    (file,) = trained.glob("test-*.json")  # these are not the run's own data
    assert json.loads(file.read_text())["test/loss"] > 0


def test_predictions_add_up_to_the_validation(trained: Path, tmp_path: Path) -> None:
    assert roots(["predict", "--run", str(trained)]) == 0
    here = tmp_path / "elsewhere" / "scores.jsonl"
    assert roots(["predict", "--run", str(trained), "--to", str(here)]) == 0
    text = (trained / "predictions.jsonl").read_text()
    assert here.read_text() == text
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["sample"] for row in rows] == list(range(len(rows)))
    nats, labels = (sum(row[name] for row in rows) for name in ("nats", "labels"))
    expected = validated(trained)[6]
    assert nats / labels == pytest.approx(expected["val/nats_per_token"], rel=1e-6)
    n_bytes = sum(row["bytes"] for row in rows)
    bits = nats / n_bytes / 0.6931471805599453
    assert bits == pytest.approx(expected["val/bits_per_byte"], rel=1e-6)


def test_predict_needs_a_place_to_write_to(run_file: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --to FILE, or --run RUN"):
        roots(["predict", "--config", run_file])
    assert roots(["predict", "--config", run_file, "--to", str(tmp_path / "scores.jsonl")]) == 0
    assert (tmp_path / "scores.jsonl").stat().st_size > 0
