"""Where nothing can be written is told before the work, with the place and another one as cure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from tiny import tiny_config

from roots.cli import run as roots
from roots.errors import ConfigError
from roots.fit import compose
from roots.runs import check_place, claim


@pytest.fixture
def of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that this user may not write, whoever that is."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    system = os.access
    monkeypatch.setattr(os, "access", lambda path, how: Path(path) != folder and system(path, how))
    return folder


def test_a_folder_of_others_is_no_place(of_others: Path) -> None:
    for place, is_folder in ((of_others, True), (of_others / "x" / "y", True)):
        with pytest.raises(ConfigError, match=r"written into .*theirs, which you may not write"):
            check_place(place, "--out", is_folder=is_folder)
    with pytest.raises(ConfigError, match=r"which you may not write.*Give --to another place"):
        check_place(of_others / "told.csv", "--to", is_folder=False)
    check_place(of_others.parent / "mine", "--out", is_folder=True)  # the cure


def test_a_name_longer_than_a_file_system_takes_is_no_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"File name too long\. Give --out another place"):
        check_place(tmp_path / ("x" * 300), "--out", is_folder=True)
    with pytest.raises(ConfigError, match=r"name='xxx.*has 300 bytes, .* at most 255\. Shorten"):
        claim(tmp_path, "x" * 300)
    assert claim(tmp_path, "x" * 255).path.is_dir()


def test_a_run_is_not_begun_below_a_file_nor_in_the_place_of_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"No run can be begun in .*file/a: Not a directory"):
        claim(tmp_path / "file", "a")
    with pytest.raises(ConfigError, match=r"No run can be begun in .*file: File exists"):
        claim(tmp_path, "file")


def test_a_run_is_not_begun_where_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ConfigError, match=r"Permission denied\. Give another folder"):
        claim(tmp_path, "a")


def test_a_fit_and_its_dry_run_refuse_a_place_before_the_work(
    shards: Path, tmp_path: Path, of_others: Path
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(tiny_config(shards, file)))
    for more in ([], ["--dry-run"]):
        with pytest.raises(ConfigError, match=r"which is a file\. Give trainer\.runs_dir another"):
            roots(["fit", "--config", str(file), *more])
        theirs = ["--trainer.runs_dir", str(of_others), *more]
        with pytest.raises(ConfigError, match=r"theirs, which you may not write\. Give trainer"):
            roots(["fit", "--config", str(file), *theirs])
    composed = compose(str(file))  # which validates and plans anywhere
    with pytest.raises(ConfigError, match="No run can be begun in"):
        composed.fit()
    assert list(of_others.iterdir()) == []
