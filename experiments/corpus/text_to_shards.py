"""How fast does text become shards, beside `datasets.map` and datatrove? Equal ids are asserted.

    pip install -e '.[corpus,datatrove]'
    PYTHONPATH=. python experiments/corpus/text_to_shards.py --work /tmp/shards --megabytes 200

One JSON-lines file, one tokenizer (byte-level BPE), one process and one thread each; the seconds
are of processor time, user and system, of whole processes; they take turns. A document is its
tokens and one that ends it, whoever writes it: the ids of all documents, in order, must be equal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from real_texts import real_texts

EOS = "<|endoftext|>"
GOALS = {"datasets.map": 4.0, "datatrove": 4.0}


def with_roots(work: Path) -> Iterable[np.ndarray]:
    """Makes shards: manifest, checksums and the proof of the fast encoder included."""
    from roots.corpus import Corpus, Existing
    from roots.shards import ShardFolder
    from roots.sources import Jsonl

    out, tokenizer = str(work / "roots"), Existing(path=str(work / "tokenizer"))
    source = Jsonl(paths=str(work / "texts.jsonl"))
    Corpus(source=source, out=out, tokenizer=tokenizer, val_fraction=0.0, workers=1).prepare()
    yield ShardFolder.open(out).shard("train").tokens


def with_datasets(work: Path) -> Iterable[np.ndarray]:
    """Makes an Arrow file of input_ids, as transformers' run_clm.py does before it cuts rows."""
    from datasets import load_dataset
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(work / "tokenizer" / "tokenizer.json"))
    eos = tokenizer.convert_tokens_to_ids(EOS)

    def encode(rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        ids = tokenizer(rows["text"], add_special_tokens=False, return_attention_mask=False)
        return {"input_ids": [[*each, eos] for each in ids["input_ids"]]}

    files, cache = str(work / "texts.jsonl"), str(work / "datasets.map")
    rows = load_dataset("json", data_files=files, split="train", cache_dir=cache)
    made = rows.map(encode, batched=True, remove_columns=rows.column_names)
    for batch in made.with_format("arrow").iter(1000):
        yield np.concatenate(batch["input_ids"].to_numpy())


def with_datatrove(work: Path) -> Iterable[np.ndarray]:
    """Makes a .ds file and its index."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    out = work / "datatrove"
    steps = [
        JsonlReader(str(work), glob_pattern="texts.jsonl"),
        DocumentTokenizer(
            str(out / "tokens"),
            tokenizer_name_or_path=str(work / "tokenizer" / "tokenizer.json"),
            eos_token=EOS,
            shuffle_documents=False,
        ),
    ]
    LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=str(out / "logs")).run()
    (file,) = (out / "tokens").glob("*.ds")
    yield np.fromfile(file, dtype="<u2")


CONTENDERS: dict[str, Callable[[Path], Iterable[np.ndarray]]] = {
    "roots": with_roots,
    "datasets.map": with_datasets,
    "datatrove": with_datatrove,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="a folder for what is made")
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--vocab-size", type=int, default=16_384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="where to write the numbers")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.contender:
        print(digest(CONTENDERS[asked.contender](asked.work)))
        return 0
    n_texts, n_bytes = prepare(asked.work, asked.megabytes, asked.vocab_size)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    digests = {}
    for turn in range(asked.rounds):
        for name in CONTENDERS:
            taken, digests[name] = measured(name, asked.work)
            seconds[name].append(taken)
            print(f"round {turn + 1}: {name} {taken:.1f} s", flush=True)
    report(seconds, n_texts, n_bytes)
    if asked.out:
        found = {"texts": n_texts, "bytes": n_bytes, "seconds": seconds, "digests": digests}
        asked.out.write_text(json.dumps(found, indent=2) + "\n")
    equal = len(set(digests.values())) == 1
    print(f"ids of all documents equal: {equal} ({digests})")
    return 0 if equal else 1


def prepare(work: Path, megabytes: float, vocab_size: int) -> tuple[int, int]:
    """Writes texts and tokenizer. A text that writes out the end token is left out.

    The others would make the special token of it, and roots does not.
    """
    from roots.corpus import BytePairs

    work.mkdir(parents=True, exist_ok=True)
    texts = list(real_texts(megabytes, without=EOS))
    with (work / "texts.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    if not (work / "tokenizer").is_dir():
        sample = texts[: max(1, len(texts) // 8)]
        BytePairs(vocab_size=vocab_size).make(sample).save(work / "tokenizer")
    return len(texts), sum(len(text.encode()) for text in texts)


def measured(name: str, work: Path) -> tuple[float, str]:
    """Runs a contender from nothing; gives the processor's seconds and the digest of its ids."""
    shutil.rmtree(work / name, ignore_errors=True)
    command = [sys.executable, __file__, "--work", str(work), "--contender", name]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    threads |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    before = os.times()
    done = subprocess.run(
        command, env=os.environ | threads, capture_output=True, text=True, check=False
    )
    after = os.times()
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
    return sum(after[2:4]) - sum(before[2:4]), done.stdout.split()[-1]


def digest(parts: Iterable[np.ndarray]) -> str:
    """Sums all ids up, whatever type they are kept in."""
    found = hashlib.sha256()
    for part in parts:
        for start in range(0, len(part), 2**20):
            found.update(part[start : start + 2**20].astype("<u4").tobytes())
    return found.hexdigest()[:16]


def report(seconds: dict[str, list[float]], n_texts: int, n_bytes: int) -> None:
    packages = [f"{name} {version(name)}" for name in ("datasets", "datatrove", "tiktoken")]
    print(f"\n{n_texts:,} texts, {n_bytes / 1e6:.1f} MB; {', '.join(packages)}")
    print("| who | CPU-seconds, least to most | MB/s | times roots, in the rounds | goal |")
    print("|---|---|---|---|---|")
    for name, every in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(every, seconds["roots"], strict=True)]
        print(
            f"| {name} | {min(every):.1f} to {max(every):.1f} ({len(every)})"
            f" | {n_bytes / 1e6 / statistics.median(every):.1f}"
            f" | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            f" | {GOALS.get(name, '')} |"
        )


if __name__ == "__main__":
    sys.exit(main())
