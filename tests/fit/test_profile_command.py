"""`roots profile`, as a person types it."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from tiny import tiny_config

from roots.cli import run as roots
from roots.errors import ConfigError, TrainingError
from roots.fit import compose
from roots.fit.profile import profile_steps
from roots.fit.profile.command import check_kernels, check_out
from roots.fit.profile.parts import PARTS, PHASES, REST, SOMETIMES
from roots.fit.profile.ranges import calls_of, marked
from roots.fit.profile.trace import understand

STEPS, WARMUP = 2, 1
FILES = ["profile.json", "profile.png", "table.txt", "trace.json.gz"]


@pytest.fixture
def run_file(config: dict[str, Any], tmp_path: Path) -> str:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture(scope="module")
def profiled(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one profile, in a folder with its run file."""
    home = tmp_path_factory.mktemp("profiled")
    (home / "run.yaml").write_text(yaml.safe_dump(tiny_config(shards, home / "runs")))
    numbers = ["--steps", str(STEPS), "--warmup-steps", str(WARMUP)]
    out = home / "profiles" / "tiny"
    assert roots(["profile", "--config", str(home / "run.yaml"), *numbers, "--out", str(out)]) == 0
    return out


@pytest.fixture
def report(profiled: Path) -> dict[str, Any]:
    return json.loads((profiled / "profile.json").read_text())


# -- what it writes -------------------------------------------------------------------------------


def test_a_profile_is_four_files_and_nothing_else(profiled: Path) -> None:
    assert sorted(path.name for path in profiled.iterdir()) == FILES
    assert (profiled / "profile.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in profiled.parent.iterdir()] == ["tiny"]
    assert sorted(path.name for path in profiled.parent.parent.iterdir()) == [
        "profiles",
        "run.yaml",
    ]  # no runs


def test_the_table_has_every_part_and_phase(profiled: Path) -> None:
    lines = (profiled / "table.txt").read_text().splitlines()
    assert all(f"{phase} ms" in lines[0] for phase in PHASES)
    first = [line.split("  ")[0] for line in lines]
    for part in PARTS:
        assert (part in first) == (part not in SOMETIMES), part
    for name in ("unattributed", "step", "slowest operations"):
        assert name in first


def test_the_trace_is_json_with_a_range_for_every_part(profiled: Path) -> None:
    with gzip.open(profiled / "trace.json.gz", "rt") as file:
        rows = json.load(file)["traceEvents"]
    names = [row["name"] for row in rows if row.get("cat") == "user_annotation"]
    without_host = [part for part in PARTS[:-1] if part not in SOMETIMES]
    assert set(names) >= {*without_host, "backward", "training step"}
    assert names.count("training step") == STEPS
    assert names.count("attention") == STEPS * 2 * 2  # two layers, two micro-batches
    assert names.count("clipping") == STEPS
    assert names.count(REST) == STEPS * 2


# -- its numbers ----------------------------------------------------------------------------------


def test_the_parts_add_up_to_the_step(report: dict[str, Any]) -> None:
    parts = report["parts"]
    in_parts = sum(part[phase] for part in parts.values() for phase in PHASES)
    assert in_parts + report["unattributed_seconds"] == pytest.approx(report["step_seconds"])
    assert report["unattributed_seconds"] == pytest.approx(0, abs=1e-3 * report["step_seconds"])
    assert sum(part["share"] for part in parts.values()) == pytest.approx(1, abs=1e-3)
    by_clock = report["tokens_per_step"] / report["tokens_per_second_profiled"]
    assert report["step_seconds"] == pytest.approx(by_clock, rel=0.1)  # another clock
    in_use = sum(part["bytes_at_peak"] for part in parts.values())
    assert in_use + report["held_bytes"] == report["peak_bytes"]


def test_every_part_has_its_phases(report: dict[str, Any]) -> None:
    parts = report["parts"]
    for part in ("attention", "projection and loss", "other products", REST):
        assert parts[part]["forward"] > 0
        assert parts[part]["backward"] > 0
    for part in ("optimizer", "clipping", "data"):
        assert parts[part]["step"] > 0
        assert parts[part]["forward"] == parts[part]["backward"] == 0


def test_weights_and_both_moments_are_held_between_steps(report: dict[str, Any]) -> None:
    n_parameters, n_tensors = 30_240, 20
    weights_and_moments = 3 * 4 * n_parameters
    buffers = 2 * 4 * 8  # the frequencies of the rotary positions, and their originals
    assert 0 <= report["held_bytes"] - weights_and_moments <= buffers + 8 * n_tensors


def test_flops_are_those_of_the_definition(report: dict[str, Any]) -> None:
    n_tokens, layers, width, feed_forward, vocabulary = 8 * 16, 2, 32, 64, 300
    weights = layers * (4 * width * width + 3 * width * feed_forward)
    expected = {
        "other products": 6 * n_tokens * weights,
        "projection and loss": 6 * n_tokens * width * vocabulary,
        "attention": 14 * n_tokens * layers * 16 * width,  # 4 forward, 10 backward, not causal
    }
    for part, flops in expected.items():
        # the angles of the rotary positions are a small product of their own
        assert report["parts"][part]["flops"] == pytest.approx(flops, rel=1e-3), part


# -- what it leaves alone -------------------------------------------------------------------------


def test_profiling_changes_no_weight_and_leaves_no_trace_in_the_code(
    config: dict[str, Any], tmp_path: Path
) -> None:
    steps = WARMUP + 2 * STEPS + 1
    config["trainer"]["max_steps"] = steps
    plain, marked_run = compose(config), compose(config)
    plain.fit()
    profile_steps(marked_run, steps=STEPS, warmup_steps=WARMUP)
    assert marked_run.trainer.global_step == steps
    expected = plain.model.state_dict()
    for name, weight in marked_run.model.state_dict().items():
        assert weight.equal(expected[name]), name
    trainer = marked_run.trainer
    calls = list(calls_of(trainer, marked_run.model))
    assert len(calls) == 1 + 1 + 1 + 2 * (1 + 7) + 4
    for call in calls:
        assert call.method not in vars(call.owner)
    assert type(trainer.profiler).__name__ == "PassThroughProfiler"
    assert [path.name for path in (tmp_path / "runs" / "tiny").iterdir()] == ["0001"]  # the plain


def test_ranges_go_away_when_a_step_fails(config: dict[str, Any]) -> None:
    composed = compose(config)
    profile_steps(composed, steps=1, warmup_steps=0)
    calls = list(calls_of(composed.trainer, composed.model))
    with contextlib.suppress(ZeroDivisionError), marked(composed.trainer, composed.model):
        assert all(call.method in vars(call.owner) for call in calls)
        raise ZeroDivisionError
    assert not any(call.method in vars(call.owner) for call in calls)


def test_a_profile_may_be_longer_than_the_run(config: dict[str, Any]) -> None:
    config["trainer"]["max_steps"] = 3
    composed = compose(config)
    profile_steps(composed, steps=3, warmup_steps=2)
    assert composed.trainer.global_step == 2 + 3 + 3 + 1


def test_the_steps_of_a_growing_run_are_as_large_as_the_last(config: dict[str, Any]) -> None:
    growth = {"data.first_sequences_per_step": 2, "data.growing_steps": 100}
    growth |= {"data.first_seq_len": 4, "data.lengthening_steps": 100}
    composed = compose(config, growth)
    rows: list[tuple[int, ...]] = []

    class Counted(L.Callback):
        def on_train_batch_end(self, _t: Any, _m: Any, _o: Any, batch: Any, *_: Any) -> None:
            rows.append(tuple(batch.input_ids.shape))

    composed.trainer.callbacks.append(Counted())
    profile_steps(composed, steps=2, warmup_steps=1)
    assert rows == [(8, 16)] * (1 + 2 + 2 + 1)
    assert composed.trainer.tokens_seen == 6 * composed.data.tokens_per_step


# -- the command line -----------------------------------------------------------------------------


def test_a_profile_goes_to_a_folder_of_the_runs_name_and_replaces_the_last(
    run_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["profile", "-c", run_file, "--steps=1", "--warmup-steps=0", "--name", "mine"]
    assert roots(args) == 0
    said = capsys.readouterr().out
    assert "llama, 30.2 k parameters" in said
    assert "without the profiler" in said
    assert "written: profiles/mine/ (table.txt," in said
    folder = tmp_path / "profiles" / "mine"
    assert (folder / "table.txt").read_text() in said
    (folder / "profile.json").write_text("{}")
    (folder / "notes.md").write_text("what I saw")
    (folder / "figures").mkdir()
    assert roots([*args, "--model.micro_batch_size=8"]) == 0
    assert json.loads((folder / "profile.json").read_text())["steps"] == 1
    assert "in 1 forward pass of 8" in capsys.readouterr().out
    assert sorted(p.name for p in folder.iterdir()) == sorted([*FILES, "notes.md", "figures"])
    assert (folder / "notes.md").read_text() == "what I saw"


def test_help_says_what_is_trained_and_written(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        roots(["profile", "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in (*FILES, "usage: roots profile", "--steps N", "--warmup-steps N", "--out DIR"):
        assert words in said
    assert "no validation, checkpoint, sample, tracker or run directory" in said
    assert "--trainer.max_steps MAX_STEPS Optimizer steps of the run; 0 takes them" in said


def test_an_argument_that_nobody_knows_is_refused_with_exit_code_2(run_file: str) -> None:
    with pytest.raises(ConfigError, match="There is no --setps") as refused:
        roots(["profile", "--config", run_file, "--setps", "3"])
    assert refused.value.exit_code == 2
    with pytest.raises(ConfigError, match=r"expected one argument\. See `roots profile --help`"):
        roots(["profile", "--config", run_file, "--steps"])


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--steps=0", r"--steps 0 is no number .* whole number from 1 on"),
        ("--steps=few", r"--steps few is no number"),
        ("--warmup-steps=-1", r"--warmup-steps -1 is no number .* whole number from 0 on"),
    ],
)
def test_a_number_of_steps_that_is_none_is_refused(run_file: str, flag: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        roots(["profile", "--config", run_file, flag])


def test_a_folder_that_holds_something_else_is_not_replaced(run_file: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no profile .* such as --out (\S+)") as refused:
        roots(["profile", "--config", run_file, "--out", str(tmp_path)])
    assert str(tmp_path) in str(refused.value)
    check_out(tmp_path / "profile")  # the cure
    (tmp_path / "empty").mkdir()
    check_out(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="would lie in"):
        check_out(tmp_path / "file" / "profile")


def test_a_profile_that_fails_leaves_the_last_one_and_no_trace(
    run_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TrainingError("no kernel")

    monkeypatch.setattr("roots.fit.profile.command.check_kernels", fail)
    old = tmp_path / "old"
    old.mkdir()
    (old / "profile.json").write_text("{}")
    for out in (old, tmp_path / "new"):
        flags = ["--steps=1", "--warmup-steps=0", "--out", str(out)]
        with pytest.raises(TrainingError, match="no kernel"):
            roots(["profile", "--config", run_file, *flags])
    assert [p.name for p in old.iterdir()] == ["profile.json"]
    assert not (tmp_path / "new").exists()


def test_a_gpu_whose_kernels_nobody_saw_is_told() -> None:
    trace = understand([])
    with pytest.raises(TrainingError, match=r"no kernel on cuda:1: CUPTI.*KINETO_LOG_LEVEL=0"):
        check_kernels(trace, torch.device("cuda:1"))
    check_kernels(trace, torch.device("cpu"))


def test_a_device_that_the_profiler_does_not_see_is_refused(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = compose(config)
    strategy = type("OnMps", (), {"root_device": type("D", (), {"type": "mps"})})
    monkeypatch.setattr(type(composed.trainer), "strategy", strategy)
    with pytest.raises(ConfigError, match=r"what mps computes.*trainer\.accelerator to cpu or gpu"):
        profile_steps(composed, steps=1, warmup_steps=0)
