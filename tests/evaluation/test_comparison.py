"""Runs compared by their files: groups, means, tests, and what is not comparable."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_runs import a_config, make_run, metrics_text

from roots.cli import run as roots
from roots.errors import CheckpointError, ConfigError, DataError
from roots.evaluation import compare
from roots.evaluation.comparison.groups import Spread
from roots.evaluation.comparison.welch import welch


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("runs")


def a_group(folder: Path, finals: list[float], **settings: Any) -> None:
    """As many runs as there are final losses; they differ by seed alone."""
    for seed, final in enumerate(finals, 1):
        config = a_config(seed=seed, **settings)
        val = {2: final - 0.5, 4: final}
        make_run(folder / f"{seed:04d}", config=config, val=val, seed=seed)


# -- Welch ----------------------------------------------------------------------------------------


def by_hand(a: list[float], b: list[float]) -> tuple[float, float]:
    """t and the degrees of freedom, from the definition."""
    va, vb = (statistics.variance(x) / len(x) for x in (a, b))
    t = (statistics.fmean(b) - statistics.fmean(a)) / math.sqrt(va + vb)
    return t, (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))


def test_p_and_interval_are_those_of_the_definition() -> None:
    from scipy.stats import t as student

    a = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
    b = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 22.8]
    found = welch(a, b)
    t, freedom = by_hand(a, b)
    half = student.ppf(0.975, freedom) * (statistics.fmean(b) - statistics.fmean(a)) / t
    assert found.p == pytest.approx(2 * student.sf(abs(t), freedom))
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))
    assert found.n == (15, 15)
    assert found.is_significant


def test_equal_means_of_unequal_spread_are_called_different_one_time_in_twenty() -> None:
    import numpy as np

    rng = np.random.default_rng(3)
    draws = [
        welch(rng.normal(1.0, 0.1, 4).tolist(), rng.normal(1.0, 1.0, 8).tolist())
        for _ in range(1000)
    ]
    false = sum(bool(d.is_significant) for d in draws) / 1000
    held = sum(d.low < 0 < d.high for d in draws) / 1000  # type: ignore[operator]
    assert 0.03 < false < 0.07  # 0.05 within three standard errors
    assert held == pytest.approx(1 - false)


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ([1.0], [1.0, 2.0], "one run has no spread"),
        ([1.0, 2.0], [3.0], "one run has no spread"),
        ([1.0, math.nan], [1.0, 2.0], "not finite"),
        ([1.0, 1.0], [2.0, 2.0], "the very same value"),
    ],
)
def test_what_cannot_be_tested_says_why_and_gives_no_p(
    a: list[float], b: list[float], why: str
) -> None:
    found = welch(a, b)
    assert (found.p, found.low, found.is_significant) == (None, None, None)
    assert why in found.why_not
    assert f"(n = {len(a)} and {len(b)})" in str(found)
    assert "p =" not in str(found)


def test_a_spread_is_told_with_two_digits_and_n() -> None:
    assert str(Spread((1.0, 2.0))) == "1.50 ± 0.71 (n = 2)"
    assert str(Spread((4000.0, 5000.0))) == "4,500 ± 707 (n = 2)"
    assert str(Spread((1.23456789,))) == "1.2346 (n = 1)"
    assert str(Spread((2.0, 2.0))) == "2 ± 0 (n = 2)"
    assert str(Spread((2.0, math.nan))) == "nan ± nan (n = 2)"
    assert str(Spread((math.inf, 2.0))) == "inf ± nan (n = 2)"
    assert str(Spread((math.inf, -math.inf))) == "nan ± nan (n = 2)"


# -- groups ---------------------------------------------------------------------------------------


def test_runs_that_differ_only_by_seed_are_one_group_with_mean_and_spread(root: Path) -> None:
    a_group(root / "a", [1.0, 1.1, 1.2])
    a_group(root / "b", [2.0, 2.1, 2.3], lr=3e-3)
    found = compare(["runs/a", "runs/b"])
    assert [g.name for g in found.groups] == ["A: a (3 runs)", "B: b (3 runs)"]
    assert found.spreads["A"]["final"].values == (1.0, 1.1, 1.2)
    assert found.spreads["A"]["best"].mean == pytest.approx(0.6)
    assert found.spreads["B"]["tokens_per_second"].mean == 1000
    difference = found.differences["B"]["final"]
    assert difference.mean == pytest.approx(31 / 30)
    assert difference.is_significant
    assert difference.p == welch([1.0, 1.1, 1.2], [2.0, 2.1, 2.3]).p
    name = "model.init_args.optimizer.init_args.learning_rate"
    assert found.settings == {name: [1e-3, 3e-3]}
    assert "ask for p below 0.025" in found.remarks[-1]  # two tests at once


@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_a_run_whose_loss_was_lost_leaves_the_others_compared(
    root: Path, lost: float, capsys: pytest.CaptureFixture[str]
) -> None:
    a_group(root / "a", [1.0, 1.1])
    a_group(root / "b", [2.0, lost], lr=3e-3)
    assert roots(["compare", "runs/a", "runs/b"]) == 0
    shown = capsys.readouterr().out
    assert f"{lost:g} ± nan (n = 2)" in shown
    assert "(n = 2 and 2): a value is not finite" in shown
    told = json.loads((root / "comparison" / "comparison.json").read_text())
    assert told["groups"][1]["spread"]["final"]["standard_deviation"] is None


def test_groups_are_made_by_settings_and_not_by_folders(root: Path) -> None:
    make_run(root / "x" / "0001", config=a_config(seed=1))
    make_run(root / "x" / "0002", config=a_config(seed=2, lr=1.0))
    make_run(root / "y" / "0001", config={**a_config(seed=3), "name": "y"})
    found = compare(["x", "y"])
    assert [[r.name for r in g.runs] for g in found.groups] == [["x/0001", "y/0001"], ["x/0002"]]


def test_one_run_of_each_says_that_there_is_no_spread(root: Path) -> None:
    a_group(root / "a", [1.0])
    a_group(root / "b", [2.0], lr=3e-3)
    found = compare(["a", "b"])
    difference = found.differences["B"]["final"]
    assert (difference.mean, difference.p, difference.n) == (1.0, None, (1, 1))


def test_the_same_seed_twice_and_unfinished_runs_do_not_count(root: Path) -> None:
    a_group(root / "a", [1.0, 1.2])
    make_run(root / "a" / "0003", config=a_config(seed=2), val={4: 1.2})
    make_run(root / "a" / "0004", config=a_config(seed=4), state={"state": "interrupted"})
    found = compare(["a"])
    assert found.spreads["A"]["final"].values == (1.0, 1.2)
    assert [outcome.run for outcome in found.outcomes] == [f"a/000{n}" for n in (1, 2, 3, 4)]
    assert any("a/0003 has the seed (2) of another" in r for r in found.remarks)
    assert any("a/0004 is interrupted, so it does not count" in r for r in found.remarks)


def test_a_running_run_is_shown_and_does_not_count(root: Path) -> None:
    from roots.runs import RunLock

    a_group(root / "a", [1.0, 1.2])
    lock = RunLock(root / "a" / "0002")
    lock.acquire()
    found = compare(["a"])
    lock.release()
    assert [o.state for o in found.outcomes] == ["finished", "running"]
    assert found.spreads["A"]["final"].n == 1
    assert "a/0002 is running" in found.remarks[0]


def test_the_time_of_training_is_what_the_rates_say(root: Path) -> None:
    a_group(root / "a", [1.0, 1.2])
    run = compare(["a"]).groups[0].runs[0]
    assert run.training_seconds() == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4})
    assert compare(["a"]).outcomes[0].training_seconds == pytest.approx(0.4)
    assert compare(["a"]).outcomes[0].wall_seconds == 60


# -- not comparable -------------------------------------------------------------------------------


def test_runs_of_other_objectives_are_not_comparable(root: Path) -> None:
    a_group(root / "a", [1.0, 1.1])
    a_group(root / "b", [2.0, 2.1], module="MaskedLM")
    found = compare(["a", "b"])
    assert "b/0001 trains roots.modules.MaskedLM, a/0001 roots.modules.CausalLM" in found.apart["B"]
    assert found.differences == {}
    assert found.plain()["groups"][1]["not_comparable"] == found.apart["B"]


def test_runs_on_other_data_are_not_comparable(root: Path) -> None:
    make_run(root / "a" / "0001")
    make_run(root / "a" / "0002", seed=2, fingerprint="e" * 64)
    make_run(root / "a" / "0003", config=a_config() | {"data": {"class_path": "roots.data.Other"}})
    found = compare(["a"])
    assert "fingerprint eeeeeeeeeeee) than a/0001 (ffffffffffff)" in found.apart["B"]
    assert "data.class_path is roots.data.Other, and roots.data.TokenCorpus" in found.apart["C"]
    assert found.differences == {}


def test_runs_on_other_training_rows_are_comparable_on_the_same_validation_rows(root: Path) -> None:
    rows = {"a": ("1", "v"), "b": ("2", "v"), "c": ("1", "w")}
    for name, (trained, validated) in rows.items():
        data = {"fingerprint": trained * 64, "validated_on": validated * 64}
        for seed in (1, 2):
            make_run(root / name / f"000{seed}", seed=seed, data=data)
    found = compare(["a", "b", "c"])
    assert set(found.apart) == {"C"}
    assert (
        "c/0001 was validated on other rows (fingerprint wwwwwwwwwwww) than a/0001"
        in (found.apart["C"])
    )
    assert [len(found.spreads[letter]["final"].values) for letter in "AB"] == [2, 2]


def test_another_metric_can_be_chosen_and_a_misspelt_one_is_refused(root: Path) -> None:
    a_group(root / "a", [1.0, 1.1])
    assert compare(["a"], metric="train/loss").spreads["A"]["final"].mean == 1.25
    with pytest.raises(ConfigError, match=r"No run reported val/los \(did you mean 'val/loss'\?\)"):
        compare(["a"], metric="val/los")


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        *((f"val/{name}", "min") for name in ("mse", "ece", "mce", "teacher_kl", "wiki/loss")),
        *((name, "min") for name in ("val/bits_per_byte", "optim/grad_norm")),
        *((f"val/{name}", "max") for name in ("accuracy", "f1/lossless", "exact_match", "bleu")),
        ("train/tokens_per_second", "max"),
        *((name, "min") for name in ("train/padding_fraction", "optim/steps_skipped")),
        ("optim/loss_scale", "max"),
    ],
)
def test_the_best_of_a_metric_is_told_by_whole_words_of_its_name(
    root: Path, metric: str, mode: str
) -> None:
    for seed in (1, 2):
        run = make_run(root / "a" / f"000{seed}", seed=seed)
        run.metrics_file.write_text(f"step,train/loss,{metric}\n1,1,9.0\n2,1,0.5\n")
    found = compare(["a"], metric=metric)
    assert found.mode == mode
    assert found.outcomes[0].best == {"min": 0.5, "max": 9.0}[mode]


# -- bad input ------------------------------------------------------------------------------------


def test_one_run_is_no_comparison(root: Path) -> None:
    make_run(root / "a" / "0001")
    with pytest.raises(ConfigError, match=r"two runs at least, and 1 was given \(a/0001\)"):
        compare(["runs/a/0001"])


def test_a_missing_run_and_damaged_files_are_refused_by_name(root: Path) -> None:
    a_group(root / "a", [1.0, 1.1])
    with pytest.raises(CheckpointError, match=r"runs/b is no run"):
        compare(["runs/a", "runs/b"])
    metrics = root / "a" / "0002" / "metrics.csv"
    whole = metrics.read_text()
    metrics.write_text(whole + "5,1.0\n6,1.0,1000.0,600.0,\n")
    with pytest.raises(DataError, match=r"Line 6 of .*0002/metrics\.csv is garbled: it has 2 val"):
        compare(["runs/a"])
    metrics.write_text(metrics_text([1.0], {}).replace("val/loss", "val/other"))
    assert compare(["runs/a"]).outcomes[1].final is None  # a column that is missing
    metrics.write_text(whole)
    (root / "a" / "0002" / "environment.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"environment\.json is damaged"):
        compare(["runs/a"])
    (root / "a" / "0001" / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"0001 is no run directory \(no config\.yaml\)"):
        compare(["runs/a"])


# -- the command ----------------------------------------------------------------------------------


def test_the_command_writes_a_page_a_figure_and_values(
    root: Path, capsys: pytest.CaptureFixture
) -> None:
    a_group(root / "a", [1.0, 1.1, 1.2])
    a_group(root / "b", [2.0, 2.1, 2.3], lr=3e-3)
    make_run(root / "c" / "0001", config=a_config(module="MaskedLM"))
    assert roots(["compare", "a", "b", "runs/c/0001"]) == 0
    said = capsys.readouterr().out
    assert "A: a (3 runs)  1.10 ± 0.10 (n = 3)" in said
    assert "n = 3 and 3: significant" in said
    assert "C is not comparable with A: c/0001 trains roots.modules.MaskedLM" in said
    page = (root / "comparison" / "comparison.html").read_text()
    for words in (
        "b/0002",
        "1.10 ± 0.10 (n = 3)",
        "model.optimizer.learning_rate",
        "not comparable with A",
    ):
        assert words in page
    assert 'src="data:image/png;base64,' in page
    assert (root / "comparison" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((root / "comparison" / "comparison.json").read_text())
    assert told["groups"][1]["difference_from_first"]["final"]["n"] == [3, 3]

    assert roots(["compare", "a", "--json", "--out", "else"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"][0]["spread"]["final"]["n"] == 3
    assert Path("else", "comparison.png").is_file()


def test_a_secret_in_a_setting_does_not_reach_the_page(
    root: Path, capsys: pytest.CaptureFixture
) -> None:
    make_run(root / "a" / "0001", config=a_config() | {"note": "https://u:t0ken@h/x"})
    make_run(root / "a" / "0002", config=a_config() | {"note": "other"})
    roots(["compare", "a"])
    files = list((root / "a" / "comparison").iterdir())
    assert len(files) == 3
    assert "t0ken" not in capsys.readouterr().out
    assert not any(b"t0ken" in file.read_bytes() for file in files)


def test_the_curves_are_drawn_over_steps_tokens_and_time(root: Path) -> None:
    from roots.evaluation.comparison.figure import draw

    a_group(root / "a", [1.0, 1.2])
    a_group(root / "b", [2.0], lr=1.0, module="MaskedLM")
    figure = draw(compare(["a", "b"]))
    grid = figure.axes
    assert [axes.get_xlabel() for axes in grid[3:]] == [
        "optimizer steps",
        "tokens",
        "seconds of training",
    ]
    lines = grid[3].get_lines()
    assert len(lines) == 3  # two runs and their mean; the other objective is not drawn
    assert lines[2].get_xydata().tolist() == [[2.0, pytest.approx(0.6)], [4.0, 1.1]]
    assert grid[4].get_lines()[0].get_xdata().tolist() == [200.0, 400.0]
    assert grid[5].get_lines()[0].get_xdata() == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize("n_letters", [4, 40, 90, 130])
def test_every_name_stands_within_the_figure(root: Path, n_letters: int) -> None:
    from roots.evaluation.comparison.figure import draw

    for number in range(5):
        name = f"{number}{'w' * (n_letters - 1)}"  # among the widest letters
        make_run(root / name / "0001", config=a_config(lr=1.0 + number))
    make_run(root / "体育" / "0001", config=a_config(lr=9.0))
    figure = draw(compare([root]))
    figure.canvas.draw()
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert [words[0] for words in shown] == [*"ABCDEF"]
    assert shown[-1] == "F"  # the font of the figures has no Chinese
    edges = [text.get_window_extent() for text in legend.get_texts()]
    assert max(edge.x1 for edge in edges) < figure.bbox.x1
    assert min(edge.y0 for edge in edges) > max(a.get_window_extent().y1 for a in figure.axes)
    assert min(axes.get_window_extent().height for axes in figure.axes) > 250


def test_comparing_imports_no_torch(root: Path) -> None:
    code = (
        "import sys; from roots.evaluation import compare;"
        "import roots.evaluation.comparison.command; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_place_that_takes_no_folder_is_refused_before_the_runs_are_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_group(root / "a", [1.0, 1.1])
    (root / "file").write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(
            "roots.evaluation.comparison.command.compare", lambda *_, **__: pytest.fail("read")
        )
        for out, words in (("file", "file is a file"), ("file/out", "would lie in .*file, which")):
            with pytest.raises(ConfigError, match=words):
                roots(["compare", "a", "--out", str(root / out)])
    assert roots(["compare", "a", "--out", str(root / "other" / "out")]) == 0


def test_a_run_whose_settings_were_changed_on_its_way_is_no_seed_of_the_others(root: Path) -> None:
    for seed in (1, 2, 3):
        make_run(root / "a" / f"000{seed}", config=a_config(seed=seed), seed=seed)
    former = a_config(seed=3)
    former["trainer"]["max_steps"] = 3
    (root / "a" / "0003" / "config-until-000002.yaml").write_text(yaml.safe_dump(former))
    found = compare(["a"])
    assert [len(group.runs) for group in found.groups] == [2, 1]
    assert found.settings == {"trainer.max_steps": [4, "3 until step 2, then 4"]}


def test_a_setting_that_one_of_several_resumes_changed_is_told_once(root: Path) -> None:
    for seed in (1, 2):
        make_run(root / "a" / f"000{seed}", config=a_config(seed=seed), seed=seed)
    for seed, steps in ((1, (2, 3)), (2, (3,))):
        for step in steps:
            former = a_config(seed=seed)
            former["trainer"]["max_steps"] = 3
            former["name"] = f"before {step}"
            file = root / "a" / f"000{seed}" / f"config-until-00000{step}.yaml"
            file.write_text(yaml.safe_dump(former))
    found = compare(["a"])
    assert [len(group.runs) for group in found.groups] == [2]
    (run, _) = found.groups[0].runs
    assert run.settings["trainer.max_steps"] == "3 until step 3, then 4"


@pytest.mark.parametrize(
    ("name", "value"),
    [("label_smoothing", 0.1), ("z_loss", 1e-4), ("class_weights", {"a": 2.0}), ("beta", 0.3)],
)
def test_losses_of_which_another_one_is_optimized_are_not_comparable(
    root: Path, name: str, value: Any
) -> None:
    other = a_config()
    other["model"].setdefault("init_args", {})[name] = value
    for seed in (1, 2):
        val = {"val": {4: 1.0 + seed / 10}, "seed": seed}
        make_run(root / "a" / f"000{seed}", config=a_config(seed=seed), **val)
        make_run(root / "b" / f"000{seed}", config=other | {"seed": seed}, **val)
    found = compare(["a", "b"])
    assert f"model.{name}" in found.apart["B"]
    assert "the losses are not the same quantity" in found.apart["B"]
    assert compare(["a", "b"], metric="train/tokens_per_second").apart == {}
