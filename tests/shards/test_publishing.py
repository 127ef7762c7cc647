"""A folder appears once and whole, and says in words where that cannot be promised."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from roots.errors import DataError
from roots.shards.publishing import publish


def built(folder: Path) -> Path:
    publish(
        folder,
        reason=lambda: "it is asked for",
        build=lambda shards, _: (shards / "a").touch(),
        say=lambda _: None,
    )
    return folder


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_told_and_nothing_is_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, "no such thing")

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", flock)
        with pytest.raises(DataError, match=rf"{tmp_path} is on .*without locks \(no such thing\)"):
            built(tmp_path / "out")
        assert not list(tmp_path.iterdir())
    assert [path.name for path in built(tmp_path / "out").iterdir()] == ["a"]


def test_a_lock_that_another_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def flock(_: int, how: int) -> None:
        asked.append(how)
        if len(asked) == 1:
            raise PermissionError(errno.EACCES, "held")  # so some network file systems say it

    monkeypatch.setattr("fcntl.flock", flock)
    assert (built(tmp_path / "out") / "a").is_file()
    assert len(asked) == 2
