"""`.zst` of any window that the tool writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roots.sources import Jsonl


def test_what_was_written_with_long_is_read(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard", reason="needs the extra `corpus`")
    how = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    packer = zstandard.ZstdCompressor(compression_params=how).compressobj()
    lines = [json.dumps({"text": f"line {n}"}) + "\n" for n in range(9)]
    raw = packer.compress("".join(lines).encode()) + packer.flush()
    assert zstandard.get_frame_parameters(raw).window_size == 2**28
    (tmp_path / "a.jsonl.zst").write_bytes(raw)
    found = Jsonl(paths=str(tmp_path)).documents()
    assert [document.text for document in found] == [f"line {n}" for n in range(9)]
