"""What a comparison says of runs that were measured unlike, and how it is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from made_runs import a_config, make_run

from roots.evaluation import compare
from roots.evaluation.comparison import in_words
from roots.evaluation.comparison.welch import Difference
from roots.evaluation.run_record import read_record

LATE = """\
step,train/loss,train/tokens_per_second,train/tokens_seen,val/loss
10,2.0,1000.0,1000.0,
14,,,,2.5
20,1.5,500.0,2000.0,
28,,,,2.0
30,1.2,500.0,3000.0,1.9
31,,,,1.8
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("runs")


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.0499, "p = 0.0499, n = 3 and 3: significant"),
        (0.0501, "p = 0.05, n = 3 and 3: not significant"),
        (0.2345, "p = 0.23, n = 3 and 3: not significant"),
    ],
)
def test_p_is_written_on_its_side_of_the_level(p: float, words: str) -> None:
    assert str(Difference(1.0, (3, 3), 0.0, 2.0, p)).endswith(words)


@pytest.mark.parametrize(
    ("ours", "its", "words"),
    [
        ({}, {"max_val_sequences": 16}, "data.init_args.max_val_sequences is 16, and 0 in a/0001"),
        (
            {"masking": {"class_path": "M", "init_args": {"fraction": 0.15}}},
            {"masking": {"class_path": "M", "init_args": {"fraction": 0.4}}},
            "data.masking.fraction is 0.4, and 0.15 in a/0001: something else is asked.",
        ),
    ],
)
def test_runs_that_were_asked_something_else_are_not_comparable(
    root: Path, ours: dict[str, Any], its: dict[str, Any], words: str
) -> None:
    for name, settings, base in (("a", ours, 1.0), ("b", its, 2.0)):
        for seed in (1, 2):
            config = a_config(seed=seed)
            config["data"]["init_args"] |= settings
            make_run(root / name / f"000{seed}", config=config, val={4: base + seed}, seed=seed)
    found = compare(["a", "b"])
    assert words in found.apart["B"]
    assert found.differences == {}


def test_another_context_is_remarked_and_an_older_run_without_a_setting_is_comparable(
    root: Path,
) -> None:
    for seed in (1, 2):
        make_run(root / "a" / f"000{seed}", seed=seed)
    for seed in (1, 2):
        config = a_config(seed=seed)
        config["data"]["init_args"] |= {"seq_len": 32, "max_val_sequences": 0, "packing": "chop"}
        make_run(root / "b" / f"000{seed}", config=config, seed=seed)
    found = compare(["a", "b"])
    assert found.apart == {}
    assert any(
        "data.seq_len is 32 in b/0001, and 16 in a/0001: what is" in r for r in found.remarks
    )


def test_a_first_group_without_the_metric_is_said(root: Path) -> None:
    make_run(root / "a" / "0001")
    other = make_run(root / "b" / "0001", config=a_config(lr=0.1))
    other.metrics_file.write_text(other.metrics_file.read_text().replace("val/loss", "val/else"))
    found = compare(["a", "b"], metric="val/else")
    assert any("A did not report val/else, so nothing is held" in r for r in found.remarks)
    assert "A: a/0001  not measured" in in_words(found)
    assert not any("did not report" in r for r in compare(["b", "a"], metric="train/loss").remarks)


def test_long_settings_are_cut_where_they_differ(root: Path) -> None:
    begin = "/data/projects/language/corpora/fineweb-2024-10/"
    ends = ("one/tokens", "two/tokens"), ("one" + "s" * 40, "two" + "s" * 40)
    for number, (one, two) in enumerate(ends):
        for name, end in (("a", one), ("b", two)):
            config = a_config() | {"note": begin + end}
            make_run(root / f"{name}{number}" / "0001", config=config)
        said = in_words(compare([f"a{number}", f"b{number}"]))
        (line,) = (line for line in said.splitlines() if line.startswith("note"))
        assert {one[:3], two[:3]} <= {*re.findall("one|two", line)}
        assert len(line) < 100


def test_a_validation_between_two_reports_stands_between_them_on_every_axis(root: Path) -> None:
    from roots.evaluation.comparison.figure import draw

    for name in ("a", "b"):
        run = make_run(root / name / "0001", config=a_config(lr=ord(name)))
        run.metrics_file.write_text(LATE)
    grid = draw(compare(["a", "b"])).axes
    assert [grid[n].get_lines()[0].get_xdata().tolist() for n in (3, 4)] == [
        [14, 28, 30, 31],
        pytest.approx([1400, 2800, 3000, 3100]),
    ]
    assert grid[5].get_lines()[0].get_xdata() == pytest.approx([1.8, 4.6, 5.0, 5.2])
    record = read_record(run)
    assert record.curve("val/loss", "tokens")[0] == pytest.approx([1400, 2800, 3000, 3100])
    assert record.curve("val/loss", "seconds")[0] == pytest.approx([1.8, 4.6, 5.0, 5.2])
    assert record.curve("val/loss")[0] == [14, 28, 30, 31]
    assert record.seconds == pytest.approx(5.0)
