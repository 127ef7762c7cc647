"""What a run ran on: the commit, and how the files differed from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from roots.callbacks.environment import _command, _commit


def git(folder: Path, *arguments: str) -> None:
    named = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *named, *arguments], cwd=folder, check=True, capture_output=True)


def test_uncommitted_changes_are_told_apart_by_their_sum(tmp_path: Path) -> None:
    assert _commit(tmp_path) == {}
    git(tmp_path, "init")
    file = tmp_path / "model.py"
    file.write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    clean = _commit(tmp_path)
    assert (len(clean["commit"]), clean["changed"], clean["diff_sha256"]) == (40, False, "")
    sums = []
    for content in ("a = 2\n", "a = 3\n", "a = 2\n"):
        file.write_text(content)
        told = _commit(tmp_path)
        assert told["changed"]
        assert told["commit"] == clean["commit"]
        sums.append(told["diff_sha256"])
    assert sums[0] == sums[2] != sums[1]
    file.write_bytes(b"\xff\xfe not text")
    assert _commit(tmp_path)["diff_sha256"] not in sums


def test_python_files_that_are_not_tracked_have_a_sum_beside_that_of_the_changes(
    tmp_path: Path,
) -> None:
    git(tmp_path, "init")
    (tmp_path / "notes.txt").write_text("a\n")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "notes.txt").write_text("b\n")
    (tmp_path / "ignored.py").write_text("a = 1\n")
    assert _commit(tmp_path)["untracked_sha256"] == ""
    file = tmp_path / "lab" / "rates.py"
    file.parent.mkdir()
    told = []
    for content in ("a = 1\n", "a = 2\n", "a = 1\n"):
        file.write_text(content)
        told.append(_commit(file.parent))
    assert told[0] == told[2]
    assert told[0]["diff_sha256"] == told[1]["diff_sha256"]
    assert told[0]["untracked_sha256"] != told[1]["untracked_sha256"] != ""


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["/clone/roots/__main__.py", "fit", "--name", "a b"], "roots fit --name 'a b'"),
        (["/venv/bin/roots", "fit"], "roots fit"),
        (["experiments/run.py", "--work", "w"], "run.py --work w"),
    ],
)
def test_the_command_is_as_it_can_be_typed_again(argv: list[str], words: str) -> None:
    assert _command(argv) == words
