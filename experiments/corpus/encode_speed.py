"""How fast are byte pairs encoded through tiktoken, beside `tokenizers`? Equal ids are asserted.

    pip install -e '.[corpus]'
    TOKENIZERS_PARALLELISM=false PYTHONPATH=. python experiments/corpus/encode_speed.py

One process, one core; seconds are of this process's processor time; the two take turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time

from real_texts import real_texts

from roots.corpus import BytePairs
from roots.tokenizer.fast_pairs import FastPairs, why_not

TRAINING_TEXTS = 2_000
BATCH = 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=10.0)
    parser.add_argument("--vocab-size", type=int, default=16_384)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if os.environ.get("TOKENIZERS_PARALLELISM") != "false":
        parser.error("set TOKENIZERS_PARALLELISM=false, so that both have one core")
    corpus = list(real_texts(asked.megabytes))
    size = sum(len(text.encode()) for text in corpus) / 1e6
    tokenizer = BytePairs(vocab_size=asked.vocab_size).make(corpus[:TRAINING_TEXTS])
    started = time.process_time()
    why = why_not(tokenizer, [text[:16_384] for text in corpus[:64]])
    proof = time.process_time() - started
    if why is not None:
        print(f"not proved: {why}")
        return 1
    fast = FastPairs(tokenizer)
    seconds: dict[str, list[float]] = {"tokenizers": [], "tiktoken": []}
    n_equal = 0
    for turn in range(asked.rounds):
        taken = dict.fromkeys(seconds, 0.0)
        for start in range(0, len(corpus), BATCH):
            part = corpus[start : start + BATCH]
            started = time.process_time()
            slow_ids = tokenizer.encode_batch(part)
            between = time.process_time()
            fast_ids = [fast.encode(text) for text in part]
            taken["tiktoken"] += time.process_time() - between
            taken["tokenizers"] += between - started
            if not turn:
                n_equal += sum(a.tolist() == b for a, b in zip(fast_ids, slow_ids, strict=True))
        for name, every in seconds.items():
            every.append(taken[name])
    print(f"{len(corpus):,} texts, {size:.1f} MB; {platform.machine()}; proof {proof:.1f} s")
    for name, every in seconds.items():
        rate = size / statistics.median(every)
        print(f"| {name} | {min(every):.2f} to {max(every):.2f} s | {rate:.1f} MB/s |")
    ratio = statistics.median(seconds["tokenizers"]) / statistics.median(seconds["tiktoken"])
    print(f"ratio of medians {ratio:.1f}; equal ids: {n_equal:,} of {len(corpus):,} texts")
    return 0 if n_equal == len(corpus) else 1


if __name__ == "__main__":
    sys.exit(main())
