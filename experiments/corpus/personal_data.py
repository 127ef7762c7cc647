"""How fast is personal data found, beside presidio's patterns, and is all found that was planted?

    python -m venv --system-site-packages presidio-environment    # or one that has roots already
    presidio-environment/bin/pip install 'presidio-analyzer==2.2.366'
    PYTHONPATH=. presidio-environment/bin/python experiments/corpus/personal_data.py

Real text, with values of six kinds planted between its words. One process, one core; seconds are
of this process's processor time; the contenders take turns. presidio's recognizers by pattern are
asked directly, without its language model, which names of persons would need.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    PhoneRecognizer,
)
from real_texts import real_texts

from roots.corpus import Pii
from roots.corpus.stages.pii_numbers import luhn, mod_97

Finder = Callable[[str], list[tuple[int, int]]]
KINDS = ("email", "iban", "card", "ipv6", "ipv4", "phone")
GOAL = 15.0
EVERY = 20_000
"""A value is planted in about so many characters."""


class Planted(NamedTuple):
    """A text with values in it, and where they stand."""

    text: str
    places: list[tuple[int, int, str]]


def planted(texts: Iterator[str], seed: int) -> Iterator[Planted]:
    """Plants values between words, of each kind in turn."""
    drawer = random.Random(seed)
    kinds = 0
    for text in texts:
        parts, done, at, places = [], 0, 0, []
        for _ in range(max(1, len(text) // EVERY)):
            gap = text.find(" ", done + drawer.randrange(EVERY // 2))
            if gap < 0:
                break
            kind = KINDS[kinds % len(KINDS)]
            value = VALUES[kind](drawer)
            parts += [text[done:gap], " ", value]
            start = at + gap - done + 1
            at = start + len(value)
            places.append((start, at, kind))
            done, kinds = gap, kinds + 1
        yield Planted("".join([*parts, text[done:]]), places)


def email(drawer: random.Random) -> str:
    name = "".join(drawer.choices("abcdefghijklmnopqrstuvwxyz", k=7))
    return f"{name}.{drawer.randrange(100)}@{drawer.choice(('gmail.com', 'web.de'))}"


def digits(drawer: random.Random, count: int) -> str:
    return "".join(drawer.choices("0123456789", k=count))


def card(drawer: random.Random) -> str:
    body = "4" + digits(drawer, 14)
    number = next(body + last for last in "0123456789" if luhn(body + last))
    return drawer.choice((number, "-".join(number[i : i + 4] for i in range(0, 16, 4))))


def iban(drawer: random.Random) -> str:
    account = digits(drawer, 18)
    return next(each for check in range(100) if mod_97(each := f"DE{check:02}{account}"))


def ipv4(drawer: random.Random) -> str:
    return f"93.184.{drawer.randrange(256)}.{drawer.randrange(1, 255)}"


def ipv6(drawer: random.Random) -> str:
    groups = (f"{drawer.randrange(1, 2**16):x}" for _ in range(6))
    return ":".join(("2a01", "4f8", *groups))


def phone(drawer: random.Random) -> str:
    line = f"{drawer.randrange(2, 10)}{digits(drawer, 2)}-{digits(drawer, 4)}"
    return drawer.choice((f"(212) {line}", f"+1 212-{line}", f"+49 30 {digits(drawer, 8)}"))


VALUES = {"email": email, "iban": iban, "card": card, "ipv6": ipv6, "ipv4": ipv4, "phone": phone}


def with_roots(kinds: tuple[str, ...] | None = None) -> Finder:
    stage = Pii(kinds=kinds) if kinds else Pii()
    return lambda text: [(start, end) for start, end, _ in stage._places(text)]


def with_presidio() -> Finder:
    recognizers = [
        (EmailRecognizer(), "EMAIL_ADDRESS"),
        (IbanRecognizer(), "IBAN_CODE"),
        (CreditCardRecognizer(), "CREDIT_CARD"),
        (IpRecognizer(), "IP_ADDRESS"),
        (PhoneRecognizer(), "PHONE_NUMBER"),
    ]

    def find(text: str) -> list[tuple[int, int]]:
        found = (each.analyze(text, [kind], None) for each, kind in recognizers)
        return [(result.start, result.end) for results in found for result in results]

    return find


CONTENDERS = {
    "roots, the same kinds": lambda: with_roots(KINDS),
    "roots, all its kinds": with_roots,
    "presidio's patterns": with_presidio,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help="where to write the numbers")
    asked = parser.parse_args()
    corpus = list(planted(real_texts(asked.megabytes), asked.seed))
    size = sum(len(each.text.encode()) for each in corpus) / 1e6
    counts = Counter(kind for each in corpus for *_, kind in each.places)
    print(f"{len(corpus):,} texts, {size:.1f} MB; planted: {dict(counts)}")
    finders = {name: make() for name, make in CONTENDERS.items()}
    for find in finders.values():  # what is loaded at the first text is not measured
        measure(find, corpus[:20])
    seconds: dict[str, list[float]] = {name: [] for name in finders}
    found: dict[str, tuple[Counter[str], int]] = {}
    for _ in range(asked.rounds):
        for name, find in finders.items():
            taken, *found[name] = measure(find, corpus)
            seconds[name].append(taken)
    report(seconds, found, counts, size)
    if asked.out:
        recall = {name: dict(hits) for name, (hits, _) in found.items()}
        content = {"megabytes": size, "planted": counts, "found": recall, "seconds": seconds}
        asked.out.write_text(json.dumps(content, indent=2) + "\n")
    ours, theirs = found["roots, the same kinds"][0], found["presidio's patterns"][0]
    return 0 if all(ours[kind] >= theirs[kind] for kind in KINDS) else 1


def measure(find: Finder, corpus: list[Planted]) -> tuple[float, Counter[str], int]:
    """Gives the seconds, how many planted values of each kind were found whole, and other finds."""
    started = time.process_time()
    every = [find(each.text) for each in corpus]
    taken = time.process_time() - started
    hits: Counter[str] = Counter()
    others = 0
    for each, spans in zip(corpus, every, strict=True):
        for start, end, kind in each.places:
            hits[kind] += any(a <= start and end <= b for a, b in spans)
        others += sum(
            not any(a < end and start < b for start, end, _ in each.places) for a, b in spans
        )
    return taken, hits, others


def report(
    seconds: dict[str, list[float]],
    found: dict[str, tuple[Counter[str], int]],
    counts: Counter[str],
    megabytes: float,
) -> None:
    print("| who | MB/s (median) | seconds, least to most | planted and found | other places |")
    print("|---|---|---|---|---|")
    for name, every in seconds.items():
        hits, others = found[name]
        recall = ", ".join(f"{kind} {hits[kind]}/{counts[kind]}" for kind in KINDS)
        rate = megabytes / statistics.median(every)
        spread = f"{min(every):.2f} to {max(every):.2f} ({len(every)} rounds)"
        print(f"| {name} | {rate:.1f} | {spread} | {recall} | {others:,} |")
    theirs = statistics.median(seconds["presidio's patterns"])
    ratio = theirs / statistics.median(seconds["roots, the same kinds"])
    print(f"\nratio of medians {ratio:.1f} (goal {GOAL})")


if __name__ == "__main__":
    sys.exit(main())
