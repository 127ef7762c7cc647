"""Files that a person wrote are read whole: no block is lost, and what cannot be read is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from roots.corpus.command import main as corpus
from roots.errors import ConfigError
from roots.fit import read_run_files
from roots.records import read_yaml
from roots.strategies.deepspeed_config import read_config
from roots.sweeps import read_definition

READERS: dict[str, Callable[[Path], Any]] = {
    "run": lambda path: read_run_files([path]),
    "sweep": read_definition,
    "corpus": lambda path: corpus(["--config", str(path), "--dry-run"]),
    "deepspeed": lambda path: read_config(str(path)),
}

TWICE = """\
trainer:
  max_steps: 100
model: {x: 1}
"trainer":
  precision: "32"
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("reader", READERS)
def test_a_block_that_stands_twice_is_refused_with_both_lines(reader: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml has 'trainer' twice.*line 1 and in line 4"):
        READERS[reader](written(tmp_path, TWICE))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 300, "cannot be read: File name too long"),
        ("/".join(["y" * 99] * 50), "cannot be read: File name too long"),
        ("folder", "cannot be read: Is a directory"),
        ("bytes.yaml", r"bytes\.yaml is no YAML: .*utf-8"),
        ("nothing.yaml", r"There is no .* .*nothing\.yaml\. Correct the path"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_name(
    name: str, says: str, reader: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(b"out: \xff\xfe\n")
    with pytest.raises(ConfigError, match=says):
        READERS[reader](tmp_path / name)


@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_another_user_is_told(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        READERS[reader](written(tmp_path, "a: 1"))


@pytest.mark.parametrize(
    "text",
    [
        "a: {x: 1, x: 2}",
        "a: [{x: 1}, {x: 1, y: 2, x: 3}]",
        "a: {<<: {x: 1, x: 2}}",
        "? {x: 1, x: 2}\n: 3",
        "&one a: {&two x: 1, x: *one}",
    ],
)
def test_it_is_looked_for_at_any_depth(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 'x' twice in one block, in line 1 and in line 1"):
        read_yaml(written(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {<<: *a}\nd: *a",
        "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: [*a, *b], y: 3}\nd: [*b, *b]",
        "a: {x: 1}\nb: {x: 1}\nc: [{x: 1}, {x: 2}]",
        "1: a\n'1': b\n",
        "a: 2024-01-02\nb: 1.0e-3\nc: .inf\nd: ~",
        "",
        "- 1\n- 2",
    ],
)
def test_what_no_reader_loses_is_read_as_any_reader_does(text: str, tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, text)) == yaml.safe_load(text)


def test_a_block_within_itself_and_one_far_too_deep_end(tmp_path: Path) -> None:
    assert list(read_yaml(written(tmp_path, "&a {b: *a, c: 1}"))) == ["b", "c"]
    with pytest.raises(ConfigError, match="is no YAML: maximum recursion"):
        read_yaml(written(tmp_path, "[" * 5000))


def test_a_variable_without_quotes_within_braces_is_told_with_its_cure(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\ndata: {train: ${ROOTS_DATA}/a.tsv}\n")
    with pytest.raises(
        ConfigError, match=r'(?s)no YAML.*Within { } put quotes .*"\$\{ROOTS_DATA\}'
    ):
        read_yaml(path)
    path.write_text('name: a\ndata: {train: "${ROOTS_DATA}/a.tsv"}\n')
    assert read_yaml(path)["data"] == {"train": "${ROOTS_DATA}/a.tsv"}
    path.write_text("a: [1\nb: ${X}")
    with pytest.raises(ConfigError, match=r"Correct the file there"):
        read_yaml(path)
