"""`roots fill`: guesses the hidden tokens of a text, in the terminal."""

from __future__ import annotations

import argparse
import json

from roots.inference.arguments import Parser, add_source, named_source
from roots.inference.command import show, typed


def main(args: list[str]) -> int:
    """Runs the verb; gives the exit code.

    Raises:
        UserError: An argument is wrong, or the network cannot be read.
    """
    given = _parser().parse_args(args)
    text = typed(given.text, "The text")
    path, checkpoint = named_source(given)
    from roots.inference.filling import fill
    from roots.inference.loading import load
    from roots.networks import MASKED_LM

    loaded = load(
        path, checkpoint=checkpoint, device=given.device, dtype=given.dtype, head=MASKED_LM
    )
    found = fill(loaded.network, loaded.tokenizer, text, k=given.k)
    if given.json:
        masks = [[{"token": g.text, "probability": g.probability} for g in each] for each in found]
        show(json.dumps({"text": text, "masks": masks}) + "\n")
        return 0
    for number, each in enumerate(found, start=1):
        told = (f"{visible(guess.text)} {guess.probability:.3f}" for guess in each)
        show(f"{number}  {'  '.join(told)}\n")
    return 0


def visible(text: str) -> str:
    """Gives a token without the space that it begins with; of one that is white space, its code."""
    return text.strip() or repr(text)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="roots fill",
        description="Guesses the hidden tokens of a text with a masked language model: a line for"
        " each, the likeliest tokens with their probabilities.",
        epilog='example: roots fill --run runs/bert_small_stdlib/0001 "import <mask>"',
        allow_abbrev=False,
    )
    add_source(parser)
    add = parser.add_argument
    add("text", metavar="TEXT", help="the text, with [MASK] (or <mask>) where a token is hidden")
    add("-k", type=int, default=5, metavar="N", help="guesses for each (%(default)s)")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, mps (%(default)s)")
    add("--dtype", default="auto", metavar="NAME", help="float32, bfloat16, float16 (%(default)s)")
    add("--json", action="store_true", help="print one JSON object")
    return parser
