"""How fast is best-fit packing, and how much stays empty? No needless cut is asserted.

    PYTHONPATH=. python experiments/corpus/best_fit.py --shards /tmp/shards/roots

Documents of a folder of shards (text_to_shards.py leaves one in its work folder), and a million
whose lengths are drawn. One process; seconds are of processor time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from roots.data.best_fit import Packed, pack
from roots.shards import ShardFolder

GOAL_PADDING, GOAL_RATE = 0.002, 100_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True, help="a folder of shards")
    parser.add_argument("--seq-len", type=int, nargs="+", default=[1024, 2048, 8192])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="where to write the numbers")
    asked = parser.parse_args()
    shard = ShardFolder.open(asked.shards).shard("train")
    real = np.diff(shard.document_starts[:], append=len(shard.tokens))
    drawn = np.exp(np.random.default_rng(1).normal(5.8, 1.1, 1_000_000)).astype(np.int64) + 1
    found = [
        one(name, sizes, seq_len, asked.rounds)
        for name, sizes in (("of the shards", real), ("drawn, log-normal", drawn))
        for seq_len in asked.seq_len
    ]
    print("| documents | tokens of a row | rows | empty | documents/s (median) | least to most |")
    print("|---|---|---|---|---|---|")
    for each in found:
        rates = [each["documents"] / taken for taken in each["seconds"]]
        print(
            f"| {each['documents']:,} {each['who']} | {each['seq_len']:,} | {each['rows']:,}"
            f" | {each['empty']:.3%} | {statistics.median(rates):,.0f}"
            f" | {min(rates):,.0f} to {max(rates):,.0f} |"
        )
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def one(who: str, sizes: np.ndarray, seq_len: int, rounds: int) -> dict:
    starts = np.cumsum(sizes) - sizes
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        packed = pack(starts, sizes, seq_len)
        seconds.append(time.process_time() - started)
    check(packed, starts, sizes, seq_len)
    rows = len(packed.ends)
    empty = 1 - int(sizes.sum()) / (rows * seq_len)
    about = {"who": who, "documents": len(sizes), "seq_len": seq_len, "rows": rows, "empty": empty}
    return about | {"seconds": seconds}


def check(packed: Packed, starts: np.ndarray, sizes: np.ndarray, seq_len: int) -> None:
    """Asserts that every token lies in one row, no row is too long, and no cut was needless."""
    of_rows = np.add.reduceat(packed.sizes, np.concatenate([[0], packed.ends[:-1]]))
    assert of_rows.max() <= seq_len
    order = np.argsort(packed.starts)
    behind = packed.starts[order] + packed.sizes[order]
    assert packed.starts[order][0] == 0
    assert np.array_equal(packed.starts[order][1:], behind[:-1])
    assert behind[-1] == sizes.sum()
    assert len(packed.starts) == (-(-sizes // seq_len)).sum()
    assert np.isin(starts, packed.starts).all()


if __name__ == "__main__":
    sys.exit(main())
