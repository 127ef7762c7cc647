"""What is counted of the documents that are written: by source, and who says that they may be."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from roots.corpus.splitting import fraction_of
from roots.corpus.survey import readable
from roots.records import Document

KEPT = "kept.json"
N_SAMPLES = 6
SAMPLE_CHARACTERS = 400
MOST_NAMES = 50
MOST_KNOWN = 100_000
OTHERS = "(others)"

LICENCE_KEYS = ("license", "licence")
ADDRESS_KEYS = ("url", "domain")
"""The metadata of a document that name its licence, and where it was found."""


class Tally:
    """Counts documents, bytes and tokens by source, licences and domains; draws a few samples.

    Args:
        source: The name of the source for documents that carry none.
        seed: Draws the samples, by their texts: the order of the documents does not matter.
    """

    def __init__(self, source: str, seed: int) -> None:
        self.source = source
        self.seed = seed
        self._counts: dict[str, Counter[str]] = {}
        self._licences: Counter[str] = Counter()
        self._domains: Counter[str] = Counter()
        self._samples: list[tuple[float, str, str, str]] = []  # a heap, the greatest draw first

    def document(self, document: Document, raw: bytes) -> str:
        """Counts a document; gives the name of its source."""
        source = document.source or self.source
        self._of(source).update(documents=1, bytes=len(raw))
        if licence := _said(document.metadata, LICENCE_KEYS):
            _count(self._licences, licence)
        if address := _said(document.metadata, ADDRESS_KEYS):
            _count(self._domains, domain_of(address))
        draw = -fraction_of(raw, self.seed, "card")
        sample = (draw, document.id, source, document.text[:SAMPLE_CHARACTERS])
        if len(self._samples) < N_SAMPLES:
            heapq.heappush(self._samples, sample)
        else:
            heapq.heappushpop(self._samples, sample)
        return source

    def tokens(self, source: str, n: int) -> None:
        """Counts tokens of a source, the eos after each document included."""
        self._of(source)["tokens"] += n

    def token_counts(self) -> dict[str, int]:
        """Gives the tokens of each source so far."""
        return {name: counts["tokens"] for name, counts in self._counts.items()}

    def add_tokens(self, counts: Mapping[str, int]) -> None:
        """Counts the tokens that were written before, by source."""
        for source, n in counts.items():
            self.tokens(source, n)

    def plain(self) -> dict[str, Any]:
        """Gives what was counted, the same for any order of equal documents."""
        names = ("id", "source", "text")
        return {
            "sources": {name: dict(self._counts[name]) for name in sorted(self._counts)},
            "licences": _most(self._licences),
            "domains": _most(self._domains),
            "samples": [
                dict(zip(names, sample[1:], strict=True)) for sample in sorted(self._samples)[::-1]
            ],
        }

    def write(self, folder: Path) -> None:
        """Writes it beside the shards."""
        text = json.dumps(self.plain(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / KEPT).write_text(text, encoding="utf-8", newline="")

    def _of(self, source: str) -> Counter[str]:
        return self._counts.setdefault(source, Counter(documents=0, bytes=0, tokens=0))


def domain_of(address: str) -> str:
    """Gives the host of a URL, without `www.`; what is none is taken as it is."""
    try:
        host = urlsplit(address).hostname if "//" in address else address
    except ValueError:
        return address
    return (host or address).lower().removeprefix("www.")


def _said(metadata: Mapping[str, object], keys: tuple[str, ...]) -> str:
    found = (metadata.get(key) for key in keys)
    said = (value.strip() for value in found if isinstance(value, str))
    return readable(next(filter(None, said), ""))


def _count(counts: Counter[str], name: str) -> None:
    """Counts a name; of more names than memory should hold, the new ones are counted together."""
    counts[name if name in counts or len(counts) < MOST_KNOWN else OTHERS] += 1


def _most(counts: Counter[str]) -> dict[str, int]:
    """Gives the most frequent names, and the rest as one."""
    ranked = sorted(counts.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0]))
    rest = sum(n for _, n in ranked[MOST_NAMES:])
    shown = dict(ranked[:MOST_NAMES])
    return shown | ({OTHERS: shown.get(OTHERS, 0) + rest} if rest else {})
