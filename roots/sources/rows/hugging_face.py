"""HuggingFaceRows: what the `datasets` library reads: saved folders, data files, the hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roots.errors import ConfigError, DataError, nearest
from roots.records import BadRow, Row, expanded, is_file, is_folder
from roots.sources.finding import find_files, missing
from roots.sources.rows.parquet import rows_of
from roots.sources.rows.row_source import RowSource
from roots.stores import address_of

SAVED = ("state.json", "dataset_dict.json")
"""The file that `save_to_disk` leaves in a folder, for one split and for several."""

_BATCH = 1024


class HuggingFaceRows(RowSource):
    """Reads a dataset of Hugging Face's `datasets` library; code that a dataset brings never runs.

    Labels that the dataset declares by name (its `ClassLabel` columns, also inside lists) come as
    these names, and the -1 of an unlabelled row as null. Rows are named by their number from 1.

    Args:
        path: A folder that `save_to_disk` wrote, a folder of data files, a name on the hub such as
            `nyu-mll/glue`, or with `data_files` their format (`csv`, `json`, `parquet`, `text`);
            `~` and `${VARIABLE}` are expanded.
        config: Which of the dataset's configurations, such as `sst2`; empty for its only one.
        split: Which split; also a slice of one, such as `train[:1000]`, except in a folder that
            `save_to_disk` wrote. One that was saved of a single split has that alone, and one that
            was saved without a split's name has `train`.
        data_files: Files or globs, for a `path` that is their format.
        streaming: Read the rows as they come instead of downloading and converting all first.
        revision: Branch, tag or commit on the hub; empty for the newest.

    Raises:
        ConfigError: `split` is empty.
    """

    def __init__(
        self,
        *,
        path: str,
        config: str = "",
        split: str = "train",
        data_files: Sequence[str] = (),
        streaming: bool = False,
        revision: str = "",
    ) -> None:
        if not split:
            raise ConfigError("split is empty. Name one split of the dataset, such as train.")
        self.path = path
        self.config = config
        self.split = split
        self.data_files = data_files
        self.streaming = streaming
        self.revision = revision

    def files(self) -> list[Path]:
        """Lists the files that are read, where they lie on this machine; none for the hub."""
        if self.data_files:
            return find_files(list(self.data_files), [""])
        folder = Path(self._place())
        if not is_folder(folder):
            return []
        below = folder / self.split if (folder / SAVED[1]).is_file() else folder
        return sorted(path for path in below.rglob("*") if path.is_file())

    def read(self) -> Iterator[Row | BadRow]:
        """Streams the rows of the split."""
        dataset = self._open()
        names = _declared(dataset)
        number = 0
        for table in self._tables(dataset):
            for row in rows_of(table, f"{self.path}[{self.split}]", number):
                yield _with_names(row, names)
            number += table.num_rows

    def _place(self) -> str:
        place = expanded(self.path)
        is_here = is_folder(Path(place)) or is_file(Path(place))
        if place.startswith(("/", "./", "../")) and not is_here:
            raise missing(place)
        return place

    def _open(self) -> Any:
        import datasets  # type: ignore[import-untyped]

        place = self._place()
        try:
            if any(is_file(Path(place, name)) for name in SAVED):
                self._check_saved()
                return self._saved(datasets.load_from_disk(place))
            return datasets.load_dataset(
                place,
                self.config or None,
                split=self.split,
                data_files=[address_of(path) for path in self.files()] if self.data_files else None,
                streaming=self.streaming,
                revision=self.revision or None,
            )
        except ConnectionError as error:
            raise self._unreachable(error) from error
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            raise self._refused(error) from error

    def _check_saved(self) -> None:
        """Refuses what a folder of `save_to_disk` does not have."""
        asked = {"config": self.config, "revision": self.revision, "streaming": self.streaming}
        if given := [name for name, value in asked.items() if value]:
            raise DataError(
                f"{self.path} was written by save_to_disk and is read as it was saved: there is no"
                f" {given[0]} in it. Leave {' and '.join(given)} out."
            )

    def _saved(self, dataset: Any) -> Any:
        if not isinstance(dataset, dict):
            its = str(dataset.split or "train")  # none is told of rows made here
            if self.split not in (its, its.partition("[")[0]):
                alone = f"of the split '{its}' alone" if dataset.split else "without a split's name"
                raise DataError(
                    f"{self.path} was saved {alone}, and '{self.split}' is asked"
                    f" for. Set split to {its}, or save all splits in one folder"
                    " (DatasetDict.save_to_disk)."
                )
            return dataset
        if self.split not in dataset:
            raise DataError(
                f"{self.path} has no split '{self.split}'{nearest(self.split, dataset)}; it has:"
                f" {', '.join(dataset)}. Set split to one of them."
            )
        return dataset[self.split]

    def _tables(self, dataset: Any) -> Iterator[Any]:
        import datasets

        try:
            yield from dataset.with_format("arrow").iter(batch_size=_BATCH)
        except ConnectionError as error:
            raise self._unreachable(error) from error
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise self._refused(error) from error

    def _unreachable(self, error: Exception) -> DataError:
        return DataError(
            f"The dataset {self.path} is not on this machine, and the hub cannot be reached"
            f" ({error}). Connect this machine and unset HF_HUB_OFFLINE, or call save_to_disk on"
            " the dataset on another machine, copy the folder here, and set path to it."
        )

    def _refused(self, error: Exception) -> DataError:
        chosen = f"config '{self.config}', split '{self.split}'"
        return DataError(
            f"The dataset {self.path} ({chosen}) cannot be read: {_last_line(error)}"
            " Correct path, config, split or data_files to what there is."
        )


def _declared(dataset: Any) -> dict[str, list[str]]:
    """Finds the columns of class labels, or of lists of them, and the names they declare."""
    found = {}
    for column, feature in (dataset.features or {}).items():
        inner = getattr(feature, "feature", feature)
        if names := getattr(inner, "names", None):
            found[column] = list(names)
    return found


def _with_names(row: Row | BadRow, names: dict[str, list[str]]) -> Row | BadRow:
    if isinstance(row, BadRow) or not names:
        return row
    named = {column: _named(row.fields.get(column), names[column]) for column in names}
    return Row({**row.fields, **named}, row.where)


def _named(value: object, names: list[str]) -> object:
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    known = isinstance(value, int) and 0 <= value < len(names)
    return names[value] if isinstance(value, int) and known else None


def _last_line(error: Exception) -> str:
    cause = error.__cause__ or error
    text = str(cause).strip() or type(cause).__name__
    return text if text.endswith(".") else f"{text}."
