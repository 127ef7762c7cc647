"""A manifest for `.bin` and `.idx` files that came from elsewhere, such as Megatron-LM."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roots.errors import DataError
from roots.shards import FileRecord, Manifest, Shard, ShardFolder, SplitRecord
from roots.shards.folder import TOKENIZER
from roots.shards.manifest import MANIFEST, SPLITS
from roots.shards.writer import sha256_of
from roots.tokenizer import Tokenizer

_CHUNK = 2**22


def adopt(*, folder: str, tokenizer: str) -> ShardFolder:
    """Reads all tokens in `folder`, and writes its manifest and tokenizer beside them.

    Args:
        folder: Holds `train.bin` and `train.idx`, and `val.*` and `test.*` where there are some.
        tokenizer: The folder of the tokenizer that made the ids.

    Raises:
        DataError: There is no `train`, an id is none of the tokenizer's, a document does not end
            with its eos, or there is a manifest already.
    """
    root, taken = Path(folder), Tokenizer.load(tokenizer)
    names = [name for name in SPLITS if (root / f"{name}.bin").is_file()]
    if "train" not in names or (root / MANIFEST).exists():
        raise DataError(
            f"{root} must hold train.bin and no {MANIFEST}; it holds"
            f" {', '.join(sorted(path.name for path in root.glob('*'))) or 'nothing'}."
            " Name its files train.*, val.*, test.*, or open it as it is."
        )
    shards = {name: Shard(root / name) for name in names}
    lengths = taken.byte_lengths()
    records = {name: _record(shard, lengths, taken.eos_id) for name, shard in shards.items()}
    taken.save(root / TOKENIZER)
    manifest = Manifest(
        dtype=shards["train"].dtype.name,
        vocab_size=taken.vocab_size,
        eos_id=taken.eos_id,
        tokenizer_fingerprint=taken.fingerprint,
        input_fingerprint=_fingerprint(records),
        recipe={"adopted": True},
        splits=records,
        documents_read=sum(record.documents for record in records.values()),
        documents_dropped={},
    )
    (root / MANIFEST).write_text(manifest.to_json(), encoding="utf-8", newline="")
    return ShardFolder.open(root)


def _record(shard: Shard, lengths: npt.NDArray[np.int64], eos_id: int) -> SplitRecord:
    n_bytes = 0
    for start in range(0, shard.n_tokens, _CHUNK):
        ids = np.asarray(shard.tokens[start : start + _CHUNK])
        if int(ids.min()) < 0 or int(ids.max()) >= len(lengths):
            raise DataError(
                f"{shard.prefix} holds the id {int(ids.max()):,}, but the tokenizer has"
                f" {len(lengths):,}. Give the tokenizer that made the ids."
            )
        _check_ends(shard, start, start + len(ids), eos_id)
        n_bytes += int(lengths[ids].sum())
    files = tuple(_file(shard, kind) for kind in ("bin", "idx"))
    return SplitRecord(shard.n_documents, shard.n_tokens, n_bytes, files)


def _check_ends(shard: Shard, start: int, stop: int, eos_id: int) -> None:
    ends = shard.document_ends(start, stop)
    wrong = ends[np.asarray(shard.tokens[ends]) != eos_id]
    if len(wrong):
        raise DataError(
            f"{shard.prefix}: document {shard.document_of(int(wrong[0])):,} ends with the id"
            f" {int(shard.tokens[wrong[0]]):,}, not with eos {eos_id:,}. Make the files again with"
            " Megatron's preprocess_data.py --append-eod, or name the eos in tokenizer_config.json."
        )


def _file(shard: Shard, kind: str) -> FileRecord:
    path = shard.prefix.with_name(f"{shard.prefix.name}.{kind}")
    return FileRecord(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path))


def _fingerprint(records: dict[str, SplitRecord]) -> str:
    sums = [file.sha256 for record in records.values() for file in record.files]
    return hashlib.sha256("".join(sums).encode()).hexdigest()
