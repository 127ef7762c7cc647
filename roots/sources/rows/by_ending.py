"""The reader of a file by its ending, so that a setting can be the path alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roots.errors import ConfigError
from roots.records import expanded, is_file
from roots.sources.finding import find_files
from roots.sources.rows import conll, delimited, json_rows
from roots.sources.rows.hugging_face import SAVED, HuggingFaceRows
from roots.sources.rows.parquet import Parquet
from roots.sources.rows.row_source import RowSource
from roots.sources.rows.squad import Squad
from roots.stores import address_of

_ENDINGS: dict[str, type[RowSource]] = {
    **dict.fromkeys(delimited.ENDINGS, delimited.Delimited),
    **dict.fromkeys(json_rows.ENDINGS, json_rows.JsonRows),
    **dict.fromkeys(conll.ENDINGS, conll.Conll),
    ".parquet": Parquet,
}


def rows_from(source: RowSource | str | Path | Sequence[str | Path]) -> RowSource:
    """Gives the reader of what `source` names; one that is a reader already is given back.

    Args:
        source: A reader, or files, globs and folders that one kind of reader reads: `.csv`,
            `.tsv`, `.tab` (`Delimited`), `.jsonl`, `.ndjson`, `.json` (`JsonRows`, or `Squad` for
            what begins as SQuAD does), `.parquet`, `.conll` and its kin (`Conll`), or one folder
            that `save_to_disk` wrote (`HuggingFaceRows`, its split `train`).

    Raises:
        ConfigError: An ending says nothing, or the files are of several kinds.
        DataError: A path names nothing.
    """
    if isinstance(source, RowSource):
        return source
    named = [source] if isinstance(source, (str, Path)) else source
    paths = [address_of(path) for path in named]
    if len(paths) == 1 and _is_saved(paths[0]):
        return HuggingFaceRows(path=paths[0])
    files = find_files(paths, list(_ENDINGS))
    kinds: dict[type[RowSource], Path] = {}
    for path in files:
        kinds.setdefault(_kind(path), path)
    if len(kinds) > 1:
        (one, first), (other, second), *_ = kinds.items()
        raise ConfigError(
            f"{first} is read by {one.__name__} and {second} by {other.__name__}, and the files of"
            " one split are of one kind. Name them by a glob, such as 'folder/*.jsonl'."
        )
    reader = next(iter(kinds))
    return reader(paths=paths if named is source else paths[0])  # type: ignore[call-arg]


def _is_saved(name: str) -> bool:
    folder = Path(expanded(name))
    return any(is_file(folder / marker) for marker in SAVED)


def _kind(path: Path) -> type[RowSource]:
    ending = next((e for e in _ENDINGS if path.name.lower().endswith(e)), "")
    if not ending:
        raise ConfigError(
            f"The ending of {path} does not say how its rows are read; known are"
            f" {', '.join(e for e in _ENDINGS if not e.endswith('.gz'))}, all but the last kind"
            " also with .gz. Rename it, or name a reader and its settings: {class_path:"
            " roots.sources.rows.Delimited, init_args: {paths: …, delimiter: …}}."
        )
    if ending.startswith(".json") and _is_squad(path):
        return Squad
    return _ENDINGS[ending]


def _is_squad(path: Path) -> bool:
    """Tells SQuAD's one object from JSON lines: it begins with a version or with the articles."""
    if not path.name.lower().endswith((".json", ".json.gz")):
        return False
    head = json_rows.json_head(path)
    first = head.removeprefix(b"{").lstrip()
    return first.startswith((b'"version"', b'"data"')) and b'"paragraphs"' in head
