"""Files of a run that something damaged are told by name, wherever they are read."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from made_runs import a_config, make_run

from roots.cli import run as roots
from roots.errors import CheckpointError, DataError
from roots.fit.unchanged import refuse_other_companion, refuse_other_data
from roots.runs import Run, environment_of, list_runs, load_metrics


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        make_run(tmp_path / "runs" / "a" / f"000{number}", seed=number)
    return tmp_path / "runs"


def damage(runs: Path, trainer: Any) -> Run:
    run = Run(runs / "a" / "0002")
    run.config_file.write_text(yaml.safe_dump({**a_config(seed=2), "trainer": trainer}))
    return run


def troubles(runs: Path) -> list[str]:
    return [line.trouble for line in list_runs(runs)]


@pytest.mark.parametrize("trainer", [5, "x", [1], True])
def test_a_trainer_that_is_no_block_is_told_and_the_other_runs_are_listed(
    runs: Path, trainer: Any
) -> None:
    run = damage(runs, trainer)
    words = r"config\.yaml holds no `key: value` lines of its trainer any more"
    whole, damaged = troubles(runs)
    assert whole == ""
    assert "`key: value` lines of its trainer" in damaged
    for verb in (["compare", "runs/a"], ["sync", str(run.path)]):
        with pytest.raises(CheckpointError, match=words):
            roots(verb)


@pytest.mark.parametrize(
    "trainer", [{"monitor": 5}, {"monitor": ["val/loss"]}, {"monitor_mode": "least"}]
)
def test_a_monitor_of_another_kind_is_told(runs: Path, trainer: Any) -> None:
    run = damage(runs, trainer)
    assert troubles(runs)[0] == ""
    assert "config.yaml is damaged: trainer.monitor is" in troubles(runs)[1]
    with pytest.raises(CheckpointError, match=r"Set the first to a metric such as val/loss"):
        roots(["compare", "runs/a"])
    with pytest.raises(CheckpointError, match=r"trainer\.monitor is"):
        run.best()


def test_a_monitor_of_nothing_is_the_default(runs: Path) -> None:
    run = damage(runs, {"monitor": None, "monitor_mode": None})
    assert run.monitor == ("val/loss", "min")
    assert troubles(runs) == ["", ""]
    assert roots(["compare", "runs/a"]) == 0


@pytest.mark.parametrize(
    "part",
    [{"step": "x"}, {"max_steps": None}, {"started": [1]}, {"seconds": True}, {"since": 1e999},
     {"why": 5}, {"state": {}}],
)  # fmt: skip
def test_a_state_of_another_kind_is_told(runs: Path, part: dict[str, Any]) -> None:
    file = runs / "a" / "0002" / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **part}))
    whole, damaged = troubles(runs)
    assert whole == ""
    name, value = next(iter(part.items()))
    assert f"state.json is damaged ({name} {value!r}). Remove it" in damaged
    with pytest.raises(CheckpointError, match=r"state\.json is damaged"):
        roots(["compare", "runs/a"])
    file.unlink()  # the cure
    assert troubles(runs) == ["", ""]


def test_steps_of_another_kind_are_not_known(runs: Path) -> None:
    run = damage(runs, {"max_steps": "many"})
    (run.path / "state.json").unlink()
    assert list_runs(runs)[1].max_steps == 0


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"data": 5}', '{"data": {"fingerprint": 5}}'])
def test_an_environment_of_another_kind_is_told_at_a_resume_and_in_a_comparison(
    runs: Path, text: str
) -> None:
    run = Run(runs / "a" / "0002")
    (run.path / "environment.json").write_text(text)
    words = r"environment\.json is damaged \(.*\)\. Bring it back from a copy, or remove it"
    for read in (
        lambda: roots(["compare", "runs/a"]),
        lambda: refuse_other_data(run, SimpleNamespace(is_ready=True, fingerprint="x", path="p")),
        lambda: refuse_other_companion(run, SimpleNamespace(companion=None)),  # type: ignore[arg-type]
    ):
        with pytest.raises(CheckpointError, match=words):
            read()
    (run.path / "environment.json").unlink()  # the cure
    assert roots(["compare", "runs/a"]) == 0
    assert environment_of(run) == {}


def test_parts_of_an_environment_that_are_null_are_not_known(runs: Path) -> None:
    run = Run(runs / "a" / "0002")
    (run.path / "environment.json").write_text('{"data": null, "teacher": null, "python": "3"}')
    assert environment_of(run) == {"python": "3"}
    refuse_other_data(run, SimpleNamespace(is_ready=True, fingerprint="x", path="p"))
    assert roots(["compare", "runs/a"]) == 0


def test_metrics_of_others_are_told(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(DataError, match=r"metrics\.csv cannot be read: Permission denied"):
        load_metrics(runs / "a" / "0001" / "metrics.csv")
