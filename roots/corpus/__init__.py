"""Text in, shards out: survey, tokenizer, encoding, manifest.

corpus.py          Corpus, the ShardMaker that `roots corpus` and a data module run
stage.py           Stage (one document at a time) and Pass (all of them)
stages/            the stages, a file each: normalise, language, quality, PII
duplicates/        the passes: exact and near duplicates, repeated lines, contamination
engines/           the stages as steps of datatrove, and under Ray Data: beyond one machine
splitters.py       how a text becomes words, by name
lowercase_words.py the words by which documents are compared
segments.py        a pipeline cut before each pass
spooling.py        a pipeline run into a spool, from where a killed run ended
pipeline.py        Pipeline: a list of them, run over any source; Run
passing.py         a pass at work: spread over the workers, its findings taken out
noted_pass.py      NotedPass: a pass that notes how far it is, so that a killed one goes on
noted_parts.py     what of one step of a pass is finished, with sums
staging.py         stages over a batch of documents: the job of a worker that decides
books.py           Books: what came in, went on and was dropped, by part, reason and source
books_table.py     the same as a table
spool.py           documents on disk between two parts
intake.py          what a build takes in: the pipeline's documents, examples of drops, rejects
byte_pairs.py      BytePairs: a byte-level BPE, trained on the documents of the train split
unigram.py         Unigram: a byte-level unigram model, trained on the same
unigram_fit.py     its pieces and their probabilities, fitted to counted words
unigram_seeds.py   the pieces that it starts from
lattices.py        all ways to cut words into pieces, and what they weigh
special_tokens.py  the special tokens of byte-level tokenizers, and what they are for
word_piece.py      WordPiece: BERT's, trained on the documents of the train split
characters.py      Characters: one token per character of the documents of the train split
existing.py        Existing: a tokenizer that is already there
splitting.py       which split a document belongs to: a pure function of its text
building.py        Build: intake, tokenizer, shards, manifest
journal.py         what of a build is finished, with sums, so that a killed one goes on
notes.py           a file of plain values with their sum, there whole or not at all
identity.py        what decides which bytes a build gives: settings, files, code
noted_writer.py    the shards of a build, which go on where a killed one was
survey.py          the first pass: counts, splits, fingerprint; trouble shows before it costs
cutting.py         long texts in parts whose encodings add up to that of the whole
encoding.py        the last pass: documents to tokens, in order, with any number of workers
pool.py            the worker processes, seen from the parent
worker.py          a worker process
inputs.py          which files a folder was made from, and whether they changed
tally.py           what is counted of the documents that are written, for the card
card.py            what a folder of shards tells of itself, for a person: the data card
card_markdown.py   the card as README.md, as the Hub shows it
recipe.py          which settings changed since a folder was made
progress.py        the line on stderr
adopt.py           a manifest for .bin and .idx files that came from elsewhere
command.py         `roots corpus`
"""

from __future__ import annotations

from roots.corpus.adopt import adopt
from roots.corpus.books import Books
from roots.corpus.byte_pairs import BytePairs
from roots.corpus.characters import Characters
from roots.corpus.corpus import Corpus
from roots.corpus.duplicates import (
    Contamination,
    ExactDuplicates,
    NearDuplicates,
    RepeatedLines,
)
from roots.corpus.existing import Existing
from roots.corpus.pipeline import Pipeline
from roots.corpus.splitting import split_of
from roots.corpus.stage import OrderedMap, Part, Pass, Stage
from roots.corpus.stages import (
    C4Quality,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    Language,
    Normalise,
    PersonNames,
    Pii,
)
from roots.corpus.unigram import Unigram
from roots.corpus.word_piece import WordPiece
from roots.tokenizer import TokenizerPlan

__all__ = [
    "Books",
    "BytePairs",
    "C4Quality",
    "Characters",
    "Contamination",
    "Corpus",
    "ExactDuplicates",
    "Existing",
    "FineWebQuality",
    "GopherQuality",
    "GopherRepetition",
    "Language",
    "NearDuplicates",
    "Normalise",
    "OrderedMap",
    "Part",
    "Pass",
    "PersonNames",
    "Pii",
    "Pipeline",
    "RepeatedLines",
    "Stage",
    "TokenizerPlan",
    "Unigram",
    "WordPiece",
    "adopt",
    "split_of",
]
