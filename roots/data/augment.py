"""Training texts with words left out, exchanged or replaced: other ones in each epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from roots.data.back_translation import BackTranslation
from roots.errors import ConfigError, DataError
from roots.objectives import Key
from roots.records import expanded


class Augment:
    """Changes training texts a little each time that they are read.

    What becomes of a text is a function of (seed, row, epoch) and of nothing else, so that a run
    goes on as if it had not been interrupted, on any number of devices. Validation and test rows
    are never changed. What a run says of tokens and padding is of the rows as they are in the file.

    Args:
        rows: Share of the rows that are changed in an epoch, above 0, both texts of a pair; the
            others are read as they are.
        drop: Probability that a word is left out; one word of a text always stays.
        swap: So many exchanges of two words are made, as a share of the text's words.
        replace: Probability that a word that has synonyms is replaced by one of them.
        synonyms: A UTF-8 file with a group of words of like meaning on each line, separated by
            commas or tabs; each of them may stand for any other. Case counts.
        back_translation: Says a row that is changed in other words, before its words are changed:
            `{class_path: roots.data.BackTranslation, init_args: {there: opus/en-de, back:
            opus/de-en, out: wordings}}`.
        unit: What a word is: what spaces divide (`word`), or a `character`, for Chinese and other
            scripts without spaces.

    Raises:
        ConfigError: A number that is no share, or changes nothing, `replace` without `synonyms` or
            the other way round, or characters that shall be replaced by synonyms.
        DataError: The file of synonyms cannot be read, or has no group in it.

    Source:
        Wei & Zou, "EDA", arXiv:1901.11196, section 2, without random insertion; they recommend
        0.05 to 0.1 for each, and less the more rows there are.
    """

    def __init__(
        self,
        *,
        rows: float = 0.5,
        drop: float = 0.0,
        swap: float = 0.0,
        replace: float = 0.0,
        synonyms: str = "",
        back_translation: BackTranslation | None = None,
        unit: str = "word",
    ) -> None:
        shares = {"rows": rows, "drop": drop, "swap": swap, "replace": replace}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ConfigError(
                    f"augment.{name}={share:g} is no share. Set it from 0 to 1; 0.05 to 0.1 is"
                    " usual for drop, swap and replace."
                )
        if unit not in ("word", "character"):
            raise ConfigError(f"augment.unit={unit!r} is neither word nor character. Set one.")
        if bool(replace) != bool(synonyms):
            raise ConfigError(
                f"augment.replace={replace:g} beside augment.synonyms={synonyms!r} does nothing."
                " Set both, or neither."
            )
        if synonyms and unit == "character":
            raise ConfigError(
                "Synonyms are of words, and augment.unit: character knows none. Set augment.unit to"
                " word, or leave out augment.replace and augment.synonyms."
            )
        if not (drop or swap or replace or back_translation):
            raise ConfigError(
                "augment changes nothing: drop, swap and replace are 0. Set one of them (0.05 to"
                " 0.1 is usual), or back_translation, or leave out data.augment."
            )
        if not rows:
            raise ConfigError(
                "augment.rows=0 changes nothing. Set it above 0 (0.5 changes every second row), or"
                " leave out data.augment."
            )
        self.rows = rows
        self.drop = drop
        self.swap = swap
        self.replace = replace
        self.synonyms = synonyms
        self.back_translation = back_translation
        self.unit = unit

    def __call__(self, text: str, key: Key) -> str:
        """Changes a text, or leaves it, as its key decides."""
        return self.changed(text, key) if self.changes(key) else text

    def changes(self, key: Key) -> bool:
        """Tells whether the row of a key is among those that are changed."""
        return bool(key.generator().random() < self.rows)

    def changed(self, text: str, key: Key) -> str:
        """Changes a text as its key says."""
        chance = key.generator()
        chance.random()  # which decided whether
        if self.back_translation:
            text = self.back_translation.one_of(text, chance)
        if not (self.drop or self.swap or self.replace):
            return text
        words = text.split() if self.unit == "word" else list(text)
        words = self._dropped(self._swapped(self._replaced(words, chance), chance), chance)
        return (" " if self.unit == "word" else "").join(words)

    def prepare(self, texts: Iterable[str]) -> None:
        """Makes what must be there before a run begins: other wordings of these texts."""
        if self.back_translation:
            self.back_translation.make(texts)

    def check(self, texts: Iterable[str] = ()) -> None:
        """Raises DataError when synonyms, or other wordings of these texts, cannot be read."""
        if self.back_translation:
            self.back_translation.check(texts)
        if self.replace:
            _ = self.groups

    def fingerprint(self, of_rows: str, texts: Iterable[str] = ()) -> str:
        """Adds synonyms and other wordings to a fingerprint; it stays as it is without both."""
        if self.back_translation:
            wordings = [self.back_translation.wordings.get(text) for text in texts]
            of_rows = hashlib.sha256(f"{of_rows}{json.dumps(wordings)}".encode()).hexdigest()
        if not self.replace:
            return of_rows
        synonyms = json.dumps(self.groups, sort_keys=True)
        return hashlib.sha256(f"{of_rows}{synonyms}".encode()).hexdigest()

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """The synonyms of each word, without itself."""
        try:
            lines = Path(expanded(self.synonyms)).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"The synonyms in {self.synonyms} cannot be read: {error}. Correct"
                " data.augment.synonyms."
            ) from error
        groups: dict[str, list[str]] = {}
        for line in lines:
            words = [word.strip() for word in line.replace("\t", ",").split(",") if word.strip()]
            for word in words:
                others = [other for other in words if other != word]
                groups[word] = list(dict.fromkeys([*groups.get(word, []), *others]))
        groups = {word: others for word, others in groups.items() if others}
        if not groups:
            raise DataError(
                f"{self.synonyms} has no line with two words, separated by a comma or a tab. Write"
                " words of like meaning on one line: big, large, huge."
            )
        return groups

    # -- how -----------------------------------------------------------------------------------

    def _replaced(self, words: list[str], chance: np.random.Generator) -> list[str]:
        if not self.replace:
            return words
        drawn = chance.random((len(words), 2))
        return [
            self._other(word, which) if whether < self.replace else word
            for word, (whether, which) in zip(words, drawn.tolist(), strict=True)
        ]

    def _other(self, word: str, which: float) -> str:
        others = self.groups.get(word, [word])
        return others[int(which * len(others))]

    def _swapped(self, words: list[str], chance: np.random.Generator) -> list[str]:
        if not self.swap or len(words) < 2:
            return words
        words = list(words)
        for _ in range(_rounded(self.swap * len(words), chance)):
            one, other = chance.choice(len(words), size=2, replace=False)
            words[one], words[other] = words[other], words[one]
        return words

    def _dropped(self, words: list[str], chance: np.random.Generator) -> list[str]:
        if not self.drop or not words:
            return words
        kept = chance.random(len(words)) >= self.drop
        kept[chance.integers(len(words))] |= not kept.any()
        return [word for word, stays in zip(words, kept, strict=True) if stays]


def _rounded(number: float, chance: np.random.Generator) -> int:
    """Rounds up or down by chance, so that the mean is the number."""
    return int(number) + int(chance.random() < number - int(number))
