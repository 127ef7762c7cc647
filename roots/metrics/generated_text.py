"""Generated text against references: BLEU, chrF, ROUGE and exact match."""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics.functional.text import rouge_score

from roots.errors import ConfigError, DataError, MissingExtra, nearest
from roots.metrics.summed import SummedMetric

TOKENIZERS = ("13a", "intl", "zh", "char", "none")  # sacrebleu's that need no further package
ROUGES = ("rouge1", "rouge2", "rougeL")
_ONE_BY_ONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


@cache
def _words() -> re.Pattern[str]:
    """Finds words of every script: letters and digits with the marks that belong to them."""
    signs = map(chr, range(sys.maxunicode + 1))
    marks = re.escape("".join(s for s in signs if unicodedata.category(s) in ("Mn", "Mc")))
    return re.compile(f"[{_ONE_BY_ONE}]|(?:[^\\W_{_ONE_BY_ONE}][{marks}]*)+")


def _unicode_words(text: str) -> list[str]:
    return _words().findall(unicodedata.normalize("NFC", text))


class GeneratedText(SummedMetric):
    """Measures generated text.

    Values: `bleu` and `chrf` of the corpus, 0 to 100, as sacrebleu has them; `rouge1`, `rouge2`,
    `rougeL`, the mean F of the rows, and `exact_match`, the share of rows that equal a reference
    but for white space at the ends, 0 to 1. Details: `signatures`, what sacrebleu says so that
    others can compare.

    Args:
        tokenizer: How sacrebleu cuts text for BLEU: `13a` (as published figures do), `intl`, `zh`
            for Chinese, `char`, or `none` for text that is cut already.
        lowercase: Make BLEU and chrF blind to case.
        chrf_words: Longest n-gram of words in chrF; 0 is chrF, 2 is chrF++.
        rouge_words: What a word is for ROUGE, always without case: `english` (a to z and digits, as
            in published figures; other letters are lost) or `unicode` (letters and digits of every
            script with their marks; a Chinese or Japanese character is a word).

    Raises:
        ConfigError: A choice that there is not.
        MissingExtra: sacrebleu is not installed.

    Source:
        BLEU and chrF: Post, arXiv:1804.08771, by sacrebleu, whose counts are summed over rows.
        ROUGE: Lin, W04-1013, by torchmetrics, without a stemmer; of several references the best.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("bleu", "chrf", *ROUGES, "exact_match")

    bleu_counts: Tensor
    chrf_counts: Tensor
    means: Tensor
    rows: Tensor
    fewest: Tensor
    most: Tensor

    def __init__(
        self,
        *,
        tokenizer: str = "13a",
        lowercase: bool = False,
        chrf_words: int = 0,
        rouge_words: str = "english",
    ) -> None:
        super().__init__()
        _check_choice("tokenizer", tokenizer, TOKENIZERS)
        _check_choice("rouge_words", rouge_words, tuple(_ROUGE_WORDS))
        if chrf_words < 0:
            raise ConfigError(
                f"chrf_words={chrf_words} is no length. Set it to 0, or 2 for chrF++."
            )
        self.rouge_words = rouge_words
        sacrebleu = _sacrebleu()
        self.bleu = sacrebleu.BLEU(tokenize=tokenizer, lowercase=lowercase, force=True)
        self.chrf = sacrebleu.CHRF(word_order=chrf_words, lowercase=lowercase)
        n_bleu, n_chrf = 2 + 2 * self.bleu.max_ngram_order, 3 * self.chrf.order
        counts = torch.long
        self.add_state("bleu_counts", torch.zeros(n_bleu, dtype=counts), dist_reduce_fx="sum")
        self.add_state("chrf_counts", torch.zeros(n_chrf, dtype=counts), dist_reduce_fx="sum")
        self.add_state("means", torch.zeros(4, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("rows", torch.zeros((), dtype=counts), dist_reduce_fx="sum")
        # the signature tells how many references the rows have, or that it varies
        most = torch.iinfo(counts).max
        self.add_state("fewest", torch.tensor(most, dtype=counts), dist_reduce_fx="min")
        self.add_state("most", torch.zeros((), dtype=counts), dist_reduce_fx="max")

    def update(
        self, predictions: Sequence[str], references: Sequence[str] | Sequence[Sequence[str]]
    ) -> None:
        """Adds rows.

        Args:
            predictions: The generated texts.
            references: The reference of each, or several of each.

        Raises:
            DataError: Lists of different lengths, or a row without references.
        """
        several = [[one] if isinstance(one, str) else list(one) for one in references]
        _check_rows(predictions, several)
        if not several:
            return
        numbers = [len(row) for row in several]
        self.rows += len(numbers)
        self.fewest.clamp_(max=min(numbers))
        self.most.clamp_(min=max(numbers))
        self.bleu_counts += self._counts(self.bleu, predictions, several)
        self.chrf_counts += self._counts(self.chrf, predictions, several)
        self.means += self._sums(predictions, several)

    def _counts(self, metric: Any, predictions: Sequence[str], several: list[list[str]]) -> Tensor:
        """The sufficient statistics that sacrebleu makes of each row, summed."""
        longest = max(map(len, several))
        streams = [
            [row[place] if place < len(row) else None for row in several]
            for place in range(longest)
        ]
        rows = metric._extract_corpus_statistics(list(predictions), streams)
        return torch.tensor(rows, device=self.device).sum(0)

    def _sums(self, predictions: Sequence[str], several: list[list[str]]) -> Tensor:
        """ROUGE-1, -2, -L and exact match, summed over the rows."""
        rows = [
            [*_rouge(text, references, self.rouge_words), _equal(text, references)]
            for text, references in zip(predictions, several, strict=True)
        ]
        return torch.tensor(rows, dtype=self.exact, device=self.device).sum(0)

    def _values(self) -> dict[str, float]:
        n_rows = int(self.rows)
        if not n_rows:
            return dict.fromkeys(self.NAMES, math.nan)
        corpus = [
            float(metric._compute_score_from_stats(counts.tolist()).score)
            for metric, counts in ((self.bleu, self.bleu_counts), (self.chrf, self.chrf_counts))
        ]
        means = [total / n_rows for total in self.means.tolist()]
        return dict(zip(self.NAMES, corpus + means, strict=True))

    def _details(self) -> dict[str, Any]:
        fewest, most = int(self.fewest), int(self.most)
        signatures = {}
        for name, metric in (("bleu", self.bleu), ("chrf", self.chrf)):
            metric.num_refs = most if fewest >= most else -1  # sacrebleu's "var"
            signatures[name] = str(metric.get_signature())
        return {"signatures": signatures}


def _rouge(text: str, references: list[str], words: str) -> list[float]:
    made = rouge_score(
        [text], [references], accumulate="best", rouge_keys=ROUGES, **_ROUGE_WORDS[words]
    )
    return [float(made[f"{name}_fmeasure"]) for name in ROUGES]


def _equal(text: str, references: list[str]) -> float:
    return float(text.strip() in [reference.strip() for reference in references])


_ROUGE_WORDS: dict[str, dict[str, Any]] = {
    "english": {},
    "unicode": {"normalizer": str.lower, "tokenizer": _unicode_words},
}


def _check_choice(setting: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ConfigError(
            f"There is no {setting} {given!r}{nearest(given, known)}."
            f" Set {setting} to one of {', '.join(known)}."
        )


def _check_rows(predictions: Sequence[str], several: list[list[str]]) -> None:
    if len(predictions) != len(several):
        raise DataError(
            f"{len(predictions)} generated texts cannot be compared with the references of"
            f" {len(several)} rows. Give one text for each row."
        )
    if [] in several:
        raise DataError(
            f"Row {several.index([])} of the batch has no reference, so that nothing can be"
            " compared. Give each row one reference or more, or leave the row out."
        )


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError as error:
        raise MissingExtra(
            "roots.metrics.GeneratedText needs the package sacrebleu, which is not installed."
            " Install it (pip install 'roots-lm[text-metrics]', or pip install -e '.[text-metrics]'"
            " in a clone)."
        ) from error
    return sacrebleu
