"""The bytes of an `.idx` file, and which integer type holds which vocabulary.

    magic       9 bytes   b"MMIDIDX" and two zeros
    version     uint64    1
    dtype       uint8     4 = int32, 8 = uint16 (others of Megatron's are read, not written)
    sequences   uint64    S
    documents   uint64    D + 1
    lengths     int32[S]  tokens of each sequence
    pointers    int64[S]  byte at which it begins in the .bin file
    indices     int64[D + 1]  the sequence that each document begins with, then S

All little-endian, without padding, so that the int64 arrays may be unaligned. Here every document
is one sequence: D = S, and the indices count 0, 1, …, S.

Source:
    Megatron-LM, megatron/core/datasets/indexed_dataset.py (_IndexWriter, _IndexReader).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roots.errors import DataError

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
HEADER = struct.Struct("<9sQBQQ")
DTYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 8: "uint16"}
CODES = {name: code for code, name in DTYPES.items()}
REBUILD = "Fetch the file again, or delete the folder and build it again with `roots corpus`."


@dataclass(frozen=True)
class Layout:
    """Where things are in one `.idx` file.

    Args:
        dtype: The integer type of a token.
        n_documents: How many documents, which are also the sequences.
    """

    dtype: np.dtype[np.integer]
    n_documents: int

    @property
    def pointers_at(self) -> int:
        """The byte at which the pointers begin."""
        return HEADER.size + 4 * self.n_documents

    @property
    def indices_at(self) -> int:
        """The byte at which the document indices begin."""
        return self.pointers_at + 8 * self.n_documents

    @property
    def n_bytes(self) -> int:
        """The size of the whole `.idx` file."""
        return self.indices_at + 8 * (self.n_documents + 1)

    def header(self) -> bytes:
        """Packs the first 34 bytes."""
        n = self.n_documents
        return HEADER.pack(MAGIC, VERSION, CODES[self.dtype.name], n, n + 1)


def token_dtype(vocab_size: int) -> np.dtype[np.integer]:
    """Chooses uint16 while the ids of `vocab_size` tokens fit, else int32."""
    return np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<i4")


def read_layout(path: Path) -> Layout:
    """Reads and checks the header of an `.idx` file, and its size.

    Raises:
        DataError: Not such a file, another version, or cut short.
    """
    with path.open("rb", buffering=0) as file:
        raw = file.read(HEADER.size) or b""
    if len(raw) < HEADER.size or not raw.startswith(MAGIC):
        raise DataError(
            f"{path} is no Megatron index: it begins {raw[:9]!r}, expected {MAGIC!r}. {REBUILD}"
        )
    _, version, code, n_sequences, n_indices = HEADER.unpack(raw)
    if version != VERSION or code not in DTYPES:
        raise DataError(
            f"{path} has version {version} and dtype code {code}; expected version {VERSION}"
            f" and one of the integer codes {sorted(DTYPES)}. {REBUILD}"
        )
    if n_indices != n_sequences + 1:
        raise DataError(
            f"{path} holds {n_sequences:,} sequences in {n_indices - 1:,} documents; expected one"
            " sequence per document. Run Megatron's preprocess_data.py without --split-sentences."
        )
    layout = Layout(np.dtype(DTYPES[code]).newbyteorder("<"), n_sequences)
    check_size(path, layout.n_bytes)
    return layout


def check_size(path: Path, expected: int) -> None:
    """Compares the size of a file with what it should be.

    Raises:
        DataError: It differs.
    """
    found = path.stat().st_size
    if found != expected:
        what = "cut short" if found < expected else "longer than it should be"
        raise DataError(
            f"{path} is {what}: {found:,} bytes found, {expected:,} expected. {REBUILD}"
        )


def mapped(path: Path, dtype: npt.DTypeLike, offset: int, length: int) -> npt.NDArray[Any]:
    """Maps values of a file that may begin at any byte; nothing is read.

    The map is handed out as a plain array: each look into a `memmap` goes through Python.
    """
    if length == 0:
        return np.empty(0, dtype=dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=(length,)))
