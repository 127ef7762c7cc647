"""What only the whole corpus tells: copies, near copies, lines that are everywhere, test questions.

A folder of its own, because these passes share files that no other stage needs. Each pass is asked
`decide(documents, scratch)` and answers with a verdict per document, in order; it reads the
documents twice, keeps what it must remember on disk, and leaves its `findings` in `scratch`.

corpus_pass.py      CorpusPass, the face of a pass; Verdict, what it says of one document
exact.py            ExactDuplicates: the same text again
near.py             NearDuplicates: nearly the same words again, verified by exact Jaccard
lines.py            RepeatedLines: lines or paragraphs that occur in many documents
contamination.py    Contamination: documents that hold items of evaluation sets
evaluation_sets.py  the n-grams of the evaluation items, and whom they belong to
words.py            Splitter, how a text becomes words; Words, the usual one
normal_form.py      what counts as the same text
shingles.py         the set of hashed word n-grams of a text; exact Jaccard
minhash.py          a set as a short signature, and which sets share a band of it
equal_keys.py       which keys occur more than once in a file larger than memory
kept.py             the kept documents that share a band with a document, and their shingles
clusters.py         which documents fell for which kept one, as a file to look at
blocks.py           documents in blocks, mapped in order; two readings that must be equal
"""

from __future__ import annotations

from roots.corpus.duplicates.contamination import Contamination
from roots.corpus.duplicates.corpus_pass import CorpusPass, Drop, Edit, Keep, OrderedMap, Verdict
from roots.corpus.duplicates.exact import ExactDuplicates
from roots.corpus.duplicates.lines import RepeatedLines
from roots.corpus.duplicates.minhash import Banding
from roots.corpus.duplicates.near import NearDuplicates
from roots.corpus.duplicates.words import Splitter, Words

__all__ = [
    "Banding",
    "Contamination",
    "CorpusPass",
    "Drop",
    "Edit",
    "ExactDuplicates",
    "Keep",
    "NearDuplicates",
    "OrderedMap",
    "RepeatedLines",
    "Splitter",
    "Verdict",
    "Words",
]
