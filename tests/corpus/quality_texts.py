"""Texts for the quality rules: what this machine has, and what is near every limit."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from functools import cache

from roots.sources import StandardLibrary

_SIGNS = ["#", "...", "…", "•", "-", "--", "=", "１", "{", "[1]", "'t", "it's", "x_1", "...)", "12"]
_PHRASES = [
    "Lorem Ipsum",
    "javascript",
    "lorem[1] ipsum",
    "privacy policy",
    "[edit]",
    "use cookies",
]
_ENDS = [".", "?", "!", '"', "...", "…", ",", "", "", "。", ".)", " "]
_LINE_ENDS = ["\n", "\n", "\n", "\n\n", "\n \n\n", "\r\n", "\x0b", "\n\n\n", "\t\n"]
_STOP = ["the", "be", "to", "of", "and", "that", "have", "with"]


@cache
def real_texts() -> tuple[str, ...]:
    """The modules of the standard library, and their longer docstrings."""
    modules = [each.text for each in StandardLibrary().documents() if each.text.strip()]
    return (*modules, *(text for module in modules for text in _docstrings(module)))


def _docstrings(module: str) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(ast.parse(module)):
        text = ast.get_docstring(node, clean=False) if isinstance(node, kinds) else None
        if text and len(text) > 150:
            yield text


def made_texts(n: int, seed: int = 1) -> Iterator[str]:
    """Texts of few words, signs and repeated pieces, so that every rule decides about some."""
    rng = random.Random(seed)
    for _ in range(n):
        yield _made(rng)


def _made(rng: random.Random) -> str:
    vocabulary = [_word(rng) for _ in range(rng.choice([2, 5, 20, 80, 300]))]
    vocabulary += rng.sample(_STOP, rng.randint(0, 8)) * rng.choice([0, 1, 5])
    vocabulary += rng.choices(_SIGNS, k=rng.choice([0, 0, 1, 5, 30]))
    vocabulary += rng.choices(_PHRASES, k=rng.choice([0, 0, 0, 1]))
    lines = [_line(rng, vocabulary) for _ in range(rng.choice([1, 3, 10, 40]))]
    for _ in range(rng.choice([0, 0, 0, 1, 3, 10])):
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    ends = rng.choice([["\n"], ["\n\n"], _LINE_ENDS])
    text = "".join(line + rng.choice(ends) for line in lines)
    return rng.choice(["", "", "\n", " \n\n"]) + text + rng.choice(["", "end", "\n\n"])


def _word(rng: random.Random) -> str:
    letters = rng.choice(["ab", "abcdefghij", "abcdefghijklmnopqrstuvwxyzéß根", "0123456789"])
    return "".join(rng.choices(letters, k=rng.choice([1, 2, 4, 7, 12, 30])))


def _line(rng: random.Random, vocabulary: list[str]) -> str:
    words = rng.choices(vocabulary, k=rng.choice([1, 2, 5, 12, 30]))
    bullet = rng.choice(["", "", "", "- ", "• ", "  "])
    return bullet + " ".join(words) + rng.choice(_ENDS)


def edge_texts() -> list[str]:
    """Texts at which an implementation may trip."""
    sentence = "This is the kind of sentence that people have to be with, and so on."
    return [
        "a",
        ".",
        "\n.\n",
        " x ",
        "﻿\u200b",
        "１ １ １ １",
        "a b",
        "a b a b",
        " ".join(["1 2 3 4 5 6 7 8 9 10"] * 3),
        "12 3 4 5 6 1 23 4 5 6 1 2 34 5 6 " * 3,
        "\n\n".join([sentence] * 4),
        "\n".join([sentence] * 20),
        "\n".join(f"{sentence} {i}." for i in range(20)),
        "- " + "\n- ".join(f"{sentence} {i}" for i in range(40)),
        "\n".join(f"{sentence} {i}..." for i in range(40)),
        " ".join(["word"] * 100_001),
        " ".join(f"word{i} the of" for i in range(33_400)),
        sentence * 8 + " {",
        "x" * 1001 + " " + sentence,
        "\n".join(["A lorem ipsum it is, here."] * 9),
        "\n".join(f"Read the terms of use, number {i}." for i in range(9)),
        "根" * 3000,
        "。".join(["根本的な文章です"] * 60),
    ]
