"""The notebooks: their form, and that each runs from top to bottom on tiny settings."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from kernels import NOTEBOOKS, ROOT, SETTINGS, execute, install_kernel, printed, read, shown
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

import roots

pytestmark = pytest.mark.heavy

FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
LONGEST_FUNCTION = 10
EACH = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for notebooks beside the run files, as in a clone, and a kernel of this Python."""
    for name, value in install_kernel(tmp_path).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "configs").symlink_to(ROOT / "configs", target_is_directory=True)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    return folder


# -- their form --------------------------------------------------------------------------------


def test_they_are_numbered_without_gaps() -> None:
    assert [path.stem[:3] for path in FILES] == [f"{n:02d}_" for n in range(1, len(FILES) + 1)]


@EACH
def test_outputs_are_stripped_and_any_python_3_runs_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@EACH
def test_the_first_cell_says_what_the_reader_will_know_and_how_long_it_takes(path: Path) -> None:
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {int(path.stem[:2])} · ")
    assert "**You will know**" in first.source
    assert re.search(r"\*\*Time:\*\* .*minute", first.source)


@EACH
def test_no_function_is_over_ten_lines_and_runs_are_composed(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name
    assert "roots.compose(" in code
    assert [SETTINGS in cell.metadata.get("tags", []) for cell in cells].count(True) == 1


@EACH
def test_links_between_notebooks_lead_somewhere(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (NOTEBOOKS / target).exists(), target


# -- that they run -----------------------------------------------------------------------------


def test_the_kernel_is_this_python_and_shows_our_errors_without_a_traceback(desk: Path) -> None:
    notebook = new_notebook(
        cells=[
            new_code_cell("import sys, roots; print(sys.executable, roots.__file__)"),
            new_code_cell("from roots.errors import ConfigError\nraise ConfigError('no <width>')"),
        ]
    )
    with pytest.raises(CellExecutionError):
        execute(notebook, desk)
    assert printed(notebook).split() == [sys.executable, roots.__file__]
    assert notebook.cells[1].outputs[0].traceback == ["ConfigError: no <width>"]


def tiny(shards: Path, **settings: Any) -> dict[str, Any]:
    """Settings of a run of seconds on the tiny corpus, in place of a notebook's."""
    config = "model.init_args.network.init_args.config"
    return {
        "data.init_args.shards": str(shards),
        "data.init_args.seq_len": 16,
        "data.init_args.sequences_per_step": 8,
        f"{config}.hidden_size": 32,
        f"{config}.intermediate_size": 64,
        f"{config}.num_hidden_layers": 2,
        "model.init_args.schedule.init_args.warmup_steps": 2,
        "trainer.max_steps": 12,
        "trainer.val_every_steps": 6,
        "trainer.log_every_steps": 2,
        "trainer.precision": "32",
        **settings,
    }


def test_01_quickstart(desk: Path, shards: Path) -> None:
    notebook = read("01")
    execute(notebook, desk, {"SETTINGS": tiny(shards)})
    said = printed(notebook)
    assert "12 steps = 1.54 k tokens (1,536)" in said
    assert said.count("\ndef main(") == 3
    assert "checkpoints/step-000012/model.safetensors" in said
    (curve,) = shown(notebook, "image/png")  # drawn over and over in one place
    assert curve.startswith("iVBORw0KGgo")
    progress = next(text for text in shown(notebook, "text/plain") if "step 12/12" in text)
    assert "validated after step 6" in progress
    assert (desk / "runs" / "quickstart" / "0001" / "report.html").is_file()


@pytest.mark.slow
def test_02_data(desk: Path, text_folder: Path) -> None:
    notebook = read("02")
    source = {"class_path": "roots.sources.Text", "init_args": {"paths": [str(text_folder)]}}
    plan = {"class_path": "roots.corpus.BytePairs", "init_args": {"vocab_size": 300}}
    shards = "data.init_args.shards.init_args"
    settings = {f"{shards}.source": source, f"{shards}.tokenizer": plan, f"{shards}.out": "shards"}
    execute(notebook, desk, {"SETTINGS": settings, "SEQ_LEN": 32, "LIMIT": 30})
    said = printed(notebook)
    assert re.search(r"\n    exact_duplicate +[3-9]\n", said)
    assert "'Questions? Write to <EMAIL>, please.'" in shown(notebook, "text/plain")[0]
    assert "no document that fits is cut" in said
    assert len(shown(notebook, "image/png")) == 2
    assert (desk / "shards" / "report.html").is_file()


def test_03_finetune_bert(desk: Path) -> None:
    notebook = read("03")
    corpus = {"data.init_args.sequences_per_step": 8, "data.init_args.seq_len": 32}
    settings = {
        "MOST_ROWS": 1000,
        "PRETRAINING": {"trainer.max_steps": 10, **corpus},
        "FINE_TUNING": {"trainer.max_steps": 20, "trainer.val_every_steps": 10},
    }
    execute(notebook, desk, settings)
    said = printed(notebook)
    assert said.startswith("1,000 rows Counter({'function': ")
    assert re.search(r"(class|module|function) +Return the number of items\.", said)
    assert said.count("took it for a") == 8
    assert len(shown(notebook, "image/png")) == 2 + 2  # curves, confusion and calibration
    runs = desk.parent / "runs"
    assert (runs / "docstrings_mlm" / "0001" / "report.html").is_file()
    assert (runs / "docstrings" / "0001" / "report.html").is_file()


@pytest.mark.slow
def test_04_attention_and_embeddings(desk: Path, shards: Path) -> None:
    notebook = read("04")
    execute(notebook, desk, {"SETTINGS": tiny(shards)})
    assert re.search(r"\d+ bits for 109 bytes: \d\.\d\d bits per byte", printed(notebook))
    assert all("<span title=" in html for html in shown(notebook, "text/html"))
    assert len(shown(notebook, "text/html")) == 2
    assert len(shown(notebook, "image/png")) == 1 + 1 + 1  # curves, heads, embeddings


@pytest.mark.slow
def test_05_sweep_and_compare(desk: Path, shards: Path) -> None:
    notebook = read("05")
    settings = tiny(shards, **{"trainer.callbacks": []})
    execute(notebook, desk, {"SETTINGS": settings, "TRIALS": 2, "SEEDS": (11, 12)})
    said = printed(notebook)
    assert "the best of 2: " in said
    assert re.search(r"p = \S+, n = 2 and 2: ", said)
    assert said.count("finished  step   12  val/loss") == 4
    assert len(shown(notebook, "image/png")) == 3 + 4 + 1
    assert (desk.parent / "sweeps" / "learning_rate" / "0001" / "best.yaml").is_file()


@pytest.mark.slow
def test_06_scaling_up(desk: Path, shards: Path) -> None:
    notebook = read("06")
    settings = tiny(shards, **{"trainer.max_steps": 4, "trainer.log_every_steps": 1})
    step = {"data.init_args.seq_len": 16, "data.init_args.sequences_per_step": 64}
    execute(notebook, desk, {"SETTINGS": settings, "LARGE_STEP": step})
    said = printed(notebook)
    apart = re.search(r"at most (\S+) apart", said)
    assert apart is not None
    assert float(apart[1]) < 1e-5
    assert "step  4: " in said
    assert "computes       NVIDIA H100 80GB HBM3" in said
    assert "computes       8 x NVIDIA H100 80GB HBM3" in said
    assert said.count("\nbest: ") >= 2


@pytest.mark.slow
def test_the_stop_button_ends_a_fit_and_the_network_still_writes(desk: Path, shards: Path) -> None:
    """A kernel is interrupted by SIGINT, which is what the button sends."""
    settings = tiny(shards, **{"trainer.max_steps": 100_000, "trainer.val_every_steps": 0})
    press = "threading.Timer(4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()"
    fit = f"import os, signal, threading\n{press}\ncomposed.fit()"
    path = str(ROOT / "configs" / "run" / "quickstart.yaml")
    notebook = new_notebook(
        cells=[
            new_code_cell(f"import roots\ncomposed = roots.compose({path!r}, {settings!r})"),
            new_code_cell(fit, metadata={"tags": ["raises-exception"]}),
            new_code_cell("print(repr(composed.generate('the cat', max_tokens=8)))"),
        ]
    )
    execute(notebook, desk)
    (error,) = [o for o in notebook.cells[1].outputs if o.output_type == "error"]
    assert error.ename == "Interrupted"
    assert len(error.traceback) == 1
    assert re.fullmatch(r"Interrupted: Stopped at step [\d,]+ by SIGINT\. .*", error.traceback[0])
    assert len(shown(notebook, "image/png")) == 1
    assert len(printed(notebook)) > 4
