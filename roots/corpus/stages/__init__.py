"""The stages: what decides about one document at a time, a file each.

normalise.py          Normalise: Unicode form, line ends, control characters, white space
language.py           Language: keeps the languages that are asked for
words.py              the words of a text, split once and shared by the stages that count them
punctuation.py        which characters are punctuation, and which end a sentence
sentences.py          the sentences of a line
limits.py             the verdict of a rule that compares a number with a limit
repeats.py            what is repeated: lines, the top n-gram, n-grams that come again
gopher_quality.py     GopherQuality: words, symbols, bullets, stop words
gopher_repetition.py  GopherRepetition: repeated lines, paragraphs and n-grams
c4_quality.py         C4Quality: lines that are sentences
fineweb_quality.py    FineWebQuality: lists
pii.py                Pii: personal data and secrets become placeholders
pii_emails.py         where e-mail addresses are
pii_numbers.py        where cards, IBANs, telephones and IP addresses are
pii_secrets.py        where keys and tokens are
person_names.py       PersonNames: names of persons become a placeholder (extra `presidio`)
"""

from __future__ import annotations

from roots.corpus.stages.c4_quality import C4Quality
from roots.corpus.stages.fineweb_quality import FineWebQuality
from roots.corpus.stages.gopher_quality import GopherQuality
from roots.corpus.stages.gopher_repetition import GopherRepetition
from roots.corpus.stages.language import Language
from roots.corpus.stages.normalise import Normalise
from roots.corpus.stages.person_names import PersonNames
from roots.corpus.stages.pii import Pii

__all__ = [
    "C4Quality",
    "FineWebQuality",
    "GopherQuality",
    "GopherRepetition",
    "Language",
    "Normalise",
    "PersonNames",
    "Pii",
]
