"""A corpus of drawn ids that is several blocks large."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from roots.corpus import adopt
from roots.shards import ShardWriter
from roots.tokenizer import Tokenizer


def write_many_blocks(folder: Path, tokenizer_of: Path) -> Path:
    """Writes 500,000 tokens to train on and 150,000 to validate on, with another's tokenizer."""
    tokenizer = Tokenizer.load(tokenizer_of / "tokenizer")
    drawn = np.random.default_rng(5)
    folder.mkdir(parents=True)
    for split, n_tokens in (("train", 500_000), ("val", 150_000)):
        with ShardWriter(folder / split, vocab_size=tokenizer.vocab_size) as writer:
            while writer.n_tokens < n_tokens:
                ids = drawn.integers(1, tokenizer.vocab_size, size=drawn.integers(5, 900))
                ids[ids == tokenizer.eos_id] = 1 + (tokenizer.eos_id == 1)
                writer.add([*ids.tolist(), tokenizer.eos_id])
    shutil.copytree(tokenizer_of / "tokenizer", folder.parent / "tokenizer-of-both")
    adopt(folder=str(folder), tokenizer=str(folder.parent / "tokenizer-of-both"))
    return folder
