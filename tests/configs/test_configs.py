"""Every configuration that is shipped can be read, and every run can be planned."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from roots.cli import run as roots
from roots.fit import compose, read_run_files
from roots.plan import plan_run

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
EVERY = sorted(CONFIGS.rglob("*.yaml"))
RUNS = sorted((CONFIGS / "run").glob("*.yaml"))
CORPORA = sorted((CONFIGS / "corpus").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the texts that a user has to fetch, with texts of our own in it."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "tinyshakespeare.txt").write_text("First Citizen:\nSpeak, speak.\n" * 100)
    (folder / "multi30k").mkdir()
    for name in ("train.en", "train.de", "val.en", "val.de"):
        (folder / "multi30k" / name).write_text("A dog runs.\nTwo men sing.\n" * 1500)
    monkeypatch.setenv("ROOTS_DATA", str(folder))


def named(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def test_there_is_something_to_read() -> None:
    assert RUNS
    assert CORPORA


@pytest.mark.parametrize("path", EVERY, ids=named)
def test_a_configuration_parses_and_opens_by_saying_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    first = text.splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20


@pytest.mark.parametrize("path", RUNS, ids=named)
def test_a_run_can_be_planned_on_a_cpu(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    composed = compose(path, {"trainer.accelerator": "cpu"})
    plan = str(plan_run(composed.trainer, composed.model, composed.data))
    assert " parameters (" in plan
    assert " steps = " in plan
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", RUNS, ids=named)
def test_a_run_is_called_like_its_file(path: Path) -> None:
    assert read_run_files([path])["name"] == path.stem


@pytest.mark.parametrize("path", RUNS, ids=named)
def test_a_run_tells_the_command_that_starts_it(path: Path) -> None:
    opening = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"--config configs/run/{path.name}" in line for line in opening)


@pytest.mark.parametrize("path", CORPORA, ids=named)
def test_a_corpus_can_be_previewed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_texts").mkdir()  # the folder that text.yaml names
    (tmp_path / "my_texts" / "a.txt").write_text("Some text.\n")
    assert roots(["corpus", "--config", str(path), "--dry-run"]) == 0
    assert "nothing was written (--dry-run)" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["my_texts"]
