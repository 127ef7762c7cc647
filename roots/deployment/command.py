"""`roots export`: writes a Hugging Face folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from roots.inference.arguments import Parser, add_source, named_source


def main(args: list[str]) -> int:
    """Runs the verb; gives the exit code.

    Raises:
        UserError: An argument is wrong, the network cannot be read, or the folder not be written.
    """
    given = _parser().parse_args(args)
    path, checkpoint = named_source(given)
    if given.dry_run:
        _tell_plan(given, path, checkpoint)
        return 0
    from roots.deployment.exporting import export

    folder = export(
        path,
        given.to,
        checkpoint=checkpoint,
        dtype=given.dtype,
        overwrite=given.overwrite,
        merge=given.merge,
    )
    _tell(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="roots export",
        description="Writes a network as a Hugging Face folder that transformers opens.",
        epilog="example: roots export --run runs/quickstart/0001 --to exported/quickstart",
        allow_abbrev=False,
    )
    add_source(parser)
    add = parser.add_argument
    add("--to", required=True, metavar="DIR", help="the folder to write")
    add(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        default="auto",
        help="of the weights; auto keeps that of the source (%(default)s)",
    )
    add("--merge", action="store_true", help="of an adapter: add it to the weights of its base")
    add("--overwrite", action="store_true", help="replace an earlier export in DIR")
    add(
        "--dry-run", action="store_true", help="check and tell what would be written; write nothing"
    )
    return parser


def _tell_plan(given: argparse.Namespace, path: str, checkpoint: str) -> None:
    from roots.deployment.target import check_merge, check_target, target
    from roots.inference.finding import find
    from roots.networks.reading import files_read

    source, to = find(path, checkpoint=checkpoint), target(given.to)
    check_target(to, source.folder, overwrite=given.overwrite)
    check_merge(source.folder, merge=given.merge, dtype=given.dtype)
    source.check_undamaged()
    known = source.checkpoint
    step = "" if known is None else f", step {known.step:,}"
    size = sum(file.stat().st_size for file in files_read(source.folder))
    print(f"would export {source.name}{step} from {source.folder}")
    replaced = to.is_dir() and any(to.iterdir())
    print(f"          to {to} ({'replacing an earlier export' if replaced else 'new'})")
    print(f"     weights {_size(size)} in the source; written as {given.dtype}")


def _tell(folder: Path) -> None:
    from roots.deployment.card import how_to_load

    print(f"wrote {folder}")
    for path in sorted(folder.iterdir()):
        print(f"  {path.name:<24} {_size(path.stat().st_size):>12}")
    print(f"\nload it:\n{how_to_load(folder)}")


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.1f} MiB" if n_bytes >= 2**20 else f"{n_bytes / 2**10:,.1f} KiB"
