"""What only the whole corpus tells: copies, near copies, lines that are everywhere, test questions.

A folder of its own, because these passes share files that no other stage needs. Each reads the
documents up to twice, keeps what it must remember on disk, part by part, so that a killed one goes
on behind the last whole part, and leaves its `findings`.

exact.py            ExactDuplicates: the same text again
near.py             NearDuplicates: nearly the same words again, verified by exact Jaccard
lines.py            RepeatedLines: lines or paragraphs that occur in many documents
contamination.py    Contamination: documents that hold items of evaluation sets
evaluation_sets.py  the n-grams of the evaluation items, and whom they belong to
normal_form.py      what counts as the same text
shingles.py         the set of hashed word n-grams of a text; exact Jaccard
minhash.py          a set as a short signature, and which sets share a band of it
equal_keys.py       which keys occur more than once in a file larger than memory
groups.py           which documents share a band
kept.py             the kept documents that share a band with a document, and their shingles
clusters.py         which documents fell for which kept one, as a file to look at
blocks.py           documents in blocks: mapped in order, noted in parts; readings must be equal
"""

from __future__ import annotations

from roots.corpus.duplicates.contamination import Contamination
from roots.corpus.duplicates.exact import ExactDuplicates
from roots.corpus.duplicates.lines import RepeatedLines
from roots.corpus.duplicates.minhash import Banding
from roots.corpus.duplicates.near import NearDuplicates

__all__ = [
    "Banding",
    "Contamination",
    "ExactDuplicates",
    "NearDuplicates",
    "RepeatedLines",
]
