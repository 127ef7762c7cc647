"""Memory: it is bounded by what is in flight, not by the size of the text."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from roots.shards import ShardFolder

MIB = 2**20

BUILD = textwrap.dedent(
    """
    import json, sys, threading, time
    import psutil
    from roots.corpus import BytePairs, Corpus
    from roots.sources import Text

    peak = 0
    def watch():
        global peak
        me = psutil.Process()
        while True:
            rss = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    rss += process.memory_info().rss
                except psutil.Error:
                    pass
            peak = max(peak, rss)
            time.sleep(0.05)

    threading.Thread(target=watch, daemon=True).start()
    path, document, val_fraction, out = sys.argv[1:]
    started = time.monotonic()
    Corpus(
        source=Text(paths=path, document=document),
        out=out,
        tokenizer=BytePairs(vocab_size=4096),
        val_fraction=float(val_fraction),
        workers=2,
    ).prepare()
    print(json.dumps({"peak_mib": peak / 2**20, "seconds": time.monotonic() - started}))
    """
)


def generate(path: Path, size: int) -> None:
    """Writes real sources over and over, each copy with words of its own, to `size` bytes."""
    from roots.sources import StandardLibrary

    texts = [document.text for document in StandardLibrary().documents()]
    written = copy = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            for text in texts:
                written += file.write(text.replace("self", f"self{copy}"))
            copy += 1


def build(tmp_path: Path, document: str, val_fraction: float) -> float:
    import json

    command = [sys.executable, "-c", BUILD, str(tmp_path / "a.txt"), document, str(val_fraction)]
    done = subprocess.run(
        [*command, str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    sys.stdout.write(done.stderr + done.stdout)
    ShardFolder.open(tmp_path / "out").verify()
    return json.loads(done.stdout)["peak_mib"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_text_of_300_mb_needs_less_than_a_gigabyte_with_its_workers(tmp_path) -> None:
    generate(tmp_path / "a.txt", 300_000_000)
    assert build(tmp_path, "blank_line", 0.01) < 1000


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_document_of_200_mb_needs_less_than_a_gigabyte_and_a_half(tmp_path) -> None:
    generate(tmp_path / "a.txt", 200_000_000)
    assert build(tmp_path, "file", 0.0) < 1500
