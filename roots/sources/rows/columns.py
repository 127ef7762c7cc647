"""Columns: the fields that a task reads, taken from the columns that a file has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roots.errors import ConfigError, DataError, nearest
from roots.records import BadRow, Row

_DELIMITERS = {";": "';'", "\t": r"'\t'", "|": "'|'", ",": "','"}


class Columns:
    """Gives each row the names that the task knows, and drops what the task does not read.

    Args:
        columns: The file's name for each of the task's fields; a field that is not named here is
            read from the column of its own name.
        fields: The fields that every row must have.
        optional: The fields that are taken where they are; see `check_met`.

    Raises:
        ConfigError: `columns` names a field that the task does not have.
    """

    def __init__(
        self, columns: Mapping[str, str], *, fields: Sequence[str], optional: Sequence[str] = ()
    ) -> None:
        known = [*fields, *optional]
        for field in columns:
            if field not in known:
                raise ConfigError(
                    f"columns names the field '{field}'{nearest(field, known)}, and this task reads"
                    f" {', '.join(known)}. Write {{field of the task: column of the file}}."
                )
        self.columns = columns
        self.fields = fields
        self.optional = optional
        self._needed = [(field, columns.get(field, field)) for field in fields]
        self._wanted = [(field, columns.get(field, field)) for field in optional]
        self._met: set[str] = set()

    def __call__(self, row: Row) -> Row | BadRow:
        """Gives the row under the task's names."""
        found = row.fields
        self._met.update(found)
        try:
            taken = {field: found[column] for field, column in self._needed}
        except KeyError:
            return self._missing(row)
        taken |= {field: found[column] for field, column in self._wanted if column in found}
        return Row(taken, row.where)

    def anew(self, fields: Sequence[str]) -> Columns:
        """Gives the same, which has met no row yet, for the fields that rows must have by now."""
        optional = [name for name in self.optional if name not in fields]
        return Columns(self.columns, fields=fields, optional=optional)

    def check_met(self) -> None:
        """Raises DataError when `columns` names a column that no row had: it would be left out."""
        for field, column in self._wanted:
            if field in self.columns and self._met and column not in self._met:
                raise DataError(
                    f"No row has the column '{column}' that columns names for the field '{field}'"
                    f"{nearest(column, self._met)}; there are: {', '.join(sorted(self._met))}."
                    f" Correct it, or leave {field} out of columns."
                )

    def _missing(self, row: Row) -> BadRow:
        field, column = next((f, c) for f, c in self._needed if c not in row.fields)
        names = list(row.fields)
        message = (
            f"{row.where} has no column '{column}' for the field '{field}'{nearest(column, names)};"
            f" its columns are: {', '.join(names) or 'none'}. {_cure(field, names)}"
        )
        return BadRow(row.where, f"no column '{column}'", message, row.fields)


def _cure(field: str, names: list[str]) -> str:
    if len(names) == 1:
        inside = next((shown for sign, shown in _DELIMITERS.items() if sign in names[0]), "")
        if inside:
            return f"One column with {inside} in its name: set the reader's delimiter to {inside}."
    return f"Set columns to {{{field}: NAME}} with the right one."
