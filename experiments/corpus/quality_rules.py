"""How fast do the quality rules decide, beside datatrove's classes? Equal verdicts are asserted.

    python -m venv datatrove-environment
    datatrove-environment/bin/pip install 'datatrove==0.10.1' 'spacy>=3.8' numpy tokenizers
    PYTHONPATH=. datatrove-environment/bin/python experiments/corpus/quality_rules.py --megabytes 8

One process, one core; seconds are of this process's processor time; the contenders take turns.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
import random
import statistics
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from datatrove.data import Document as TheirDocument
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)

from roots.corpus import C4Quality, FineWebQuality, GopherQuality, GopherRepetition
from roots.corpus.splitters import SPLITTERS
from roots.corpus.stages.sentences import sentences
from roots.records import Document, Drop, Edit

Chain = Callable[[str], str]
"""Decides about a text: the reason of its drop, or nothing."""

THEIRS = (gopher_repetition_filter, gopher_quality_filter, fineweb_quality_filter)
DEFAULTS = [module.split_into_words for module in THEIRS]
DEFAULT_SENTENCES = c4_filters.split_into_sentences


def texts(megabytes: float, seed: int) -> list[str]:
    """Modules, docstrings and documents of this Python and its packages, in a drawn order."""
    roots = sorted({Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")})
    paths = [path for root in roots for path in sorted(root.rglob("*"))]
    found = sorted({text for path in paths for text in _texts_of(path)})
    random.Random(seed).shuffle(found)
    taken, size = [], 0
    for text in found:
        if size >= megabytes * 1e6:
            break
        taken.append(text)
        size += len(text.encode())
    return taken


def _texts_of(path: Path) -> Iterator[str]:
    if path.suffix not in (".py", ".md", ".rst", ".txt") or not path.is_file():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    if not 200 <= len(text) <= 200_000:
        return
    yield text
    if path.suffix == ".py":
        yield from _docstrings(text)


def _docstrings(text: str) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(tree):
        found = ast.get_docstring(node) if isinstance(node, kinds) else None
        if found and len(found) >= 600:
            yield found


def ours(words: str) -> Chain:
    stages = [
        GopherRepetition(words=words),
        GopherQuality(words=words),
        C4Quality(end_of_line=False),
        FineWebQuality(words=words),
    ]

    def chain(text: str) -> str:
        document = Document(text, "")
        for stage in stages:
            verdict = stage(document)
            if isinstance(verdict, Drop):
                return verdict.reason
            if isinstance(verdict, Edit):
                document = verdict.document
                if not document.text:
                    return "empty"
        return ""

    return chain


def theirs(words: str) -> Chain:
    filters = [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    split = lru_cache(5)(lambda text, _language: SPLITTERS[words](text)) if words else None
    divide = lru_cache(5)(lambda text, _language: sentences(text)) if words else None

    def chain(text: str) -> str:
        for module, default in zip(THEIRS, DEFAULTS, strict=True):
            module.split_into_words = split or default
        c4_filters.split_into_sentences = divide or DEFAULT_SENTENCES
        document = TheirDocument(text=text, id="")
        for each in filters:
            answer = each.filter(document)
            if answer is not True:
                return answer[1]
        return ""

    return chain


CHAINS = {
    "roots, unicode": lambda: ours("unicode"),
    "datatrove, unicode": lambda: theirs("unicode"),
    "roots, whitespace": lambda: ours("whitespace"),
    "datatrove, whitespace": lambda: theirs("whitespace"),
    "datatrove, its default (spaCy)": lambda: theirs(""),
}
RATIOS = [
    ("same words (unicode)", "datatrove, unicode", "roots, unicode", 1.5),
    ("same words (whitespace)", "datatrove, whitespace", "roots, whitespace", 1.5),
    ("default against unicode", "datatrove, its default (spaCy)", "roots, unicode", 5.0),
]


def measure(chain: Chain, corpus: list[str]) -> tuple[float, list[str]]:
    started = time.process_time()
    verdicts = [chain(text) for text in corpus]
    return time.process_time() - started, verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--default-rounds", type=int, default=2, help="of spaCy, which is slow")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--kept", action="store_true", help="only texts that no rule drops (words by white space)"
    )
    parser.add_argument("--out", type=Path, default=None, help="where to write the numbers")
    asked = parser.parse_args()
    corpus = texts(asked.megabytes, asked.seed)
    if asked.kept:
        keeps = ours("whitespace")
        corpus = [text for text in corpus if not keeps(text)]
    size = sum(len(text.encode()) for text in corpus) / 1e6
    print(f"{len(corpus):,} texts, {size:.1f} MB; {platform.processor() or platform.machine()}")
    seconds, verdicts = run(corpus, asked.rounds, asked.default_rounds)
    report(seconds, verdicts, size)
    if asked.out:
        content = {"megabytes": size, "texts": len(corpus), "seconds": seconds}
        asked.out.write_text(json.dumps(content, indent=2) + "\n")
    return check(verdicts)


def run(
    corpus: list[str], rounds: int, default_rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[str]]]:
    chains = {name: make() for name, make in CHAINS.items()}
    for chain in chains.values():  # what is loaded at the first text is not measured
        measure(chain, corpus[:20])
    seconds: dict[str, list[float]] = {name: [] for name in chains}
    verdicts: dict[str, list[str]] = {}
    for number in range(rounds):
        for name, chain in chains.items():
            if "default" in name and number >= default_rounds:
                continue
            taken, verdicts[name] = measure(chain, corpus)
            seconds[name].append(taken)
    return seconds, verdicts


def report(
    seconds: dict[str, list[float]], verdicts: dict[str, list[str]], megabytes: float
) -> None:
    print("| who | MB/s (median) | seconds, least to most | kept |\n|---|---|---|---|")
    for name, every in seconds.items():
        rate = megabytes / statistics.median(every)
        spread = f"{min(every):.2f} to {max(every):.2f} ({len(every)} rounds)"
        print(f"| {name} | {rate:.1f} | {spread} | {verdicts[name].count(''):,} |")
    print("\n| what | ratio of medians | goal |\n|---|---|---|")
    for what, slow, fast, goal in RATIOS:
        ratio = statistics.median(seconds[slow]) / statistics.median(seconds[fast])
        print(f"| {what} | {ratio:.1f} | {goal} |")
    print("\nmost frequent:", Counter(verdicts["roots, unicode"]).most_common(8))


def check(verdicts: dict[str, list[str]]) -> int:
    """Finds texts about which the same words led to different verdicts."""
    n_other = 0
    for words in ("unicode", "whitespace"):
        pairs = zip(verdicts[f"roots, {words}"], verdicts[f"datatrove, {words}"], strict=True)
        n_other += sum(one != other for one, other in pairs)
    print(f"verdicts that differ under the same words: {n_other}")
    return 1 if n_other else 0


if __name__ == "__main__":
    sys.exit(main())
