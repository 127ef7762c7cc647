"""Weights & Biases and TensorBoard, by flag."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.fabric.loggers.tensorboard as lightnings_tensorboard
import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger
from wandb_files import offline_file

from roots.callbacks.recorder import tensorboard_logger
from roots.callbacks.wandb_run import WandbRun, named_checkpoints, open_wandb, wandb_logger
from roots.cli import run as roots
from roots.errors import CheckpointError, ConfigError, MissingExtra
from roots.fit import compose
from roots.fit.compose import resumed
from roots.runs import Run, read_metrics
from roots.runs.syncing import TO_WANDB, sync


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no mode, and nothing that a run sets stays."""
    for name in ("WANDB_MODE", "WANDB_SILENT", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb")
@pytest.mark.usefixtures("no_account")
def test_wandb_by_flag_without_a_key_tracks_offline_in_the_run_directory(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sesame-open-8457"
    monkeypatch.setenv("FAKE_API_KEY", secret)
    monkeypatch.setattr(sys, "argv", ["roots", "fit", f"--password={secret}"])
    ignored = {"class_path": "roots.callbacks.Samples", "init_args": {"prompts": ["the"]}}
    ignored["init_args"] |= {"max_tokens": 1}
    flags = {"trainer.wandb": True, "trainer.callbacks": [ignored], "trainer.max_steps": 3}
    first, second = (compose(config, flags).fit() for _ in range(2))
    for run in (first, second):  # each has its own: the first was closed before the second began
        (folder,) = run.path.glob("wandb/offline-run-*")
        words = (b"val/bits_per_byte", b"WarmupCosine")  # the latter in the configuration
        kept = offline_file(folder, *words)
        assert [word for word in words if word not in kept] == []
    files = [path for path in first.path.rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


@pytest.mark.usefixtures("no_account")
def test_wandb_is_told_no_secret_and_is_online_only_with_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TOKEN", "sesame-open-8457")
    config: dict[str, Any] = {"data": {"path": "at/sesame-open-8457/x"}}
    logger: Any = wandb_logger(Run(tmp_path / "0001"), "tiny", config)
    assert logger._wandb_init["config"] == {"data": {"path": "at/<FAKE_TOKEN>/x"}}


@pytest.mark.usefixtures("no_account")
def test_each_fit_looks_anew_whether_there_is_a_key_for_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mode() -> str:
        logger: Any = wandb_logger(Run(tmp_path / "0001"), "tiny", {})
        assert logger._wandb_init["settings"].silent
        return str(logger._wandb_init["settings"].mode)

    assert mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert mode() == "online"
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text(f"machine lab.example:8080 login user password {'k' * 40}\n")
    assert mode() == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "http://lab.example:8080")
    assert mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert mode() == "disabled"
    assert "WANDB_SILENT" not in os.environ


def a_trainer(folder: Path) -> Any:
    strategy = SimpleNamespace(broadcast=lambda words: words)
    return SimpleNamespace(
        run=Run(folder), is_global_zero=True, name="tiny", spec={}, strategy=strategy
    )


@pytest.mark.usefixtures("no_account")
def test_a_wandb_that_cannot_be_reached_is_told_with_the_way_to_track_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise wandb.errors.CommError("no route\nto host")

    monkeypatch.setattr(wandb, "init", refuse)
    words = (
        r"opened \(CommError: no route to host\).*WANDB_API_KEY.*WANDB_MODE=offline.*roots sync "
    )
    with pytest.raises(ConfigError, match=words):
        open_wandb(a_trainer(tmp_path))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb")
@pytest.mark.usefixtures("no_account")
def test_a_wandb_run_of_the_users_own_is_left_open_and_closing_it_cures(
    config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    mine = wandb.init(mode="offline", project="mine", dir=tmp_path)
    flags = {"trainer.wandb": True, "trainer.max_steps": 3, "trainer.progress": True}
    with pytest.raises(ConfigError, match=rf"The W&B run {mine.id} is open in this process"):
        compose(config, flags).fit()
    assert wandb.run is mine
    mine.finish()
    run = compose(config, flags).fit()
    assert wandb.run is None
    assert list(run.path.glob("wandb/offline-run-*"))
    said = capsys.readouterr().err
    assert f"keeps the run offline; send it there with: roots sync {run.path}" in said
    assert "Symlinked" not in said
    monkeypatch.setenv("WANDB_MODE", "disabled")
    for _ in range(2):  # each closes what stands for its run
        compose(config, flags).fit()
    assert "offline" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb")
@pytest.mark.usefixtures("no_account", "pages")
def test_wandb_gets_samples_figure_files_and_checkpoints_and_a_resumed_run_goes_on(
    config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    samples = {"class_path": "roots.callbacks.Samples", "init_args": {"prompts": ["the"]}}
    samples["init_args"] |= {"max_tokens": 1, "every_steps": 2}
    flags = {"trainer.wandb": True, "trainer.wandb_checkpoints": True}
    run = compose(config, {**flags, "trainer.callbacks": [samples]}).fit()
    (folder,) = run.path.glob("wandb/offline-run-*")
    names = [str(path.relative_to(folder / "files")) for path in (folder / "files").rglob("*")]
    assert {"config.yaml", "environment.json"} <= {Path(name).name for name in names}
    assert any(name.startswith("media/table/samples") for name in names)
    assert any(name.startswith("media/images/loss") for name in names)
    (table,) = sorted((folder / "files" / "media" / "table").glob("samples_*.json"))[-1:]
    rows = json.loads(table.read_text())
    assert rows["columns"] == ["step", "prompt", "text"]
    assert [row[:2] for row in rows["data"]] == [[2, "the"], [4, "the"], [6, "the"]]
    words = (b"tiny-0001", b"checkpoint", b"last", b"best", b"step-6", b"model.safetensors")
    kept = offline_file(folder, *words)
    assert [word for word in words if word not in kept] == []

    on, _ = resumed(str(run.path), {}, ["--trainer.max_steps", "8"])
    on.fit()
    twin = json.loads((run.path / "wandb.json").read_text())["id"]
    names = [path.name for path in run.path.glob("wandb/offline-run-*")]
    ours = re.compile(rf"offline-run-[\d_]+-{twin}(-1)?")  # the second of one second has a number
    assert len(names) == 2
    assert all(map(ours.fullmatch, names))

    called: list[list[str]] = []
    assert sync(run.path, call=lambda command: called.append([*command]) or 7) == 7
    folders = sorted(str(path) for path in run.path.glob("wandb/offline-run-*"))
    assert called == [[*TO_WANDB, *folders]]


class TablesOnly(WandbLogger):
    """Keeps the tables that it is given, or fails to."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.tables: dict[str, tuple[list[str], list[list[Any]]]] = {}
        self.error = error

    def log_table(self, key: str, columns: Any = None, data: Any = None, **_: Any) -> None:  # type: ignore[override]
        if self.error:
            raise self.error
        self.tables[key] = (columns, data)


def validated(folder: Path, logger: WandbLogger) -> list[str]:
    """Ends a validation of a run with samples; gives what was said."""
    rows = [
        {"step": 3, "sample": 0, "source": "a", "reference": "b", "output": "c"},  # GeneratedTexts
        {"step": 3, "prompt": "the", "text": " cat\u2028\x85"},  # Samples
        {"step": 6, "sample": 0, "source": "a", "reference": "b", "output": "d"},
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "samples.jsonl").write_text(lines, encoding="utf-8")
    said: list[str] = []
    trainer: Any = SimpleNamespace(
        loggers=[logger],
        is_global_zero=True,
        run=Run(folder),
        global_step=6,
        state=SimpleNamespace(fn="fit"),
        say=said.append,
    )
    module: Any = None
    WandbRun().on_validation_end(trainer, module)
    return said


def test_samples_of_every_kind_go_to_wandb_in_a_table_for_each(tmp_path: Path) -> None:
    logger = TablesOnly()
    assert validated(tmp_path, logger) == []
    assert logger.tables == {
        "samples": (
            ["step", "sample", "source", "reference", "output"],
            [[3, 0, "a", "b", "c"], [6, 0, "a", "b", "d"]],
        ),
        "samples_2": (["step", "prompt", "text"], [[3, "the", " cat\u2028\x85"]]),
    }


def test_samples_that_do_not_reach_wandb_are_told_and_the_run_goes_on(tmp_path: Path) -> None:
    said = validated(tmp_path, TablesOnly(error=OSError("no route to host")))
    assert said == ["the samples were not sent to W&B (OSError: no route to host)."]


def test_a_damaged_id_of_the_wandb_run_is_refused_and_removing_it_cures(
    tmp_path: Path, no_account: None
) -> None:
    (tmp_path / "wandb.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"wandb\.json is damaged .* Remove it to track"):
        wandb_logger(Run(tmp_path), "tiny", {})
    (tmp_path / "wandb.json").unlink()
    first, second = (wandb_logger(Run(tmp_path), "tiny", {}) for _ in range(2))
    assert first.version == second.version is not None


def test_the_newest_and_the_best_checkpoint_have_their_aliases(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "config.yaml").touch()
    assert named_checkpoints(run) == []
    for step, loss in ((2, 1.0), (4, 2.0)):
        folder = run.checkpoint_folder(step)
        folder.mkdir(parents=True)
        record = {"step": step, "metrics": {"val/loss": loss}}
        (folder / "checkpoint.json").write_text(json.dumps(record))
    told = [(checkpoint.step, aliases) for checkpoint, aliases in named_checkpoints(run)]
    assert told == [(2, ["best", "step-2"]), (4, ["last", "step-4"])]
    (run.checkpoint_folder(4) / "checkpoint.json").write_text(
        '{"step": 4, "metrics": {"val/loss": 0.5}}'
    )
    told = [(checkpoint.step, aliases) for checkpoint, aliases in named_checkpoints(run)]
    assert told == [(4, ["last", "best", "step-4"])]


def test_checkpoints_for_wandb_without_wandb_are_refused(config: dict) -> None:
    with pytest.raises(ConfigError, match=r"wandb_checkpoints=true .* Set trainer\.wandb true"):
        compose(config, {"trainer.wandb_checkpoints": True})
    compose(config, {"trainer.wandb_checkpoints": True, "trainer.wandb": True})


def test_a_run_without_offline_files_cannot_be_sent(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        roots(["sync", str(tmp_path / "none")])
    config = tmp_path / "config.yaml"
    config.write_text("trainer: {wandb: false}\n")
    with pytest.raises(CheckpointError, match=r"no offline W&B files .*: it was not tracked\. A"):
        roots(["sync", str(tmp_path)])
    config.write_text("trainer: {wandb: true}\n")
    (tmp_path / "wandb" / "offline-run-20260101_000000-abc").mkdir(parents=True)  # and no file
    with pytest.raises(CheckpointError, match=r"was tracked online, or its files were removed"):
        roots(["sync", str(tmp_path)])
    for name in ("offline-run-20260102_000000-abc", "offline-run-20260101_000000-abc"):
        folder = tmp_path / "wandb" / name
        folder.mkdir(exist_ok=True)
        (folder / "run-abc.wandb").touch()
    called: list[list[str]] = []
    sync(tmp_path, call=lambda command: called.append([*command]) or 0)
    assert [Path(name).name for name in called[0][len(TO_WANDB) :]] == [
        "offline-run-20260101_000000-abc",
        "offline-run-20260102_000000-abc",
    ]


def test_trackio_by_flag_keeps_what_the_run_reports_and_goes_on_with_it(
    config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "kept"))
    pytest.importorskip("trackio", reason="needs the extra `track`")
    optimizer = config["model"]["init_args"]["optimizer"]["init_args"]
    run = compose(config, {"trainer.trackio": True, "trainer.max_steps": 3}).fit()
    on, _ = resumed(str(run.path), {}, ["--trainer.max_steps", "4"])
    on.fit()
    (file,) = tmp_path.glob("kept/*.db")
    with sqlite3.connect(file) as kept:
        rows = kept.execute("select run_name, step, metrics from metrics order by id").fetchall()
        configs = kept.execute("select config from configs").fetchall()
    losses = {step: json.loads(text) for _, step, text in rows if b"train/loss" in bytes(text)}
    assert {name for name, _, _ in rows} == {"tiny/0001"}
    told = {int(row["step"]): float(row["train/loss"]) for row in read_metrics(run.metrics_file)}
    assert {step: row["train/loss"] for step, row in losses.items()} == told
    assert str(optimizer["learning_rate"]).encode() in bytes(configs[0][0])


def test_trackio_that_is_missing_is_told_with_how_to_get_it(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(MissingExtra, match=r"pip install 'roots-lm\[track\]'.*metrics\.csv has"):
        compose(config, {"trainer.trackio": True}).fit()


def test_tensorboard_by_flag_writes_an_event_file(config: dict) -> None:
    run = compose(config, {"trainer.tensorboard": True, "trainer.max_steps": 3}).fit()
    (events,) = (run.path / "tensorboard").glob("events.out.tfevents.*")
    kept = events.read_bytes()
    assert b"train/loss" in kept
    assert b"val/bits_per_byte" in kept
    assert run.metrics_file.exists()


def test_tensorboard_that_is_missing_is_told_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(lightnings_tensorboard, name, False)
    with pytest.raises(MissingExtra, match=r"pip install 'roots-lm\[tensorboard\]'"):
        tensorboard_logger(Run(tmp_path))
