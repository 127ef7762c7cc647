"""HashedFile: what it says of a file so far is what stands in it, also when it is gone on with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.errors import DataError
from roots.shards import FileRecord
from roots.shards.hashed_file import HashedFile, n_whole


def written(path: Path, pieces: list[bytes]) -> list[FileRecord]:
    """Writes a file, and tells after each piece what it holds."""
    file = HashedFile(path)
    records = []
    for piece in pieces:
        file.write(piece)
        records.append(file.record(path.name))
    file.close()
    return records


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=9), max_size=6), st.data())
def test_a_file_fulfils_its_records_up_to_the_damage(pieces: list[bytes], data) -> None:
    whole = b"".join(pieces)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        records = written(path, pieces)
        ends = [record.size_bytes for record in records]
        assert n_whole(path, records) == len(pieces)
        path.write_bytes(whole + b"what no record tells of")
        assert n_whole(path, records) == len(pieces)
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        assert n_whole(path, records) == sum(end <= cut for end in ends)
        if whole:
            place = data.draw(st.integers(0, len(whole) - 1))
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert n_whole(path, records) == sum(end <= place for end in ends)
        path.unlink()
        assert n_whole(path, records) == 0


def test_large_files_are_read_in_pieces(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("roots.shards.hashed_file._READ", 7)
    records = written(tmp_path / "file", [bytes(range(50)), b"", bytes(100)])
    assert n_whole(tmp_path / "file", records) == 3
    assert records[1].sha256 == hashlib.sha256(bytes(range(50))).hexdigest()


def test_it_goes_on_behind_a_record_and_cuts_the_rest_off(tmp_path) -> None:
    path = tmp_path / "file"
    first, _ = written(path, [b"kept", b"and not"])
    file = HashedFile(path, after=first)
    file.write(b", then more")
    file.flush()
    assert path.read_bytes() == b"kept, then more"
    record = file.record("file")
    file.close()
    assert record == FileRecord("file", 15, hashlib.sha256(b"kept, then more").hexdigest())
    path.write_bytes(b"kopt, then more")
    with pytest.raises(DataError, match=r"The first 4 bytes of .*file have the sha256 .*Delete it"):
        HashedFile(path, after=first)
    path.unlink()
    with pytest.raises(DataError, match="has no bytes, expected 4"):
        HashedFile(path, after=first)
