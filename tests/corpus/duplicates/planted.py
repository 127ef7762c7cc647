"""A corpus of documents whose Jaccard similarities are known by construction."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from roots.records import Document

N = 5
_new_word = count()


@dataclass(frozen=True)
class Pair:
    """Two documents of a known similarity, by their places in the corpus."""

    first: int
    second: int
    similarity: Fraction


def fresh(n: int) -> list[str]:
    """Words that occur nowhere else, so that shingles of different documents never agree."""
    return [f"w{next(_new_word)}" for _ in range(n)]


def pair(n_shared: int, n_own: int) -> tuple[str, str, Fraction]:
    """Two texts that share exactly `n_shared` 5-word shingles and have `n_own` each besides.

    The words are all different, and only the ends differ: a common beginning of `n_shared + 4`
    words gives `n_shared` common shingles, `n_own` words after it give `n_own` others.
    """
    shared = fresh(n_shared + N - 1)
    texts = [" ".join([*shared, *fresh(n_own)]) for _ in range(2)]
    return texts[0], texts[1], Fraction(n_shared, n_shared + 2 * n_own)


def corpus(similarities: list[Fraction], *, seed: int) -> tuple[list[Document], list[Pair]]:
    """A shuffled corpus with a pair of each similarity, and as many documents without a twin."""
    rng = random.Random(seed)
    texts: list[tuple[str, int]] = []
    known = []
    for i, wanted in enumerate(similarities):
        n_own = rng.randint(1, 12)
        n_shared = round(wanted / (1 - wanted) * 2 * n_own) if wanted < 1 else rng.randint(5, 400)
        first, second, similarity = pair(max(n_shared, 1), n_own if wanted < 1 else 0)
        known.append(similarity)
        texts += [(first, i), (second, i), (" ".join(fresh(rng.randint(10, 300))), -1)]
    rng.shuffle(texts)
    places: dict[int, list[int]] = {}
    for place, (_, i) in enumerate(texts):
        places.setdefault(i, []).append(place)
    documents = [Document(text=text, id=f"d{place}") for place, (text, _) in enumerate(texts)]
    return documents, [Pair(*places[i], known[i]) for i in range(len(known))]
