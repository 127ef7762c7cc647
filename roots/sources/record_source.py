"""RecordSource: what sources of records have in common: what to do with a bad one."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from roots.errors import ConfigError, DataError
from roots.records import Document, Reject
from roots.sources.decoding import MAX_DOCUMENT_BYTES, Decoder, check_not_wide, too_large
from roots.sources.source import Source

OnBadRecord = Literal["error", "skip"]


class RecordSource(Source):
    """Reads records; one that is bad is an error, or is counted and left out.

    Args:
        on_bad_record: `error` ends the pass and names file, place and cause; `skip` counts the
            record, writes it to `rejects.jsonl` beside the shards, and goes on.
        max_bad_fraction: With `skip`: the greatest fraction of bad records, above 0 and to 1; more
            of them are an error at the end of the first pass.

    Raises:
        ConfigError: `skip` without a fraction, or a fraction without `skip`.
    """

    def __init__(self, *, on_bad_record: OnBadRecord, max_bad_fraction: float) -> None:
        if on_bad_record not in get_args(OnBadRecord):
            raise ConfigError(f"on_bad_record='{on_bad_record}' is neither error nor skip.")
        if on_bad_record == "skip" and not 0 < max_bad_fraction <= 1:
            raise ConfigError(
                f"on_bad_record=skip needs a max_bad_fraction above 0 and up to 1, and has"
                f" {max_bad_fraction}. Say how many bad records you expect at most, such as 0.001."
            )
        if on_bad_record == "error" and max_bad_fraction != 0:
            raise ConfigError(
                f"max_bad_fraction={max_bad_fraction} has no meaning with on_bad_record=error. Set"
                " on_bad_record to skip, or leave max_bad_fraction out."
            )
        self.on_bad_record: OnBadRecord = on_bad_record
        self.max_bad_fraction = max_bad_fraction

    @abstractmethod
    def read(self) -> Iterator[Document | Reject]:
        """Streams all records, good and bad, and counts `n_replaced` anew."""

    def documents(self) -> Iterator[Document]:
        """Streams the documents of the good records."""
        return (record for record in self.records() if isinstance(record, Document))

    def records(self) -> Iterator[Document | Reject]:
        """Streams good and bad records.

        Raises:
            DataError: A record is bad and `on_bad_record` is `error`, or too many are.
        """
        n_records, bad = 0, Counter[str]()
        first = ""
        for record in self.read():
            n_records += 1
            if isinstance(record, Reject):
                if self.on_bad_record == "error":
                    head = record.raw[:60].decode("utf-8", "backslashreplace")
                    begins = f" It begins {head!r}." if head else ""
                    raise DataError(
                        f"{record.cause}{begins} (Or leave such records out: on_bad_record: skip,"
                        " with a max_bad_fraction.)"
                    )
                first = first or record.cause
                bad[record.reason] += 1
            yield record
        if bad.total() > self.max_bad_fraction * n_records:
            raise DataError(self._too_many(n_records, bad, first))

    def _too_many(self, n_records: int, bad: Counter[str], first: str) -> str:
        reasons = ", ".join(f"{n:,} {why}" for why, n in bad.most_common())
        enough = math.ceil(1e6 * bad.total() / n_records) / 1e6
        return (
            f"{bad.total():,} of {n_records:,} records are bad ({reasons}), more than"
            f" max_bad_fraction={self.max_bad_fraction} allows. The first: {first} Mend them, or"
            f" set max_bad_fraction to {enough:g} or more."
        )

    def _decoded(self, raw: bytes, path: Path, number: int, offset: int) -> str | Reject:
        """Decodes a line; bad bytes become U+FFFD and are counted."""
        where = f"{path}:{number}"
        if len(raw) > MAX_DOCUMENT_BYTES:
            cause = str(too_large(path, len(raw), f"Cut the text of line {number:,}."))
            return Reject(where, "too_large", cause, raw[:1024])
        if offset == 0:
            check_not_wide(path, raw)
        if (nul := raw.find(b"\0")) >= 0:
            cause = (
                f"{where}: byte {nul + 1:,} of it is NUL, which no text has. Take it out, or fetch"
                " the file again."
            )
            return Reject(where, "binary", cause, raw)
        decoder = Decoder()
        text = decoder.decode(raw, path, offset)
        self.n_replaced += decoder.n_replaced
        return text
