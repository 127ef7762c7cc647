"""What the loaders read: the same drawn tokens in each one's format, and a large sparse corpus."""

from __future__ import annotations

import json
import shutil
from itertools import chain
from pathlib import Path

import numpy as np

from roots.corpus import BytePairs, Corpus
from roots.shards import FileRecord, Manifest, ShardFolder, ShardWriter, SplitRecord
from roots.shards.layout import Layout
from roots.shards.writer import sha256_of
from roots.sources import Folder

VOCABULARY = 8192


def all_but_litdata(work: Path, n_rows: int, seq_len: int, shards: Path | None = None) -> None:
    """Writes shards for roots, a plain file for the memmap loop and a data set for Hugging Face.

    Args:
        work: Where they go.
        n_rows: How many rows are read.
        seq_len: Tokens of a row.
        shards: Real text, of as many tokens; None draws them.
    """
    made = work / "made.json"
    asked = {
        "n_rows": n_rows,
        "seq_len": seq_len,
        "with_targets": True,
        "run_clm": True,
        "shards": str(shards),
    }
    if made.exists() and json.loads(made.read_text()) == asked:
        return
    tokens = real(shards, n_rows * seq_len + 1) if shards else drawn(n_rows * seq_len + 1)
    tokens.tofile(work / "tokens.bin")
    _write_shards(work, tokens)
    _write_arrow(work / "arrow", tokens[:-1].reshape(n_rows, seq_len))
    overlapping = np.lib.stride_tricks.sliding_window_view(tokens, seq_len + 1)[::seq_len]
    _write_arrow(work / "arrow-with-targets", overlapping)
    _write_as_run_clm(work / "arrow-of-run-clm", tokens[:-1], seq_len)
    made.write_text(json.dumps(asked))


def drawn(n_tokens: int) -> np.ndarray:
    """Ids of documents of 500 tokens in the mean; 0 ends each."""
    drawer = np.random.default_rng(1)
    tokens = drawer.integers(1, VOCABULARY, size=n_tokens, dtype=np.uint16)
    tokens[drawer.random(n_tokens) < 1 / 500] = 0
    tokens[-1] = 0
    return tokens


def real(shards: Path, n_tokens: int) -> np.ndarray:
    """Documents of a corpus, as long as they are there; ids are folded into the vocabulary."""
    folder = ShardFolder.open(shards)
    tokens = folder.shard("train").tokens[:n_tokens]
    if len(tokens) < n_tokens:
        raise SystemExit(f"{shards} has {len(tokens):,} tokens; ask for fewer than {n_tokens:,}")
    folded = 1 + tokens % (VOCABULARY - 1)
    folded[tokens == folder.manifest.eos_id] = 0
    folded[-1] = 0
    return folded.astype(np.uint16)


def _write_shards(work: Path, tokens: np.ndarray) -> None:
    tokenizer = _tokenizer(work)
    shutil.rmtree(work / "shards", ignore_errors=True)
    ends = np.flatnonzero(tokens == 0)
    with ShardWriter(work / "shards" / "train", vocab_size=VOCABULARY) as writer:
        start = 0
        for end in ends.tolist():
            writer.add(tokens[start : end + 1])
            start = end + 1
    split = SplitRecord(writer.n_documents, len(tokens), 0, tuple(writer.files()))
    _describe(work / "shards", tokenizer, split, "uint16")


def _write_arrow(folder: Path, rows: np.ndarray) -> None:
    import pyarrow as pa
    from datasets import Dataset

    width = rows.shape[1]
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), width)
    shutil.rmtree(folder, ignore_errors=True)
    Dataset(pa.table({"input_ids": column})).save_to_disk(str(folder))


def _write_as_run_clm(folder: Path, tokens: np.ndarray, seq_len: int) -> None:
    """Groups documents, as a tokenizer gives them, by the `group_texts` of run_clm.py."""
    from datasets import Dataset, Features, List, Value

    def group_texts(examples: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = {name: list(chain(*rows)) for name, rows in examples.items()}
        starts = range(0, len(joined["input_ids"]) // seq_len * seq_len, seq_len)
        grouped = {
            name: [all_[at : at + seq_len] for at in starts] for name, all_ in joined.items()
        }
        return {**grouped, "labels": grouped["input_ids"].copy()}

    # of 16 whole rows each, so that group_texts, which drops what is left over, drops nothing
    documents = [
        part.tolist() for part in np.split(tokens, range(0, len(tokens), 16 * seq_len)[1:])
    ]
    columns = {"input_ids": documents, "attention_mask": [[1] * len(each) for each in documents]}
    types = Features(input_ids=List(Value("int32")), attention_mask=List(Value("int8")))
    grouped = Dataset.from_dict(columns, features=types).map(
        group_texts, batched=True, batch_size=100
    )
    shutil.rmtree(folder, ignore_errors=True)
    grouped.save_to_disk(str(folder))


def sparse(folder: Path, n_tokens: int) -> None:
    """Writes a corpus of `n_tokens` zeros, which take no room on the disk; documents of 1,000."""
    if (folder / "manifest.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    n_documents = n_tokens // 1000
    n_tokens = 1000 * n_documents
    with (folder / "train.bin").open("wb") as file:
        file.truncate(2 * n_tokens)
    layout = Layout(np.dtype("<u2"), n_documents)
    with (folder / "train.idx").open("wb") as file:
        file.write(layout.header())
        file.write(np.full(n_documents, 1000, dtype="<i4").tobytes())
        file.write((np.arange(n_documents, dtype="<i8") * 2000).tobytes())
        file.write(np.arange(n_documents + 1, dtype="<i8").tobytes())
    files = tuple(
        FileRecord(name, (folder / name).stat().st_size, sha256_of(folder / name))
        for name in ("train.bin", "train.idx")
    )
    split = SplitRecord(n_documents, n_tokens, 0, files)
    _describe(folder, _tokenizer(folder.parent), split, "uint16")


def _tokenizer(work: Path) -> ShardFolder:
    corpus = Corpus(
        source=Folder(path=str(Path(__file__).parents[2] / "roots")),
        out=str(work / "tokenizer-of-roots"),
        tokenizer=BytePairs(vocab_size=VOCABULARY),
    )
    return ShardFolder.open(corpus.prepare(progress=False))


def _describe(folder: Path, like: ShardFolder, split: SplitRecord, dtype: str) -> None:
    shutil.copytree(like.tokenizer_path, folder / "tokenizer", dirs_exist_ok=True)
    manifest = Manifest(
        dtype=dtype,
        vocab_size=VOCABULARY,
        eos_id=like.manifest.eos_id,
        tokenizer_fingerprint=like.manifest.tokenizer_fingerprint,
        input_fingerprint="drawn",
        recipe={},
        splits={"train": split},
        documents_read=split.documents,
        documents_dropped={},
    )
    (folder / "manifest.json").write_text(manifest.to_json())
