"""A dry run of `fit` or `reproduce` leaves every file as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny import tiny_config

from roots.cli import run as roots
from roots.fit import compose


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_dry_run_writes_nothing_though_a_source_was_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"the cat sat on the mat {n} times" for n in range(60)))
    source = {"class_path": "roots.sources.Text", "init_args": {"paths": str(text)}}
    source["init_args"]["document"] = "line"
    tokenizer = {"class_path": "roots.corpus.BytePairs", "init_args": {"vocab_size": 280}}
    arguments = {"source": source, "tokenizer": tokenizer, "val_fraction": 0.3, "workers": 1}
    config = tiny_config(tmp_path, tmp_path / "runs", max_steps=3)
    corpus = {**arguments, "out": str(tmp_path / "made")}
    config["data"]["init_args"]["shards"] = {
        "class_path": "roots.corpus.Corpus",
        "init_args": corpus,
    }
    path = compose(config).fit().path
    os.utime(text, (1, 1))
    before = everything(tmp_path)
    for verb in (["reproduce", str(path)], ["fit", "--config", str(path / "config.yaml")]):
        assert roots([*verb, "--dry-run"]) == 0
        assert "written" in capsys.readouterr().out
        assert everything(tmp_path) == before
