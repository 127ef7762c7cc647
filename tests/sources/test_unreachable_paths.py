"""A path that the system refuses to look at is told as any other that is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roots.errors import DataError
from roots.sources import Csv, Folder, Jsonl, Text
from roots.sources.opening import open_bytes
from roots.sources.rows import HuggingFaceRows, LabelSet, rows_from

LONG = "x" * 300


@pytest.mark.parametrize("name", [LONG, f"./{LONG}", f"{LONG}/a.csv", "/".join(["y" * 99] * 50)])
@pytest.mark.parametrize(
    "read",
    [
        lambda name: Text(paths=name).files(),
        lambda name: Csv(paths=[name]).files(),
        lambda name: Jsonl(paths=name).files(),
        lambda name: rows_from(name).files(),
        LabelSet.given,
        lambda name: Folder(path=name).files(),
        lambda name: HuggingFaceRows(path=f"./{name}").files(),
    ],
)
def test_a_path_longer_than_a_system_takes_does_not_exist(
    read: Callable[[str], Any], name: str
) -> None:
    with pytest.raises(DataError, match=r"(does not exist|is not a folder) \(looked for .*Correct"):
        read(name)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_of_others_is_told_by_name(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / f"a.txt{ending}"
    path.write_text("the cat")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.txt.* may not be read by you .*take it off the list"):
        open_bytes(path)
