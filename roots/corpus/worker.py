"""A worker process: reads batches of texts on stdin, writes their token ids on stdout.

It is a plain subprocess and not a `multiprocessing` one, because those run the caller's script
again (spawn), which a script without `if __name__ == "__main__"` does not survive, or copy a
process that has threads (fork), which may hang.

A message is a pickle; both ends are the same roots on the same machine.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from typing import BinaryIO

import numpy as np

from roots.tokenizer import Tokenizer

Encoded = tuple[bytes, list[int]]
"""The int32 ids of all texts of a batch, one after another, and how many each has."""


def encode(tokenizer: Tokenizer, texts: list[str]) -> Encoded:
    """Encodes a batch."""
    ids = [np.asarray(each, dtype=np.int32) for each in tokenizer.encode_batch(texts)]
    return b"".join(array.tobytes() for array in ids), [len(array) for array in ids]


def main(folder: str) -> None:
    """Answers batches until stdin ends, with what was encoded or the words of what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    answers = _take_stdout()
    tokenizer = Tokenizer.load(folder)
    while True:
        try:
            texts = pickle.load(sys.stdin.buffer)  # noqa: S301
        except EOFError:
            return
        try:
            answer: Encoded | str = encode(tokenizer, texts)
        except Exception as error:  # told to the parent, which raises it
            answer = f"{type(error).__name__}: {error}"
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _take_stdout() -> BinaryIO:
    """Keeps stdout for answers: whatever else prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers
