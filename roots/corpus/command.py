"""`roots corpus`: makes a corpus from a configuration file and flags, or says what it would do."""

from __future__ import annotations

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

from roots.corpus.corpus import Corpus
from roots.corpus.inputs import states
from roots.corpus.progress import megabytes
from roots.errors import ConfigError
from roots.records import class_path
from roots.shards import Manifest, ShardFolder

_LARGEST_SHOWN = 5
_ROW = "{:<6} {:>12} {:>16} {:>18} {:>12}"


def main(args: list[str]) -> int:
    """Runs the command.

    Args:
        args: What follows `roots corpus`.

    Returns:
        The exit code.

    Raises:
        ConfigError: A setting is unknown, missing or out of its range.
        DataError: The text cannot be read, or `out` is not ours to replace.
    """
    parser = _parser()
    settings = _parsed(parser, args)
    corpus = _instantiated(parser, settings)
    if settings.dry_run:
        print(_preview(corpus))
    else:
        corpus.prepare()
        print(_summary(ShardFolder.open(corpus.folder)))
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="roots corpus",
        description="Turns text into shards of tokens: survey, tokenizer, encoding, manifest.",
        exit_on_error=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="A YAML file of these settings.")
    parser.add_argument(
        "--dry-run", action="store_true", help="Say what would be read and written; write nothing."
    )
    parser.add_class_arguments(Corpus, None)
    return parser


def _parsed(parser: ArgumentParser, args: list[str]) -> Namespace:
    try:
        return parser.parse_args(args)
    except ArgumentError as error:
        raise ConfigError(
            f"roots corpus: {error}\nSee `roots corpus --help`,"
            " or `roots corpus --source.help CLASS` for what a source takes."
        ) from error


def _instantiated(parser: ArgumentParser, settings: Namespace) -> Corpus:
    made = vars(parser.instantiate(settings))
    return Corpus(**{name: made[name] for name in made.keys() - {"config", "dry_run"}})


def _preview(corpus: Corpus) -> str:
    files = states(corpus.source.files())
    largest = sorted(files, key=lambda file: -file[1])[:_LARGEST_SHOWN]
    why = corpus.stale_because()
    plan = corpus.tokenizer
    lines = [
        f"read    {class_path(type(corpus.source))}: {len(files):,} files,"
        f" {megabytes(sum(size for _, size, _ in files))}; the largest are",
        *(f"        {megabytes(size):>12}  {path}" for path, size, _ in largest),
        f"make    a tokenizer: {class_path(type(plan))}, {plan.planned_vocab_size():,} tokens",
        f"write   {corpus.folder}: " + ("nothing, it is ready" if why is None else f"all, {why}"),
        "nothing was written (--dry-run)",
    ]
    return "\n".join(lines)


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
        _ROW.format("split", "documents", "tokens", "bytes", "bytes/token"),
        *rows,
        *_notes(manifest),
        f"vocabulary: {manifest.vocab_size:,} tokens, stored as {manifest.dtype}",
        f"folder: {folder.path}",
        "next: roots fit --config configs/run/quickstart.yaml"
        f" --data.init_args.shards {folder.path}",
    ]
    return "\n".join(lines)


def _notes(manifest: Manifest) -> list[str]:
    dropped = [f"dropped: {n:,} documents, {why}" for why, n in manifest.documents_dropped.items()]
    if manifest.places_replaced:
        dropped.append(
            f"replaced: {manifest.places_replaced:,} undecodable places by U+FFFD; when that is"
            " more than you expect, set the source's encoding"
        )
    return dropped
