"""`roots corpus`: makes a corpus from a configuration file and flags, or says what it would do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

from roots.corpus.books import Books
from roots.corpus.corpus import Corpus
from roots.corpus.inputs import states
from roots.corpus.intake import DROPPED, REJECTS
from roots.corpus.progress import megabytes
from roots.corpus.sample import sample
from roots.corpus.stage import Part
from roots.corpus.survey import readable
from roots.errors import ConfigError
from roots.records import class_path, plain, read_yaml
from roots.shards import Manifest, ShardFolder
from roots.shards.publishing import check_movable, check_ours

_LARGEST_SHOWN = 5
_ROW = "{:<6} {:>12} {:>16} {:>18} {:>12}"


def main(args: list[str], *, then: Callable[[Path], str] | None = None) -> int:
    """Runs the command.

    Args:
        args: What follows `roots corpus`.
        then: What is done with a folder that is ready, such as to draw it; gives words to print.

    Returns:
        The exit code.

    Raises:
        ConfigError: A setting is unknown, missing or out of its range.
        DataError: The text cannot be read, or `out` is not ours to replace.
    """
    if args[:1] == ["sums"]:
        return _write_sums(args[1:])
    parser = _parser()
    settings = _parsed(parser, args)
    corpus = _instantiated(parser, settings)
    if settings.sample < 0:
        raise ConfigError(
            f"--sample {settings.sample} is below 0. Give how many documents to look at, or 0 for"
            " none."
        )
    if settings.dry_run:
        print(_preview(corpus))
    if settings.sample:
        print(sample(corpus, settings.sample))
    if not (settings.dry_run or settings.sample):
        corpus.prepare()
        print(_summary(ShardFolder.open(corpus.folder)))
        if then is not None:
            print(then(corpus.folder))
    return 0


class _ConfigFile(ActionConfigFile):
    """Looks at a file of settings before the parser does, which takes the last of two blocks."""

    def __call__(
        self, parser: Any, namespace: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Takes its settings."""
        content = read_yaml(Path(values), what="configuration")
        if isinstance(content, dict) and {"model", "data"} & content.keys():
            raise ConfigError(
                f"{values} is a run file (it has model or data), and a corpus has none. Give it to"
                " `roots fit --config`, and `roots corpus` a file such as configs/corpus/text.yaml."
            )
        super().__call__(parser, namespace, values, option_string)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="roots corpus",
        description="Turns text into shards of tokens: survey, tokenizer, encoding, manifest, data"
        " card. `roots corpus report FOLDER` draws the card of a folder again; `roots corpus sums"
        " FOLDER` writes the sums of its blocks, by which who streams it notices wrong bytes.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action=_ConfigFile, help="A YAML file of these settings.")
    parser.add_argument(
        "--dry-run", action="store_true", help="Say what would be read and written; write nothing."
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=0,
        help="Run the stages on so many documents from the beginning, and print the books and an"
        " example for each reason; write nothing.",
    )
    parser.add_class_arguments(Corpus, None)
    return parser


def _write_sums(args: list[str]) -> int:
    parser = ArgumentParser(
        prog="roots corpus sums",
        description="Hashes the files of a folder of shards, and writes beside each the sums of its"
        " blocks. Upload them with it: who streams the folder then notices a block that arrives"
        " wrong.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("folder", nargs="+", metavar="FOLDER", help="A folder of shards.")
    try:
        folders = parser.parse_args(args).folder
    except ArgumentError as error:
        raise ConfigError(f"roots corpus sums: {error}. See `roots corpus sums --help`.") from error
    for folder in folders:
        for path in ShardFolder.open(folder).write_sums():
            print(f"wrote {path}")
    return 0


def _parsed(parser: ArgumentParser, args: list[str]) -> Namespace:
    try:
        return parser.parse_args(args)
    except ArgumentError as error:
        said = re.sub(r'Parser key "([^"]+)":', r"\1:", " ".join(str(error).split()))
        raise ConfigError(
            f"roots corpus: {said.rstrip('.')}. See `roots corpus --help`, or `roots corpus"
            " --source.help CLASS` for what a source takes: plain text is named by --source"
            " roots.sources.Text --source.paths FILE_OR_FOLDER."
        ) from error


def _instantiated(parser: ArgumentParser, settings: Namespace) -> Corpus:
    made = vars(parser.instantiate(settings))
    return Corpus(**{name: made[name] for name in made.keys() - {"config", "dry_run", "sample"}})


def _preview(corpus: Corpus) -> str:
    check_ours(corpus.folder)
    files = states(corpus.source.files())
    largest = sorted(files, key=lambda file: -file[1])[:_LARGEST_SHOWN]
    why = corpus.stale_because()
    if why is not None:
        check_movable(corpus.folder)
    plan = corpus.tokenizer
    corpus.pipeline.check()
    lines = [
        f"read    {class_path(type(corpus.source))}: {len(files):,} files,"
        f" {megabytes(sum(size for _, size, _ in files))}; the largest are",
        *(f"        {megabytes(size):>12}  {path}" for path, size, _ in largest),
        *(f"stage   {_worded(part)}" for part in corpus.stages),
        f"make    a tokenizer: {class_path(type(plan))}, {plan.planned_vocab_size():,} tokens",
        f"write   {corpus.folder}: " + ("nothing, it is ready" if why is None else f"all, {why}"),
        "nothing was written (--dry-run)",
    ]
    return readable("\n".join(lines))


def _worded(part: Part) -> str:
    """Names a part with its settings."""
    written = plain(part)
    settings = (f"{name}={value}" for name, value in written["init_args"].items())
    return " ".join([written["class_path"], *settings])


def _summary(folder: ShardFolder) -> str:
    manifest = folder.manifest
    rows = [
        _ROW.format(
            name,
            f"{split.documents:,}",
            f"{split.tokens:,}",
            f"{split.bytes:,}",
            f"{split.bytes / max(split.tokens, 1):.2f}",
        )
        for name, split in manifest.splits.items()
    ]
    lines = [
        *_books(manifest),
        _ROW.format("split", "documents", "tokens", "bytes", "bytes/token"),
        *rows,
        *_notes(manifest),
        f"vocabulary: {manifest.vocab_size:,} tokens, stored as {manifest.dtype}",
        f"folder: {folder.path}",
        "next: roots fit --config configs/run/quickstart.yaml"
        f" --data.init_args.shards {folder.path}",
    ]
    return "\n".join(lines)


def _books(manifest: Manifest) -> list[str]:
    """The table, where there is more to tell than how many documents came in."""
    books = Books.from_plain(manifest.books)
    return [f"{books}\n"] if len(books.names) > 1 or len(books.sources) > 1 else []


def _notes(manifest: Manifest) -> list[str]:
    dropped = []
    if len(manifest.books) <= 1:
        drops = manifest.documents_dropped.items()
        dropped += [f"dropped: {n:,} documents, {why}" for why, n in drops]
    elif manifest.documents_dropped:
        dropped.append(
            f"dropped: {sum(manifest.documents_dropped.values()):,} documents; examples"
            f" for each reason are in {DROPPED}"
        )
    if manifest.records_rejected:
        causes = ", ".join(f"{n:,} {why}" for why, n in sorted(manifest.records_rejected.items()))
        dropped.append(f"rejected: {causes}; the records are in {REJECTS}")
    if manifest.findings:
        dropped.append(f"found: {', '.join(manifest.findings)}")
    if manifest.places_replaced:
        dropped.append(
            f"replaced: {manifest.places_replaced:,} undecodable places by U+FFFD; when that is"
            " more than you expect, set the source's encoding"
        )
    return dropped
