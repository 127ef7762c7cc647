"""A run that is run again: what differs around it, and whether its numbers come again."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run, metrics_text
from tiny import tiny_config

from roots.cli import run as roots
from roots.errors import CheckpointError, ConfigError, DataError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.fit.reproduce import judge, reproduce
from roots.fit.reproduce.surroundings import differences, doubts
from roots.runs import Metrics, Run, RunLock

# -- the verdict ----------------------------------------------------------------------------------


def metrics(*losses: float, **others: list[float]) -> Metrics:
    rows = {step: {"train/loss": loss} for step, loss in enumerate(losses, 1)}
    for name, values in others.items():
        for step, value in enumerate(values, 1):
            rows[step][name.replace("__", "/")] = value
    return Metrics(tuple(rows[1]), rows)


def test_equal_metrics_are_bitwise_equal_whatever_the_machine_took() -> None:
    then = metrics(3.0, math.nan, train__tokens_per_second=[1.0, 2.0], train__mfu=[0.1, 0.1])
    now = metrics(3.0, math.nan, train__tokens_per_second=[9.0, 9.0], train__mfu=[0.2, 0.2])
    verdict = judge(then, now, steps=2)
    assert (verdict.kind, verdict.n_values, verdict.last_step) == ("bitwise", 2, 2)
    assert str(verdict) == "bitwise equal: 2 values until step 2"


def test_the_last_bit_counts_unless_a_tolerance_is_asked_for() -> None:
    then, now = metrics(3.0, 2.0, 1.0), metrics(3.0, math.nextafter(2.0, 3.0), 1.0)
    strict = judge(then, now, steps=3)
    assert (strict.kind, strict.differs_from, strict.equal_until) == ("different", 2, 1)
    assert strict.deviations[0].largest == pytest.approx(2.2e-16, rel=0.02)
    loose = judge(then, now, steps=3, tolerance=1e-12)
    assert (loose.kind, loose.equal_until) == ("within", 1)
    assert str(loose).startswith("within the tolerance of 1e-12 (relative): 3 values until step 3")


def test_the_step_from_which_they_differ_is_the_first_beyond_the_tolerance() -> None:
    then, now = metrics(4.0, 2.0, 2.0, 1.0), metrics(4.0, 2.0002, 2.2, 1.0)
    verdict = judge(then, now, steps=4, tolerance=1e-3)
    assert (verdict.kind, verdict.differs_from, verdict.equal_until) == ("different", 3, 1)
    (worst,) = verdict.deviations
    assert (worst.metric, worst.step) == ("train/loss", 3)
    assert worst.largest == pytest.approx(0.2 / 2.2)
    assert judge(then, now, steps=2, tolerance=1e-3).kind == "within"  # before it


def test_what_was_not_reported_again_or_is_no_number_is_different() -> None:
    then = metrics(3.0, 2.0, val__loss=[1.0, 1.0])
    verdict = judge(then, metrics(3.0, 2.0), steps=2, tolerance=1.0)
    assert (verdict.kind, verdict.differs_from) == ("different", 1)
    assert verdict.missing == ("val/loss at step 1", "val/loss at step 2")
    assert judge(metrics(3.0), metrics(math.nan), steps=1, tolerance=1.0).kind == "different"
    assert judge(metrics(3.0), metrics(3.0, 2.0), steps=1).kind == "bitwise"  # more is no fault


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(DataError, match=r"reported nothing until step 3 that could be compared"):
        judge(Metrics((), {}), metrics(3.0), steps=3)


# -- the surroundings -----------------------------------------------------------------------------


def test_differences_are_told_by_name_and_older_records_are_not_blamed() -> None:
    then = {
        "command": "roots fit",
        "python": "3.11.7",
        "packages": {"torch": "2.11.0", "numpy": "2.0"},
        "code": {"commit": "a" * 40, "changed": False},
        "data": {"path": "here", "fingerprint": "f" * 64},
    }
    now = {
        "command": "roots reproduce",
        "python": "3.11.7",
        "packages": {"torch": "2.13.0", "scipy": "1.15"},
        "hardware": {"cores": 2},  # which the older version did not write down
        "code": {"commit": "b" * 40, "changed": False, "diff_sha256": ""},
        "data": {"path": "there", "fingerprint": "f" * 64},
    }
    assert differences(then, now) == [
        "packages.torch: 2.11.0 → 2.13.0",
        "packages.numpy: 2.0 → not recorded",
        f"code.commit: {'a' * 12} → {'b' * 12}",
        "packages.scipy: not recorded → 1.15",
    ]
    assert differences(then, then) == []


def test_changed_files_without_a_sum_are_a_doubt() -> None:
    changed = {"commit": "a" * 40, "changed": True}
    assert "differ from commit aaaaaaaaaaaa" in doubts({"code": changed})[0]
    older = {**changed, "diff_sha256": "x"}
    assert "or are not in it" in doubts({"code": older})[0], "of untracked files there was no sum"
    assert doubts({"code": {**older, "untracked_sha256": ""}}) == []
    other = {**older, "untracked_sha256": "z"}
    assert differences({"code": {**older, "untracked_sha256": "y"}}, {"code": other}) == [
        "code.untracked_sha256: y → z"
    ]
    assert differences({"code": older}, {"code": other}) == []
    assert "not in a git repository" in doubts({"code": {}})[0]


# -- a real run -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of six steps with dropout, which makes its numbers depend on more than the data."""
    config = tiny_config(shards, tmp_path_factory.mktemp("first") / "runs")
    network = config["model"]["init_args"]["network"]["init_args"]
    network["config"] = {**network["config"], "attention_dropout": 0.1}
    return compose(config).fit()


@pytest.fixture
def run(first: Run, tmp_path: Path) -> Run:
    """A copy of it in a place of its own."""
    shutil.copytree(first.path, tmp_path / "runs" / "tiny" / "0001")
    return Run(tmp_path / "runs" / "tiny" / "0001")


def test_a_run_is_reproduced_bit_by_bit(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert roots(["reproduce", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert "to do again: 6 of 6 steps" in said
    assert "bitwise equal:" in said
    told = json.loads((run.path.with_name("0002") / "reproduction.json").read_text())
    assert (told["kind"], told["last_step"], told["deviations"]) == ("bitwise", 6, [])
    assert told["n_values"] >= 6 * 4  # loss, norm, rate and tokens of each step


def test_its_first_steps_alone_follow_the_schedule_of_the_whole(
    run: Run, capsys: pytest.CaptureFixture
) -> None:
    file = run.metrics_file
    lines = file.read_text().splitlines(keepends=True)
    loss = lines[3].split(",")[1]
    file.write_text("".join(lines).replace(loss, repr(float(loss) * (1 + 1e-7))))
    assert roots(["reproduce", str(run.path), "--steps", "2"]) == 0
    assert "bitwise equal: " in capsys.readouterr().out
    assert Run(run.path.with_name("0002")).last().step == 2

    arguments = ["reproduce", str(run.path), "--steps", "4"]
    assert roots(arguments) == 1
    said = capsys.readouterr().out
    assert "different from step 3 on, beyond the tolerance of 0 (relative)" in said
    assert "bitwise equal until step 2" in said
    assert "train/loss                   1e-07 at step 3" in said
    assert roots([*arguments, "--tolerance", "1e-6"]) == 0
    assert "within the tolerance of 1e-06 (relative)" in capsys.readouterr().out


def test_a_dry_run_tells_the_differences_and_writes_nothing(
    run: Run, capsys: pytest.CaptureFixture
) -> None:
    file = run.path / "environment.json"
    told = json.loads(file.read_text())
    told["packages"]["torch"] = "2.11.0"
    file.write_text(json.dumps(told))
    before = sorted(run.path.parent.rglob("*"))
    flags = ["--trainer.devices", "2", "--seed", "7"]
    assert roots(["reproduce", str(run.path), "--dry-run", *flags]) == 0
    said = capsys.readouterr().out
    assert "packages.torch: 2.11.0 → " in said
    assert "hardware.ranks: 1 → 2" in said
    assert "seed: 1 → 7" in said
    assert sorted(run.path.parent.rglob("*")) == before


def test_another_seed_is_a_different_run(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert roots(["reproduce", str(run.path), "--steps", "2", "--seed", "7"]) == 1
    assert "different from step 1 on" in capsys.readouterr().out


def test_of_a_run_whose_settings_changed_the_first_part_is_done_again(run: Run) -> None:
    on, _ = resumed(str(run.path), {}, ["--trainer.max_steps", "8"])
    on.fit()
    again = reproduce(run.path)
    assert again.steps == 6
    assert again.composed.trainer.max_steps == 6
    assert "settings were changed after step 6" in again.doubts[-1]
    assert again.fit()[1].kind == "bitwise"


# -- bad input ------------------------------------------------------------------------------------


def test_what_is_no_run_or_lacks_a_file_is_refused(run: Run) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        reproduce(run.path.with_name("0009"))
    environment = (run.path / "environment.json").read_text()
    for broken in ("{", "[]"):
        (run.path / "environment.json").write_text(broken)
        with pytest.raises(CheckpointError, match=r"environment\.json is damaged"):
            reproduce(run.path)
    (run.path / "environment.json").unlink()
    with pytest.raises(CheckpointError, match=r"nobody knows what the run ran on"):
        reproduce(run.path)
    (run.path / "environment.json").write_text(environment)
    metrics_file = run.metrics_file.read_text()
    run.metrics_file.write_text(metrics_file + "7,what,\n")
    with pytest.raises(DataError, match=r"Line 8 of .*metrics\.csv is garbled"):
        reproduce(run.path)
    run.metrics_file.unlink()
    with pytest.raises(DataError, match=r"reported no step, so there is nothing to compare with"):
        reproduce(run.path)
    run.config_file.unlink()
    with pytest.raises(CheckpointError, match=r"no config\.yaml"):
        reproduce(run.path)


def test_a_second_run_that_ends_before_the_steps_to_compare_is_refused(
    run: Run, capsys: pytest.CaptureFixture
) -> None:
    words = r"would end after 4 steps, before the 6 of .*add --steps 4 and leave the length"
    with pytest.raises(ConfigError, match=words):
        roots(["reproduce", str(run.path), "--trainer.max_steps", "4", "--dry-run"])
    assert roots(["reproduce", str(run.path), "--steps", "4", "--dry-run"]) == 0  # the cure
    assert "to do again: 4 of 6 steps" in capsys.readouterr().out


def test_more_steps_than_were_reported_are_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"steps=9 is not among .* Set it between 1 and 6"):
        reproduce(run.path, steps=9)
    assert reproduce(run.path, steps=6).steps == 6


def test_no_steps_are_not_taken_for_all(run: Run, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"--steps 0 is no number of .* from 1 on"):
        roots(["reproduce", str(run.path), "--steps", "0", "--dry-run"])
    assert roots(["reproduce", str(run.path), "--steps", "1", "--dry-run"]) == 0  # the cure
    assert "to do again: 1 of 6 steps" in capsys.readouterr().out


@pytest.mark.parametrize("tolerance", ["-1", "nan", "inf"])
def test_a_tolerance_that_anything_is_within_is_refused(run: Run, tolerance: str) -> None:
    words = rf"tolerance={tolerance} is no relative difference\..* such as 1e-5"
    with pytest.raises(ConfigError, match=words):
        roots(["reproduce", str(run.path), f"--tolerance={tolerance}", "--dry-run"])
    assert roots(["reproduce", str(run.path), "--tolerance=1e-5", "--dry-run"]) == 0


def test_of_a_running_run_only_steps_that_it_has_done_can_be_done_again(run: Run) -> None:
    lock = RunLock(run.path)
    lock.acquire()
    try:
        with pytest.raises(ConfigError, match=r"still running \(process \d+ on .*--steps 6"):
            reproduce(run.path)
        assert reproduce(run.path, steps=6).steps == 6
    finally:
        lock.release()


def test_other_data_are_refused_before_anything_is_trained(run: Run) -> None:
    file = run.path / "environment.json"
    told = json.loads(file.read_text())
    told["data"]["fingerprint"] = "e" * 64
    file.write_text(json.dumps(told))
    again = reproduce(run.path)
    assert any(line.startswith("data.fingerprint: eeeeeeeeeeee → ") for line in again.differences)
    with pytest.raises(DataError, match=r"fingerprint .*, then eeeeeeeeeeee\)"):
        again.fit()
    assert not run.path.with_name("0002").exists()


def test_a_hidden_secret_must_be_given_again(run: Run, shards: Path) -> None:
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace(str(shards), "/data/<HF_TOKEN>/x"))
    with pytest.raises(ConfigError, match=r"left out of .* at data\.init_args\.shards\. Give the"):
        reproduce(run.path)
    for flag in ("data.init_args.shards", "data.shards"):
        reproduce(run.path, flags=[f"--{flag}={shards}"])
    reproduce(run.path, flags=["--data.init_args.shards", str(shards)])


def test_a_run_without_a_report_in_its_first_steps_says_so(tmp_path: Path, config: dict) -> None:
    path = tmp_path / "runs" / "tiny" / "0001"
    run = make_run(path, config=config)
    run.metrics_file.write_text(metrics_text([], {}))
    with pytest.raises(DataError, match="reported no step"):
        reproduce(run.path)


def test_a_mistake_in_the_arguments_is_told_as_ours(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"See `roots reproduce --help`"):
        roots(["reproduce"])
    with pytest.raises(ConfigError, match=r"There is no --trainer\.max_step "):
        roots(["reproduce", str(run.path), "--trainer.max_step", "3"])


def test_the_environment_names_what_decides_about_the_last_bits(first: Run) -> None:
    told: dict[str, Any] = json.loads((first.path / "environment.json").read_text())
    assert told["arithmetic"]["deterministic"] is False
    assert told["arithmetic"]["float32_matmul_precision"] in ("highest", "high", "medium")
    for package in ("torch", "torchmetrics", "datasets", "scipy", "safetensors"):
        assert told["packages"][package]
    assert "not-a-package" not in told["packages"]


def test_how_the_work_was_divided_is_no_number_of_the_run() -> None:
    parts = {"train__padding_fraction": [0.2, 0.3], "compile__recompilations": [0.0, 1.0]}
    then, now = metrics(3.0, 2.0, **parts), metrics(3.0, 2.0)
    assert judge(then, now, steps=2).kind == "bitwise"
    assert judge(then, now, steps=2).n_values == 2
