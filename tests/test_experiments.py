"""The comparison of experiments/throughput: equal work is shown, finished work is kept."""

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import WORDS

FOLDER = Path(__file__).parents[1] / "experiments" / "throughput"
ASKED = ["--preset", "tiny", "--rounds", "1", "--steps", "2", "--warmup-steps", "1"]
LAUNCHED = ["prepare", "roots-none", "raw", "roots-none", "raw"]  # the first of each warms up


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def compare(tmp_path: Path, shards: Path) -> Callable[..., int]:
    """Runs the comparison of roots and a raw loop in this process."""

    def run(*arguments: str, launch: Any = in_this_process) -> int:
        from compare import main

        folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
        only = ["--only", "roots-none,raw", "--text", str(shards)]
        return main([*ASKED, *only, *folders, *arguments], launch)

    return run


def in_this_process(script: Path, environment: str, job: Path, _log: Path, _: dict) -> None:
    from job import Job

    assert environment == "here"
    module = importlib.import_module(script.stem)
    if script.stem == "prepare":
        module.prepare(json.loads(job.read_text()))
    else:
        module.run(Job.read(job))


class Pretended:
    """Writes results without training, and keeps the names."""

    def __init__(self, **changes: dict[str, Any]) -> None:
        self.changes = changes
        self.names: list[str] = []

    def __call__(self, script: Path, _environment: str, job: Path, _log: Path, _: dict) -> None:
        asked = json.loads(job.read_text())
        self.names.append(asked.get("contender", script.stem))
        if script.stem == "prepare":
            return
        result = {
            "tokens_per_second": 100.0,
            "median_tokens_per_second": 101.0,
            "first_step_seconds": 2.0,
            "peak_bytes": 2**20,
            "losses": [6.0, 5.5, 5.0],
            "parameters": 7,
            "threads": 1,
            "attention": "sdpa",
            "versions": {},
        }
        result |= self.changes.get(asked["contender"].replace("-", "_"), {})
        Path(asked["out"]).write_text(json.dumps(result))


def written(tmp_path: Path) -> dict[str, Any]:
    (file,) = (tmp_path / "out").glob("*.json")
    return json.loads(file.read_text())


def test_roots_and_a_raw_loop_do_the_same_work(
    compare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert compare() == 0
    summary = written(tmp_path)
    assert summary["disagreements"] == []
    assert summary["parameters"] == summary["contenders"]["raw"]["runs"][0]["parameters"]
    (ours,), (theirs,) = (summary["contenders"][n]["runs"] for n in ("roots-none", "raw"))
    assert ours["losses"] == pytest.approx(theirs["losses"], abs=2e-5)
    assert len(ours["losses"]) == 3
    assert ours["losses"][-1] < ours["losses"][0]
    for run in (ours, theirs):
        assert run["peak_bytes"] > 2**20
        assert run["first_step_seconds"] > 0
        assert len(run["step_seconds"]) == 2
        assert 2 * 8 * 16 / run["tokens_per_second"] == pytest.approx(
            sum(run["step_seconds"]), rel=0.2
        )
    assert {file.suffix for file in (tmp_path / "out").iterdir()} == {".json", ".md", ".png"}
    assert "| raw loop, eager | " in capsys.readouterr().out


def test_what_is_finished_is_not_measured_again(
    compare: Callable[..., int], tmp_path: Path
) -> None:
    first, second, longer, fresh = (Pretended() for _ in range(4))
    assert compare(launch=first) == 0
    assert first.names == LAUNCHED
    before = written(tmp_path)
    assert compare(launch=second) == 0
    assert second.names == []
    assert written(tmp_path) == before
    assert compare("--steps", "3", launch=longer) == 0
    assert longer.names == LAUNCHED
    assert compare("--steps", "3", "--fresh", launch=fresh) == 0
    assert fresh.names == ["roots-none", "raw"]


def test_a_stopped_comparison_goes_on(
    compare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pretended = Pretended()

    def stopped(*given: Any) -> None:
        if len(pretended.names) == 4:
            raise KeyboardInterrupt
        pretended(*given)

    assert compare(launch=stopped) == 130
    assert "the same command, without --fresh, goes on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    rest = Pretended()
    assert compare(launch=rest) == 0
    assert rest.names == ["raw"]


def test_only_a_run_without_a_compilers_cache_counts_as_cold(
    compare: Callable[..., int], tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    assert compare(launch=Pretended()) == 0
    (folder,) = (tmp_path / "work").glob("tiny-*")
    cold = {k: v["cold_first_step_seconds"] for k, v in written(tmp_path)["contenders"].items()}
    assert cold == {"roots-none": 2.0, "raw": 2.0}
    (folder / "compiled" / "raw").mkdir(parents=True)
    for file in folder.glob("round-0/*.json"):
        file.unlink()
    assert compare(launch=Pretended()) == 0
    cold = {k: v["cold_first_step_seconds"] for k, v in written(tmp_path)["contenders"].items()}
    assert cold == {"roots-none": 2.0, "raw": None}


def test_the_order_moves_on_from_round_to_round(compare: Callable[..., int]) -> None:
    pretended = Pretended()
    assert compare("--rounds", "3", launch=pretended) == 0
    turns = pretended.names[3:]
    assert turns == ["roots-none", "raw", "raw", "roots-none", "roots-none", "raw"]


def test_one_that_fails_is_told_and_the_others_go_on(
    compare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from processes import Failed

    pretended = Pretended()

    def failing(script: Path, *given: Any) -> None:
        if script.stem == "run_raw":
            raise Failed("run_raw.py ended with exit code 3")
        pretended(script, *given)

    assert compare(launch=failing) == 1
    assert "raw: not measured. run_raw.py ended with exit code 3" in capsys.readouterr().err
    assert list(written(tmp_path)["contenders"]) == ["roots-none"]
    assert written(tmp_path)["failures"] == {"raw": "run_raw.py ended with exit code 3"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"losses": [6.001, 5.5, 5.0]}, "in the first step, 6.00100, lies 0.00050 from"),
        ({"losses": [6.0, 5.5, 5.01]}, "in the last step, 5.01000, lies 0.00500 from"),
        ({"losses": [6.0, 5.5, float("nan")]}, "the loss of raw in the last step, nan"),
        ({"parameters": 8}, "parameters differ: roots-none 7, raw 8"),
        ({"threads": 2}, "threads differ: roots-none 1, raw 2"),
    ],
)
def test_other_work_is_found(
    compare: Callable[..., int],
    capsys: pytest.CaptureFixture,
    changes: dict[str, Any],
    words: str,
) -> None:
    assert compare(launch=Pretended(raw=changes)) == 1
    assert words in capsys.readouterr().err


def test_a_goal_is_judged_round_by_round_against_the_best_of_the_others() -> None:
    from contenders import Goal
    from report import judge

    def rounds(*values: float) -> list[dict[str, Any]]:
        return [{"tokens_per_second": v, "peak_bytes": v} for v in values]

    runs = {"a": rounds(120, 130, 90), "b": rounds(100, 100, 100), "c": rounds(80, 104, 50)}
    fast = judge(Goal("tokens_per_second", "a", ("b", "c", "absent"), 1.25), runs)
    assert fast is not None
    assert fast["ratio"] == {"min": 0.9, "median": 1.2, "max": 1.25}
    assert not fast["reached"]
    lean = judge(Goal("peak_bytes", "a", ("b", "c"), 1.0), runs)
    assert lean is not None
    assert lean["ratio"]["median"] == pytest.approx(80 / 120)
    assert judge(Goal("peak_bytes", "a", ("absent",), 1.0), runs) is None


@pytest.mark.parametrize("preset", ["cpu-small", "gpu-124m", "gpu-1b"])
def test_a_dry_run_tells_the_size_and_writes_nothing(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    import torch
    from compare import main
    from presets import PRESETS
    from transformers import AutoConfig, AutoModelForCausalLM

    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert main(["--preset", preset, "--dry-run", *folders]) == 0
    keys = dict(PRESETS[preset].network)
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(keys.pop("model_type"), **keys)
        )
    size = sum(p.numel() for p in network.parameters())
    assert f"{size:,} parameters" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_what_the_tables_name_is_there() -> None:
    from contenders import CONTENDERS, GOALS
    from environments import REQUIREMENTS

    for contender in CONTENDERS.values():
        assert (FOLDER / contender.runner).is_file()
        assert contender.environment in ("here", *REQUIREMENTS)
        assert contender.follows in ("", *CONTENDERS)
    for goal in GOALS:
        assert {goal.ours, *goal.theirs} <= set(CONTENDERS)


@pytest.mark.parametrize(
    ("wrong", "words", "cure"),
    [
        (["--preset", "tiney"], "no --preset tiney (did you mean tiny?)", ["--preset", "tiny"]),
        (["--only", "rawr"], "--only rawr: there is no such contender (did you", ["--only", "raw"]),
        (["--steps", "0"], "--steps 0 is too few. Give 1 or more", ["--steps", "1"]),
        (["--precision", "16"], "--precision 16. Give 32 or bf16-mixed", ["--precision", "32"]),
        (["--text", "nowhere"], "nowhere is no folder of shards", ["--text", ""]),
    ],
)
def test_a_mistake_is_told_with_its_cure(
    capsys: pytest.CaptureFixture, wrong: list[str], words: str, cure: list[str]
) -> None:
    from compare import main

    assert main([*wrong, "--dry-run"]) == 2
    assert words in capsys.readouterr().err
    assert main([*cure, "--dry-run"]) == 0


def test_a_gpu_preset_without_a_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    import hardware
    from compare import main

    monkeypatch.setattr(hardware, "gpu_name", lambda: "")
    asked = ["--preset", "gpu-1b", "--work", str(tmp_path / "work")]
    assert main(asked) == 2
    assert "needs a CUDA GPU" in capsys.readouterr().err
    assert main([*asked, "--dry-run"]) == 0


def test_a_process_that_fails_tells_its_last_lines(tmp_path: Path) -> None:
    from processes import Failed, in_a_process

    script = tmp_path / "wrong.py"
    script.write_text("import os, sys\nprint(os.environ['MARK'], sys.argv[1])\nsys.exit(3)\n")
    with pytest.raises(Failed, match=r"wrong.py ended with exit code 3.*\n    here the.job"):
        in_a_process(script, "here", Path("the.job"), tmp_path / "log", {"MARK": "here"})
    script.write_text("pass\n")
    in_a_process(script, "here", Path("the.job"), tmp_path / "log", {})


def test_what_pip_refuses_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    import environments

    monkeypatch.setattr(environments, "python_of", lambda _name: Path(sys.executable))
    with pytest.raises(environments.EnvironmentFailed, match="Invalid requirement: 'no such=one'"):
        environments._pip("litgpt", "no such=one")


def test_an_environment_that_fails_leaves_its_contenders_out(
    compare: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import environments

    def fail(name: str, torch_index: str) -> None:
        raise environments.EnvironmentFailed(f"no {name} on {torch_index}")

    monkeypatch.setattr(environments, "is_ready", lambda name: name == "here")
    monkeypatch.setattr(environments, "make", fail)
    asked = ["--only", "raw,litgpt", "--torch-index", "the.index"]
    assert compare(*asked, launch=Pretended()) == 1
    assert "litgpt: not measured. no litgpt on the.index" in capsys.readouterr().err


def test_sources_that_change_meanwhile_are_found(
    compare: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import hardware

    pretended = Pretended()  # what decides the numbers changes with the last run of all
    monkeypatch.setattr(hardware, "everything", lambda: str(len(pretended.names) // 5))
    assert compare(launch=pretended) == 2
    assert "the sources of roots-none, raw were changed while" in capsys.readouterr().err
    assert compare(launch=pretended) == 0
    assert pretended.names[5:] == LAUNCHED[1:]


def test_a_run_is_kept_under_the_sources_that_it_started_with(
    compare: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import hardware

    pretended = Pretended()  # changes while the first contender warms up
    monkeypatch.setattr(hardware, "everything", lambda: str(min(len(pretended.names) // 2, 1)))
    assert compare(launch=pretended) == 0
    again = Pretended()
    assert compare(launch=again) == 0
    assert again.names == ["roots-none"]


@pytest.mark.slow
def test_processes_of_their_own_do_the_same_work(compare: Callable[..., int]) -> None:
    from processes import in_a_process

    assert compare(launch=in_a_process) == 0


# -- fine-tuning -----------------------------------------------------------------------------------


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Two hundred rows of three to twenty words."""
    rng = random.Random(1)
    rows = (
        f"{' '.join(rng.choices(WORDS, k=rng.randint(3, 20)))}\t{number % 2}"
        for number in range(200)
    )
    file = tmp_path / "reviews.tsv"
    file.write_text("\n".join(["sentence\tlabel", *rows, ""]))
    return file


def test_fine_tuning_is_measured_in_turns_and_finished_runs_are_kept(
    tmp_path: Path, reviews: Path, capsys: pytest.CaptureFixture
) -> None:
    from fine_tuning import main

    asked: list[tuple[str, int]] = []

    def pretended(script: Path, environment: str, job: Path, _log: Path, _: dict) -> None:
        assert (script.name, environment) == ("fine_tuners.py", "here")
        given = json.loads(job.read_text())
        asked.append((given["contender"], given["seed"]))
        speed = {"roots": 200.0, "raw": 204.0, "trainer-grouped": 160.0, "trainer": 100.0}
        found = {"rows_per_second": speed[given["contender"]], "tokens_per_row": 13.0}
        found |= {"filling": 0.1, "peak_bytes": 2**30, "loss_of_last_50_steps": 0.4}
        Path(given["out"]).write_text(json.dumps(found))

    arguments = ["--work", str(tmp_path / "w"), "--text", str(reviews), "--encoder", "E"]
    main([*arguments, "--rounds", "2"], pretended)
    assert [name for name, _ in asked[:4]] == ["raw", "trainer-grouped", "trainer", "roots"]
    assert [name for name, _ in asked[4:]] == ["trainer-grouped", "trainer", "roots", "raw"]
    assert [seed for _, seed in asked] == [1] * 4 + [2] * 4
    said = capsys.readouterr().out
    assert "| Hugging Face Trainer, group_by_length | ≥ 1.1 | 1.25 | 1.25 to 1.25 |" in said
    main([*arguments, "--rounds", "2"], pretended)
    assert len(asked) == 8
    main([*arguments, "--rounds", "2", "--steps", "7"], pretended)
    assert len(asked) == 16


@pytest.mark.slow
def test_those_that_fine_tune_make_steps_of_32_rows(
    tmp_path: Path, reviews: Path, encoder: Path
) -> None:
    from fine_tuning import main

    arguments = ["--work", str(tmp_path), "--text", str(reviews), "--encoder", str(encoder)]
    main([*arguments, "--rounds", "1", "--steps", "4", "--warmup-steps", "1", "--precision", "32"])
    found = [json.loads(path.read_text()) for path in tmp_path.glob("*-1-32-4.json")]
    assert len(found) == 4
    assert all(run["rows_per_second"] > 0 and 3 < run["tokens_per_row"] < 23 for run in found)
    filling = {run["contender"]: run["filling"] for run in found}
    assert max(filling["roots"], filling["raw"]) < filling["trainer"]
