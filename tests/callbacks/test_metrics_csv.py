"""One row per step, in full, whatever crashes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.callbacks import MetricsCSV
from roots.callbacks.metrics_csv import read_metrics
from roots.errors import DataError
from roots.runs import load_metrics


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0001" / "metrics.csv"


def test_what_is_reported_twice_in_a_step_shares_a_row(path: Path) -> None:
    logger = MetricsCSV(path=path)
    logger.log_metrics({"a": 1.0}, step=1)
    logger.log_metrics({"b": 2.0}, step=1)
    logger.log_metrics({"a": 3.0}, step=2)
    logger.log_metrics({"b": 5.0, "a": 4.0}, step=2)
    assert path.read_text() == "step,a,b\n1,1.0,2.0\n2,4.0,5.0\n"


def test_a_new_name_becomes_a_column_of_the_whole_file(path: Path) -> None:
    logger = MetricsCSV(path=path)
    logger.log_metrics({"a": 1.0}, step=1)
    logger.log_metrics({"a": 2.0, "b": 0.5}, step=2)
    logger.log_metrics({"a": 3.0}, step=3)
    assert path.read_text() == "step,a,b\n1,1.0,\n2,2.0,0.5\n3,3.0,\n"


def test_a_new_column_may_come_with_the_second_report_of_a_step(path: Path) -> None:
    logger = MetricsCSV(path=path)
    logger.log_metrics({"a": 1.0}, step=1)
    logger.log_metrics({"a": 2.0}, step=2)
    logger.log_metrics({"b": 9.0}, step=2)
    logger.log_metrics({"a": 3.0}, step=3)
    assert path.read_text() == "step,a,b\n1,1.0,\n2,2.0,9.0\n3,3.0,\n"


def test_numbers_are_written_in_full(path: Path) -> None:
    values = {"a": 0.1 + 0.2, "b": 1e-300, "c": float("nan"), "d": float("inf"), "e": 3}
    MetricsCSV(path=path).log_metrics(values, step=1)
    (row,) = read_metrics(path)
    assert float(row["a"]) == 0.1 + 0.2
    assert [row[name] for name in "bcde"] == ["1e-300", "nan", "inf", "3.0"]


def test_each_row_is_there_as_soon_as_it_is_known(path: Path) -> None:
    logger = MetricsCSV(path=path)
    for step in range(1, 4):
        logger.log_metrics({"a": step}, step=step)
        assert len(read_metrics(path)) == step


def test_a_resumed_run_drops_the_rows_that_it_makes_again(path: Path) -> None:
    logger = MetricsCSV(path=path)
    for step in range(1, 6):
        logger.log_metrics({"a": step, "b": -step}, step=step)
    resumed = MetricsCSV(path=path, from_step=3)
    assert len(read_metrics(path)) == 5  # untouched before it is known that the run goes on
    resumed.open()
    assert [row["step"] for row in read_metrics(path)] == ["1", "2", "3"]
    resumed.log_metrics({"a": 40.0}, step=4)
    assert path.read_text().splitlines()[-2:] == ["3,3.0,-3.0", "4,40.0,"]


def test_a_resumed_run_goes_on_in_the_row_of_its_step(path: Path) -> None:
    MetricsCSV(path=path).log_metrics({"a": 1.0}, step=1)
    MetricsCSV(path=path, from_step=1).log_metrics({"b": 2.0}, step=1)
    assert path.read_text() == "step,a,b\n1,1.0,2.0\n"


@pytest.mark.parametrize("torn", ["3,3.", "3", '3,"', ""])
def test_a_last_line_that_a_crash_tore_is_left_out(path: Path, torn: str) -> None:
    path.parent.mkdir()
    path.write_text("step,a\n1,1.0\n2,2.0\n" + torn)
    assert [row["step"] for row in read_metrics(path)] == ["1", "2"]
    MetricsCSV(path=path, from_step=9).log_metrics({"a": 3.0}, step=3)
    assert path.read_text() == "step,a\n1,1.0\n2,2.0\n3,3.0\n"


def test_names_with_commas_and_quotation_marks_stay_whole(path: Path) -> None:
    names = ["val/recall_Business,_Finance", 'val/recall_"A",_B', "train/loss"]
    told = {name: float(number) for number, name in enumerate(names)}
    logger = MetricsCSV(path=path)
    logger.log_metrics(told, step=1)
    logger.log_metrics({"late": 5.0}, step=2)  # the file is written anew
    MetricsCSV(path=path, from_step=1).log_metrics(told, step=2)
    assert load_metrics(path).names == (*names, "late")
    assert load_metrics(path).rows == {1: told, 2: told}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("step,a_b,_c,d_b,_c\n1,2.0,3.0\n", "with '_c' twice"),  # names that were not quoted
        ("step,a_b,_c\n1,2.0\n", "it has 2 values for 3 columns"),
    ],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(path: Path, text: str, words: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        MetricsCSV(path=path, from_step=1)
    assert path.read_text() == text


@pytest.mark.parametrize("torn", ["", "ste", "step,a\n"])
def test_a_file_that_was_torn_before_its_first_row_starts_anew(path: Path, torn: str) -> None:
    path.parent.mkdir()
    path.write_text(torn)
    MetricsCSV(path=path, from_step=0).log_metrics({"a": 3.0}, step=1)
    assert path.read_text() == "step,a\n1,3.0\n"


def test_the_logger_has_the_names_that_lightning_asks_for(path: Path) -> None:
    logger = MetricsCSV(path=path)
    logger.log_hyperparams({"x": 1})
    assert (logger.name, logger.version) == ("csv", "0001")
    assert not path.exists()


def test_a_late_row_goes_to_its_place_and_the_file_stays_readable(path: Path) -> None:
    logger = MetricsCSV(path=path)
    for step in range(10, 60, 10):
        logger.log_metrics({"a": float(step)}, step=step)
        logger.log_metrics({"late": step - 1.0}, step=step - 1)
        logger.log_metrics({"late": step - 10.0}, step=step - 10)
    logger.log_metrics({"a": 7.0}, step=7)  # far behind what is written in place
    logger.log_metrics({"a": 51.0})  # of no step: of the newest
    rows = load_metrics(path).rows
    assert list(rows) == [0, 7, 9, 10, 19, 20, 29, 30, 39, 40, 49, 50]
    assert rows[49] == {"late": 49.0}
    assert rows[20] == {"a": 20.0, "late": 20.0}
    assert rows[50] == {"a": 51.0}


@settings(deadline=None)  # each writes files
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.integers(0, 99)), max_size=30)
)
def test_reports_in_any_order_make_the_table_of_what_was_said_last(
    reports: list[tuple[int, str, int]],
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.csv"
        logger = MetricsCSV(path=path)
        told: dict[int, dict[str, float]] = {}
        for step, name, value in reports:
            logger.log_metrics({name: float(value)}, step=step)
            told.setdefault(step, {})[name] = float(value)
        assert load_metrics(path).rows == told
