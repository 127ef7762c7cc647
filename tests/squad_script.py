"""The official script of SQuAD 2.0, evaluate-v2.0.py, written again from its algorithm."""

from __future__ import annotations

import re
import string


def official_tokens(text: str) -> list[str]:
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def official_scores(prediction: str, answers: list[str]) -> tuple[int, float]:
    """The exact match and F1 of one question, as evaluate-v2.0.py describes them."""
    golds = [a for a in answers if official_tokens(a)]
    if not golds:
        golds = [""]
    exact = max(int(official_tokens(a) == official_tokens(prediction)) for a in golds)
    f1s = []
    for gold in golds:
        a, b = official_tokens(gold), official_tokens(prediction)
        shared = sum(min(a.count(word), b.count(word)) for word in set(a))
        if not a or not b:
            f1s.append(float(a == b))
        elif not shared:
            f1s.append(0.0)
        else:
            precision, recall = shared / len(b), shared / len(a)
            f1s.append(2 * precision * recall / (precision + recall))
    return exact, max(f1s)


def official_report(rows: list[tuple[str, list[str], float]], threshold: float) -> dict[str, float]:
    scores = []
    for prediction, answers, no_answer in rows:
        pair: tuple[float, float] = official_scores(prediction, answers)
        if no_answer > threshold:
            pair = (float(not answers), float(not answers))
        scores.append((bool(answers), *pair))
    report = {}
    for part, kept in (
        ("", scores),
        ("/HasAns", [s for s in scores if s[0]]),
        ("/NoAns", [s for s in scores if not s[0]]),
    ):
        if kept:
            report[f"exact_match{part}"] = sum(s[1] for s in kept) / len(kept)
            report[f"f1{part}"] = sum(s[2] for s in kept) / len(kept)
    return report
