"""Text in, shards out: survey, tokenizer, encoding, manifest.

corpus.py          Corpus, the ShardMaker that `roots corpus` and a data module run
byte_pairs.py      BytePairs: a byte-level BPE, trained on the documents of the train split
characters.py      Characters: one token per character of the documents of the train split
existing.py        Existing: a tokenizer that is already there
splitting.py       which split a document belongs to: a pure function of its text
building.py        Build: the stages, one after another
survey.py          the first pass: counts, splits, fingerprint; trouble shows before it costs
cutting.py         long texts in parts whose encodings add up to that of the whole
encoding.py        the last pass: documents to tokens, in order, with any number of workers
pool.py            the worker processes, seen from the parent
worker.py          a worker process
inputs.py          which files a folder was made from, and whether they changed
recipe.py          which settings changed since a folder was made
progress.py        the line on stderr
adopt.py           a manifest for .bin and .idx files that came from elsewhere
command.py         `roots corpus`
"""

from __future__ import annotations

from roots.corpus.adopt import adopt
from roots.corpus.byte_pairs import BytePairs
from roots.corpus.characters import Characters
from roots.corpus.corpus import Corpus
from roots.corpus.existing import Existing
from roots.corpus.splitting import split_of
from roots.tokenizer import TokenizerPlan

__all__ = ["BytePairs", "Characters", "Corpus", "Existing", "TokenizerPlan", "adopt", "split_of"]
