"""The page of a run, of hand-made directories and of a real fit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml
from evaluation.test_page import Tags
from made_runs import make_run
from tiny_tasks import classes, task_config, write_jsonl

from roots.cli import run as command
from roots.errors import CheckpointError, ConfigError
from roots.evaluation import report_run
from roots.evaluation.class_figures import expected_error
from roots.evaluation.class_section import rates_of
from roots.evaluation.figures import heights
from roots.evaluation.run_record import read_record
from roots.modules.class_details import confusion_of
from roots.records import duration
from roots.runs import Run

CONFIG = {
    "name": "made",
    "model": {"class_path": "roots.modules.SequenceClassifier"},
    "trainer": {"monitor": "val/loss", "monitor_mode": "min"},
}
METRICS = """\
step,train/loss,optim/learning_rate,optim/grad_norm,train/tokens_per_second,train/tokens_seen,val/loss,val/accuracy,val/precision/a,val/recall/a,val/f1/a
1,2.0,0.001,1.5,100,100,,,,,
2,1.5,0.002,1.2,200,300,1.25,0.5,0.5,0.25,0.333
3,1.0,0.001,0.9,50,400,1.5,0.75,0.6,0.5,0.545
"""
EVIL = "</td><script>alert(1)</script><img src=x onerror=alert(2)>"


def made(folder: Path, metrics: str | bytes = METRICS, **files: Any) -> Run:
    """A run's directory with a configuration, metrics, and JSON files by their stems."""
    path = folder / "made" / "0001"
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    if metrics:
        raw = metrics.encode() if isinstance(metrics, str) else metrics
        (path / "metrics.csv").write_bytes(raw)
    for name, content in files.items():
        (path / f"{name.replace('_', '-')}.json").write_text(json.dumps(content))
    return Run(path)


def details(**more: Any) -> dict[str, Any]:
    return {
        "step": 3,
        "confusion": {"names": ["a", "b"], "counts": [[3, 1], [2, 4]]},
        "reliability": {
            "edges": [0.0, 0.5, 1.0],
            "count": [2, 8],
            "confidence": [0.4, 0.9],
            "accuracy": [0.5, 0.75],
        },
        "mistakes": [
            {
                "where": "val.csv:7",
                "text": "a hard text",
                "label": "a",
                "predicted": "b",
                "confidence": 0.98,
            }
        ],
        **more,
    }


def headings(html: str) -> list[str]:
    return [unescape(words) for words in re.findall(r"<h2>(.*?)</h2>", html)]


def test_a_run_has_its_curves_numbers_classes_settings_and_commands(tmp_path: Path) -> None:
    environment = {
        "command": "roots fit --config a.yaml",
        "python": "3.11.7",
        "packages": {"torch": "2.13.0"},
        "hardware": {"device": "cpu", "processor": "a processor", "cores": 2},
        "code": {"commit": "0123456789abcdef", "changed": True},
        "data": {"path": "corpora/x"},
    }
    run = made(tmp_path, environment=environment, details_val=details())
    (run.path / "samples.jsonl").write_text(
        '{"step": 1, "prompt": "the", "text": " first"}\n'
        '{"step": 3, "prompt": "the", "text": " last\u2028line"}\n{"step": 4, "prom'
    )
    html = report_run(run).read_text()
    assert Tags(html).open == []
    assert headings(html) == [
        *("Numbers", "Classes, on validation data", "Samples"),
        *("Environment", "Configuration", "Again"),
    ]
    assert {path.name for path in run.path.glob("*.png")} == {
        *("loss.png", "progress.png", "measured.png", "throughput.png"),
        *("confusion.png", "classes.png", "calibration.png"),
    }
    assert len(re.findall("data:image/png;base64", html)) == 7
    under = re.search('<p class="under">(.*?)</p>', html)
    assert under is not None
    assert under[1] == (
        "SequenceClassifier on x · 3 steps, 400 tokens, 4 s of training"
        " · val/accuracy 0.5 at step 2"  # where the loss that is monitored is lowest
    )
    assert "a hard text" in html
    assert "⟨the⟩ last\u2028line" in html  # a character of a text, which ends no line of the file
    assert html.index("⟨the⟩ last") < html.index("⟨the⟩ first")
    assert f"roots fit --config {run.config_file}" in html
    assert "with changes that are not committed" in html
    assert re.findall(r'(?:src|href)="(?!data:)', html) == []


def test_outputs_stand_beside_their_references_and_long_texts_are_cut(tmp_path: Path) -> None:
    run = made(tmp_path)
    rows = [
        {"step": 1, "prompt": "the", "text": "x" * 3000},
        {"step": 3, "sample": 0, "source": "ein Hund", "reference": "a dog", "output": "a cat"},
    ]
    (run.path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    html = report_run(run).read_text()
    assert "<p>After step 3; → what was written, = the reference.</p>" in html
    assert "<pre>ein Hund\n→ a cat\n= a dog</pre>" in html
    assert f"⟨the⟩{'x' * 2000}…</pre>" in html


def test_the_page_is_drawn_without_torch(tmp_path: Path) -> None:
    """Another process, because this one may have torch already."""
    run = made(tmp_path, details_val=details())
    code = (
        "import sys; from roots.cli import run; run(['report', sys.argv[1]]);"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (run.path / "report.html").is_file()


def test_time_is_that_of_the_stopwatch_and_every_axis_has_its_curve(tmp_path: Path) -> None:
    record = read_record(made(tmp_path))
    assert record.curve("train/loss") == ([1, 2, 3], [2.0, 1.5, 1.0])
    assert record.curve("train/loss", "tokens")[0] == [100, 300, 400]
    # 100 tokens at 100 a second, 200 at 200, 100 at 50
    assert record.curve("val/loss", "seconds") == ([2.0, 4.0], [1.25, 1.5])
    assert record.seconds == 4.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.25 s"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_a_duration_has_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_run_without_metrics_still_has_a_page(tmp_path: Path) -> None:
    run = made(tmp_path, "")
    html = report_run(run).read_text()
    assert "Nothing was logged yet" in html
    assert headings(html) == ["Configuration", "Again"]
    assert not list(run.path.glob("*.png"))


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (b"step,train/loss\n1,\xff\xfe\x00\n", "metrics.csv cannot be read"),
        ("step,train/loss\n1,2.0\n2,oops\n3,1.0,7\n", "metrics.csv: 2 of 3 rows are damaged"),
        ("train/loss\n1.0\n", "metrics.csv cannot be read"),
        ("step,a_b,_c,a_d,_c\n1,2.0,3.0\n", "with &#x27;_c&#x27; twice"),
        ("step,train/loss,a,b\n1,2.0,3.0\n", "metrics.csv: 1 of 1 rows are damaged"),
    ],
)
def test_damaged_metrics_are_told_and_the_rest_is_drawn(
    tmp_path: Path, metrics: str | bytes, words: str
) -> None:
    html = report_run(made(tmp_path, metrics)).read_text()
    assert words in html
    assert "Configuration" in headings(html)


def test_other_damaged_files_are_told_too(tmp_path: Path) -> None:
    run = made(tmp_path, environment=[1, 2], details_val={"confusion": {"names": ["a"]}})
    (run.path / "data.json").write_text("{")
    html = unescape(report_run(run).read_text())
    assert "environment.json cannot be read (it holds no dict)" in html
    assert "data.json cannot be read" in html
    assert "details-val.json is damaged" in html
    assert "loss.png" in {path.name for path in run.path.iterdir()}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("environment.json", '{"data": "x", "hardware": [1]}'),
        ("environment.json", '{"packages": ["a"]}'),
        ("environment.json", '{"remarks": 5}'),
        ("data.json", '{"remarks": 5}'),
        ("data.json", '{"splits": [1]}'),
        ("samples.jsonl", '{"step": {}, "prompt": "a"}\n'),
        ("details-val.json", '{"confusion": 5}'),
        ("details-val.json", '{"mistakes": [1], "step": "x"}'),
        ("details-val.json", '{"answers": {"parts": []}}'),
        ("details-val.json", '{"numbers": {}}'),
    ],
)
def test_values_of_another_kind_are_told_and_the_rest_of_the_page_stays(
    tmp_path: Path, file: str, content: str
) -> None:
    run = made(tmp_path)
    (run.path / file).write_text(content)
    html = unescape(report_run(run).read_text())
    assert f"Note: {file} is damaged" in html
    assert {"Numbers", "Configuration", "Again"} <= {*headings(html)}


@pytest.mark.parametrize("model", [5, "x", {"init_args": {"network": {"init_args": 5}}}])
def test_a_configuration_of_another_kind_still_has_a_page(tmp_path: Path, model: object) -> None:
    run = made(tmp_path)
    run.config_file.write_text(yaml.safe_dump({"model": model, "trainer": {"monitor": [1]}}))
    assert "Configuration" in headings(report_run(run).read_text())


def test_rates_and_confusions_are_of_the_same_weights(tmp_path: Path) -> None:
    run = made(tmp_path, details_val=details())
    assert rates_of(read_record(run), "val")["a"]["f1"] == 0.545  # of the newest validation
    # what `roots validate` leaves of an older checkpoint
    (run.path / "details-val.json").write_text(json.dumps({"checkpoint": "best", **details()}))
    assert rates_of(read_record(run), "val") == {}
    measured = {"checkpoint": "best", "val/recall/a": 0.25, "val/f1/a": 0.333, "val/f1/b": None}
    (run.path / "validate.json").write_text(json.dumps(measured))
    assert rates_of(read_record(run), "val") == {"a": {"recall": 0.25, "f1": 0.333}}
    (run.path / "validate.json").write_text(json.dumps({**measured, "checkpoint": "2"}))
    assert rates_of(read_record(run), "val") == {}


def test_rates_are_of_one_validation(tmp_path: Path) -> None:
    """A class whose rates the newest one could not tell does not show those of an older one."""
    names = "val/precision/a,val/recall/a,val/precision/b,val/recall/b"
    lines = ["1,3,0.5,0.25,0,0", "2,3,1,0.75,nan,nan", "3,2,,,,"]  # none after the last step
    run = made(tmp_path, "\n".join([f"step,train/loss,{names}", *lines]) + "\n")
    assert rates_of(read_record(run), "val") == {"a": {"precision": 1.0, "recall": 0.75}}


def test_the_numbers_of_groups_are_shown_and_those_of_classes_are_not(tmp_path: Path) -> None:
    names = "val/loss,val/f1,val/wiki/loss,val/code/loss,val/f1/HasAns,val/precision/loss"
    run = made(tmp_path, f"step,train/loss,{names}\n1,3,2,0.5,1.5,2.5,0.4,0.3\n")
    cells = re.findall(r"<td>(val/.*?)</td>", report_run(run).read_text())
    assert sorted(cells) == ["val/code/loss", "val/f1", "val/loss", "val/wiki/loss"]


def test_many_classes_without_a_mistake_are_no_damage(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(65)]
    rows = [[4 * (r == c) for c in range(65)] for r in range(65)]
    confusion = confusion_of(rows, names)
    assert "counts" not in confusion
    html = report_run(made(tmp_path, details_val=details(confusion=confusion))).read_text()
    assert "damaged" not in html
    assert "What is confused most" not in html
    rows[3][5] = 2
    confusion = confusion_of(rows, names)
    html = report_run(made(tmp_path / "b", details_val=details(confusion=confusion))).read_text()
    assert '<td>class 3</td><td>class 5</td><td class="number">2</td>' in html


def test_values_that_are_not_finite_are_left_out_of_the_curves(tmp_path: Path) -> None:
    run = made(tmp_path, "step,train/loss,optim/grad_norm\n1,2.0,inf\n2,nan,1.0\n3,1.0,2.0\n")
    assert read_record(run).curve("train/loss") == ([1, 3], [2.0, 1.0])
    assert "Note:" not in report_run(run).read_text()
    assert (run.path / "loss.png").is_file()


def test_a_loss_that_ended_in_nan_is_told(tmp_path: Path) -> None:
    run = made(tmp_path, "step,train/loss,val/loss\n1,2.0,\n2,1.5,nan\n3,nan,\n4,,\n")
    html = report_run(run).read_text()
    assert "train/loss is nan at step 3, the last that was logged; before it was 1.5 at" in html
    assert "val/loss is nan at step 2, the last that was logged; before it was no number" in html


def test_what_a_model_or_a_file_says_does_not_become_markup(tmp_path: Path) -> None:
    mistake = {"where": EVIL, "text": EVIL, "label": EVIL, "predicted": "b", "confidence": 0.9}
    confusion = {"names": [EVIL, "b $x$ 体", "c"], "counts": [[1, 1, 0], [0, 1, 0], [2, 0, 1]]}
    card = {"description": EVIL, "remarks": [EVIL], "splits": {EVIL: {"rows": 1}}}
    run = made(
        tmp_path, details_val=details(mistakes=[mistake], confusion=confusion), data=card,
        environment={"command": EVIL, "remarks": [EVIL], "data": {"path": EVIL}},
    )  # fmt: skip
    (run.path / "samples.jsonl").write_text(
        json.dumps({"step": EVIL, "prompt": EVIL, "text": EVIL}) + "\n"
    )
    tags = Tags(report_run(run).read_text())
    assert tags.open == []
    assert "script" not in tags.seen
    assert tags.seen.count("img") == 7


def test_a_secret_is_hidden_before_json_or_yaml_writes_it_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = 'it\'s a "lurking" word'
    run = made(tmp_path, environment={"note": secret}, data={"corpus": {"note": secret}})
    run.config_file.write_text(yaml.safe_dump({"note": f": {secret}"}))
    monkeypatch.setenv("MY_PASSWORD", secret)
    html = unescape(report_run(run).read_text())
    assert "lurking" not in html
    assert html.count("<MY_PASSWORD>") == 3


def test_the_first_steps_and_a_spike_do_not_take_the_axis_from_the_rest() -> None:
    falling = [10.0, 9.0, 8.0, *(2 + 1 / n for n in range(1, 200)), 50.0]
    low, high = heights(falling)
    assert low < min(falling)
    assert 2.05 < high < 4
    line = [5 - n / 50 for n in range(100)]  # falls evenly: all of it is seen
    low, high = heights(line)
    assert low < min(line) < max(line) < high
    low, high = heights([1.0])
    assert low < 1 < high
    rising = [2.0, 1.9, 2.3, 5.0]  # of an overfitted network: seen to its end
    low, high = heights([0.05 + 3.5 * 0.9**n for n in range(200)], rising)
    assert low < 0.05 < 5.0 < high < 6


def test_the_calibration_error_is_its_definition() -> None:
    # Guo et al., eq. 3: 2 rows off by 0.1, 8 by 0.15, 0 rows nowhere
    diagram = {
        "count": [2, 8, 0],
        "confidence": [0.4, 0.9, None],
        "accuracy": [0.5, 0.75, None],
    }
    assert expected_error(diagram) == pytest.approx((2 * 0.1 + 8 * 0.15) / 10)


def test_the_page_of_a_run_that_may_not_be_written_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: None
) -> None:
    run = made(tmp_path, details_val=details())
    before, system = sorted(run.path.iterdir()), os.access
    monkeypatch.setattr(os, "access", lambda path, how: path != run.path and system(path, how))
    with pytest.raises(ConfigError, match=r"which you may not write\. Give --out another place"):
        command(["report", str(run.path)])
    assert command(["report", str(run.path), "--out", str(tmp_path / "else")]) == 0
    assert sorted(run.path.iterdir()) == before
    assert {"report.html", "loss.png"} <= {file.name for file in (tmp_path / "else").iterdir()}
    with pytest.raises(ConfigError, match="page of one run, and 2 are given"):
        command(["report", str(run.path), str(run.path), "--out", str(tmp_path / "both")])


def test_the_verb_writes_the_page_of_each_run(
    tmp_path: Path, capsys: pytest.CaptureFixture, pages: None
) -> None:
    run = made(tmp_path)
    assert command(["report", str(run.path)]) == 0
    assert capsys.readouterr().out == f"wrote {run.path}/report.html\n"
    with pytest.raises(CheckpointError, match=r"is no run directory \(no config\.yaml\)"):
        command(["report", str(tmp_path)])
    with pytest.raises(ConfigError, match="The following arguments are required: RUN"):
        command(["report"])


@pytest.mark.heavy
def test_a_fit_of_a_classifier_writes_the_page_with_its_parts(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: None
) -> None:
    from roots.fit import compose

    rows = classes(60, 0)
    data = {
        "train": str(write_jsonl(tmp_path / "train.jsonl", rows[:40])),
        "val": str(write_jsonl(tmp_path / "val.jsonl", rows[40:])),
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    config = task_config(
        "SequenceClassifier",
        {"class_path": "roots.data.LabelledTexts", "init_args": data},
        encoder,
        tmp_path / "runs",
    )
    run = compose(config).fit()
    html = (run.path / "report.html").read_text()
    assert {"Classes, on validation data", "Data", "Environment"} <= set(headings(html))
    kept = json.loads(run.details_file("val").read_text())
    counts = kept["confusion"]["counts"]
    assert kept["step"] == 6
    assert sum(map(sum, counts)) == sum(kept["reliability"]["count"]) == 20
    wrong = 20 - sum(counts[n][n] for n in range(3))
    assert len(kept["mistakes"]) == wrong
    texts = {f"{tmp_path}/val.jsonl:{n}": row for n, row in enumerate(rows[40:], start=1)}
    for mistake in kept["mistakes"]:
        row = texts[mistake["where"]]
        assert (mistake["text"], mistake["label"]) == (row["text"], row["label"])
        assert mistake["predicted"] != mistake["label"]
        assert mistake["text"] in html
    card = json.loads((run.path / "data.json").read_text())
    assert card["splits"]["train"]["rows"] == 40
    assert sum(card["splits"]["train"]["labels"].values()) == 40
    assert sum(card["splits"]["val"]["lengths"]["counts"]) == 20

    args = ["test", "--run", str(run.path), f"--data.test={data['val']}", "--checkpoint", "last"]
    assert command(args) == 0
    tested = json.loads(run.details_file("test").read_text())
    assert (tested["checkpoint"], tested["confusion"]) == ("last", kept["confusion"])
    assert tested["mistakes"] == kept["mistakes"]  # the same rows, by the same weights
    assert command(["report", str(run.path)]) == 0
    html = (run.path / "report.html").read_text()
    assert "Classes, on test data" in headings(html)
    assert re.search(
        r"On test data of .*val\.jsonl \(fingerprint \w{12}\), of the checkpoint last", html
    )
    assert (run.path / "classes-test.png").is_file()

    def broken(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("roots.evaluation.run_page.report_run", broken)
    monkeypatch.setattr("roots.callbacks.recorder.write_details", broken)
    said: list[str] = []
    again = compose(config, {"trainer.max_steps": 3})
    monkeypatch.setattr(again.trainer, "say", said.append)
    run = again.fit()
    assert run.last().step == 3
    assert [words for words in said if not words.startswith("saved step")][-2:] == [
        "the details of the validation were not kept (OSError: no space left).",
        "the page of the run was not written (OSError: no space left)."
        f" Try again: roots report {run.path}",
    ]


def test_the_line_under_the_name_tells_what_was_measured_on_all_rows(tmp_path: Path) -> None:
    run = make_run(tmp_path / "0001")
    run.metrics_file.write_text(
        "step,val/loss,val/bleu,val/all_rows/bleu\n1,3.0,41.0,\n2,2.0,40.6,38.5\n"
    )
    assert "val/all_rows/bleu 38.5 at step 2" in report_run(run).read_text()
    run.metrics_file.write_text("step,val/loss,val/bleu\n1,3.0,41.0\n2,2.0,40.6\n")
    assert "val/bleu 40.6 at step 2" in report_run(run).read_text()
