"""CheckedRows: the good rows of a source, and books of the others that balance."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from roots.errors import ConfigError, DataError
from roots.records import BadRow, Row, expanded
from roots.runs import write_atomically
from roots.sources.rows.checks import Check
from roots.sources.rows.row_source import RowSource

_SHOWN = 3
_KEYS = ["where", "reason", "message", "row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBooks:
    """How many rows were read, and what became of them: read = kept + rejected.

    Args:
        read: All rows.
        kept: The good ones.
        rejected: The bad ones by reason.
        rejected_file: Where they are written, with where and why; empty where nowhere.
    """

    read: int = 0
    kept: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    rejected_file: str = ""

    @property
    def n_rejected(self) -> int:
        """How many rows were bad."""
        return sum(self.rejected.values())

    def remark(self) -> str:
        """Says in a sentence what was left out; nothing if nothing was."""
        if not self.rejected:
            return ""
        place = f"; they are in {self.rejected_file}" if self.rejected_file else ""
        return (
            f"{self.n_rejected:,} of {self.read:,} rows were left out ({self._reasons()}){place}."
        )

    def _reasons(self) -> str:
        by_count = sorted(self.rejected.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{n:,} {reason}" for reason, n in by_count)


class CheckedRows:
    """Streams the rows of a source that pass every check, in the order of the source.

    Args:
        source: Where the rows come from.
        checks: What is asked of each row, one after another; the first refusal counts.
        on_bad_row: `error` ends at the first bad row; `skip` leaves bad rows out and counts them.
        max_bad_fraction: With `skip`, more bad rows than this share of all are an error: then
            something is wrong with the file or its settings, not with a few rows. 0 to 1.
        rejected_file: With `skip`, where the bad rows are written as JSON lines: where, reason,
            message, row. Rewritten by each pass, removed by one without bad rows; none if empty.

    Raises:
        ConfigError: A setting is none that exists, or `rejected_file` names a file that is there
            and was not written by an earlier pass.
    """

    def __init__(
        self,
        source: RowSource,
        *,
        checks: Sequence[Check] = (),
        on_bad_row: Literal["error", "skip"] = "error",
        max_bad_fraction: float = 0.01,
        rejected_file: str | Path = "",
    ) -> None:
        if on_bad_row not in ("error", "skip"):
            raise ConfigError(f"on_bad_row='{on_bad_row}' is none of error, skip. Take one.")
        if not 0 <= max_bad_fraction <= 1:
            raise ConfigError(
                f"max_bad_fraction={max_bad_fraction} is no share of the rows. Set it from 0 to 1."
            )
        self.source = source
        self.checks = checks
        self.on_bad_row = on_bad_row
        self.max_bad_fraction = max_bad_fraction
        if rejected_file and on_bad_row == "error":
            raise ConfigError(
                f"rejected_file={rejected_file} is never written with on_bad_row=error, which ends"
                " at the first bad row. Set on_bad_row to skip, or leave out rejected_file."
            )
        self.rejected_file = Path(expanded(str(rejected_file))) if rejected_file else None
        self._check_rejected_file()
        self.books = RowBooks()
        """The books of the latest pass that came to its end."""

    def __iter__(self) -> Iterator[Row]:
        """Streams the good rows; the books and the file are written when the last has been taken.

        Raises:
            DataError: A row is bad (`error`), too many are (`skip`), or there is no good row.
        """
        kept = 0
        rejected: list[BadRow] = []
        for row in self.source.read():
            result = self._checked(row)
            if isinstance(result, Row):
                kept += 1
                yield result
            elif self.on_bad_row == "error":
                raise DataError(f"{result.message} To leave bad rows out, set on_bad_row to skip.")
            else:
                rejected.append(result)
        self._close(kept, rejected)

    def _checked(self, row: Row | BadRow) -> Row | BadRow:
        if isinstance(row, BadRow):
            return row
        good = row
        for check in self.checks:
            result = check(good)
            if isinstance(result, BadRow):
                return replace(result, content=row.fields)
            good = result
        return good

    def _close(self, kept: int, rejected: list[BadRow]) -> None:
        counts: dict[str, int] = {}
        for bad in rejected:
            counts[bad.reason] = counts.get(bad.reason, 0) + 1
        written = self._write(rejected)
        self.books = RowBooks(
            read=kept + len(rejected), kept=kept, rejected=counts, rejected_file=written
        )
        if len(rejected) > self.max_bad_fraction * self.books.read:
            raise DataError(self._too_many(rejected))
        if not kept:
            raise DataError(self._none_kept())

    def _write(self, rejected: list[BadRow]) -> str:
        path = self.rejected_file
        if path is None:
            return ""
        self._check_rejected_file()
        if not rejected:
            path.unlink(missing_ok=True)
            return ""
        write_atomically(path, "".join(map(_line, rejected)))
        return str(path)

    def _check_rejected_file(self) -> None:
        """Refuses a file that is there and is none of ours, because it would be replaced."""
        path = self.rejected_file
        if path is None or not path.exists():
            return
        try:
            read = any(each.exists() and path.samefile(each) for each in self.source.files())
        except FileNotFoundError:  # another process has removed its own
            return
        if _is_ours(path) and not read:
            return
        what = "is what the rows are read from" if read else "is there, and holds no rejected rows"
        raise ConfigError(
            f"rejected_file={path} {what}, so it is not replaced. Set rejected_file to a file that"
            " is not there yet."
        )

    def _none_kept(self) -> str:
        names = ", ".join(map(str, self.source.files())) or "The source"
        if not self.books.read:
            return f"{names}: there is no row in it. Fetch it again, or name another."
        return f"{names}: no row is good. {self.books.remark()} Mend the file or the settings."

    def _too_many(self, rejected: list[BadRow]) -> str:
        books = self.books
        share = books.n_rejected / books.read
        examples = "\n".join(f"  {bad.message}" for bad in rejected[:_SHOWN])
        return (
            f"{books.remark()} That is {share:.2%}, more than max_bad_fraction="
            f"{self.max_bad_fraction}. The first:\n{examples}\nMend the file or the settings; or,"
            f" if these rows may be lost, set max_bad_fraction to {math.ceil(share * 1000) / 1000}."
        )


def _is_ours(path: Path) -> bool:
    """Whether the first line of a file is one that `_line` wrote."""
    try:
        with path.open(encoding="utf-8") as file:
            record = json.loads(file.readline())
    except FileNotFoundError:  # another process has removed its own
        return True
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and list(record) == _KEYS


def _line(bad: BadRow) -> str:
    record = {
        "where": bad.where,
        "reason": bad.reason,
        "message": bad.message,
        "row": _finite(bad.content),
    }
    text = json.dumps(record, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def _finite(value: object) -> object:
    """Writes NaN and infinities as texts: JSON has no word for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
