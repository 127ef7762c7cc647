"""The stages: what decides about one document at a time, a file each.

normalise.py          Normalise: Unicode form, line ends, control characters, white space
language.py           Language: keeps the languages that are asked for
words.py              the words of a text, split once and shared by the stages that count them
punctuation.py        which characters are punctuation, and which end a sentence
gopher_quality.py     GopherQuality: words, symbols, bullets, stop words
"""

from __future__ import annotations

from roots.corpus.stages.gopher_quality import GopherQuality
from roots.corpus.stages.language import Language
from roots.corpus.stages.normalise import Normalise

__all__ = ["GopherQuality", "Language", "Normalise"]
