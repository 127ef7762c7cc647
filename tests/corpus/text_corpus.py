"""A corpus of three hundred lines, for the tests of its build."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roots.corpus import BytePairs, Corpus
from roots.records import Document
from roots.shards import ShardFolder
from roots.sources import Source, Text
from roots.tokenizer import Tokenizer

N = 300


def line(i: int) -> str:
    return f"Line {i}: {'tree ' * (i % 7)}根 {i * i} <|endoftext|> done."


def put_text(folder: Path, n: int = N, extra: str = "") -> Path:
    path = folder / "text.txt"
    path.write_text("\n".join(line(i) for i in range(n)) + f"\n\n   \n{extra}")
    return path


def made(tmp_path: Path, out: str = "out", **settings) -> Corpus:
    given = {
        "source": Text(paths=str(tmp_path / "text.txt"), document="line"),
        "tokenizer": BytePairs(vocab_size=300),
        "val_fraction": 0.1,
        "workers": 1,
    }
    return Corpus(**{**given, "out": str(tmp_path / out), **settings})


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "inputs.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def documents_of(folder: ShardFolder, split: str) -> list[str]:
    shard, tokenizer = folder.shard(split), Tokenizer.load(folder.tokenizer_path)
    ids = [shard.document(i).tolist() for i in range(shard.n_documents)]
    assert all(each[-1] == tokenizer.eos_id and tokenizer.eos_id not in each[:-1] for each in ids)
    return [tokenizer.decode(each[:-1]) for each in ids]


class Listed(Source):
    """Documents from a list."""

    def __init__(self, *, texts: list[str], marker: str = "") -> None:
        self.texts, self.marker, self.passes = texts, marker, 0

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Document]:
        self.passes += 1
        for i, text in enumerate(self.texts):
            yield Document(text=text, id=str(i))
