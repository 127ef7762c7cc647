"""What is written whole is on the disk, as far as the system brings it there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from roots.runs import replace_folder, write_atomically


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes that were brought to the disk, in their order."""
    inodes: list[int] = []
    original = os.fsync

    def noted(descriptor: int) -> None:
        original(descriptor)
        inodes.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    return inodes


def test_the_names_in_a_folder_go_to_the_disk_before_its_own(
    tmp_path: Path, synced: list[int]
) -> None:
    (tmp_path / "new" / "shards").mkdir(parents=True)
    replace_folder(tmp_path / "new", tmp_path / "folder")
    folders = (tmp_path / "folder" / "shards", tmp_path / "folder", tmp_path)
    assert synced == [folder.stat().st_ino for folder in folders]


def test_a_file_that_is_written_whole_is_on_the_disk(tmp_path: Path, synced: list[int]) -> None:
    write_atomically(tmp_path / "file", "text")
    assert synced == [(tmp_path / "file").stat().st_ino]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_system_that_syncs_no_folders_is_no_failure_and_a_broken_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fsync(descriptor: int) -> None:
        assert stat.S_ISDIR(os.fstat(descriptor).st_mode)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "new").mkdir()
    if number == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(number)):
            replace_folder(tmp_path / "new", tmp_path / "folder")
    else:
        replace_folder(tmp_path / "new", tmp_path / "folder")
    assert (tmp_path / "folder").exists() == (number == errno.EINVAL)
