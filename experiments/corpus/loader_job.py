"""One contender, in a process of its own: reads all rows once, and again whenever it is asked.

`loader.py` starts it, with the job as JSON.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

Job = dict[str, Any]
IGNORE = -100
Results = Iterator[dict[str, Any]]


def main() -> None:
    job = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    for result in CONTENDERS[job["contender"]](job):
        print(json.dumps(result), flush=True)


def measured(job: Job, who: str, epoch: Callable[[], Iterable[torch.Tensor]]) -> Results:
    """Sums a hash of all rows; then measures the reading of them, once for each line of stdin."""
    drawn = np.random.default_rng(0).integers(0, 2**63, size=job["seq_len"], dtype=np.uint64)
    weights = torch.from_numpy((drawn | np.uint64(1)).view(np.int64))
    total, n_rows = 0, 0
    for batch in epoch():
        assert batch.dtype == torch.int64
        rows = (batch * weights).sum(1)
        total += int((rows ^ (rows >> 29)).sum())
        n_rows += len(batch)
    assert n_rows == job["n"], (n_rows, job["n"])
    yield {"who": who, "sum": total % 2**64}
    for _ in sys.stdin:
        started = time.process_time()
        for batch in epoch():
            batch[0, 0]
        yield {"seconds": time.process_time() - started}


def order(job: Job) -> np.ndarray:
    return np.random.default_rng(2).permutation(job["n"]).reshape(-1, job["rows"])


# -- the contenders ---------------------------------------------------------------------------


def roots(job: Job) -> Results:
    data = attached(Path(job["work"]) / "shards", job, steps=job["n"] // job["rows"])

    def epoch() -> Iterator[torch.Tensor]:
        for batch in data.train_dataloader():
            assert batch.labels.shape == batch.input_ids.shape
            yield batch.input_ids

    yield from measured(job, "roots: `TokenCorpus`, no workers, one thread ahead", epoch)


def memmap(job: Job) -> Results:
    tokens = np.memmap(Path(job["work"]) / "tokens.bin", dtype=np.uint16, mode="r")
    width = job["seq_len"]

    def epoch() -> Iterator[torch.Tensor]:
        for rows in order(job).tolist():
            inputs, labels = (
                torch.stack(
                    [
                        torch.from_numpy(tokens[at : at + width].astype(np.int64))
                        for at in (row * width + shift for row in rows)
                    ]
                )
                for shift in (0, 1)
            )
            assert labels.shape == inputs.shape
            yield inputs

    yield from measured(job, "a bare loop over `numpy.memmap`, as in nanoGPT", epoch)


def arrow(job: Job) -> Results:
    import datasets

    rows = datasets.load_from_disk(str(Path(job["work"]) / "arrow")).with_format("torch")
    loader = torch.utils.data.DataLoader(rows, batch_sampler=order(job).tolist())

    def epoch() -> Iterator[torch.Tensor]:
        for batch in loader:
            yield batch["input_ids"]

    yield from measured(
        job, f"Hugging Face Arrow: datasets {datasets.__version__}, no workers", epoch
    )


def run_clm(job: Job) -> Results:
    """The columns that transformers' run_clm.py trains on, each model input of them used."""
    import datasets
    import transformers

    rows = datasets.load_from_disk(str(Path(job["work"]) / "arrow-of-run-clm"))
    loader = torch.utils.data.DataLoader(
        rows.with_format("torch"),
        batch_sampler=order(job).tolist(),
        collate_fn=transformers.default_data_collator,
    )

    def epoch() -> Iterator[torch.Tensor]:
        for batch in loader:
            assert batch["labels"].shape == batch["attention_mask"].shape
            yield batch["input_ids"].long()

    yield from measured(job, "Hugging Face Arrow, the columns of run_clm.py", epoch)


def arrow_alike(job: Job) -> Results:
    """What roots gives, made by hand of rows that are one token longer; 0 ends a document."""
    import datasets

    rows = datasets.load_from_disk(str(Path(job["work"]) / "arrow-with-targets"))
    loader = torch.utils.data.DataLoader(
        rows.with_format("torch"), batch_sampler=order(job).tolist()
    )
    token_bytes = torch.arange(job["vocabulary"] - IGNORE) % 7
    token_bytes[IGNORE:] = 0

    def epoch() -> Iterator[torch.Tensor]:
        for batch in loader:
            inputs = batch["input_ids"][:, :-1].contiguous()
            labels = batch["input_ids"][:, 1:].masked_fill(inputs == 0, IGNORE)
            n_bytes = token_bytes[labels].sum(1)
            assert labels.shape == inputs.shape
            assert len(n_bytes) == len(inputs)
            yield inputs

    yield from measured(job, "Hugging Face Arrow, with targets and bytes by hand", epoch)


def litdata(job: Job) -> Results:
    from importlib.metadata import version

    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.item_loader import TokensLoader

    rows = StreamingDataset(
        str(Path(job["work"]) / "litdata"),
        item_loader=TokensLoader(block_size=job["seq_len"]),
        shuffle=True,
        seed=1,
    )
    loader = StreamingDataLoader(rows, batch_size=job["rows"], num_workers=0)

    def epoch() -> Iterator[torch.Tensor]:
        for batch in loader:
            yield batch.long()

    yield from measured(job, f"litdata {version('litdata')}, `TokensLoader`, no workers", epoch)


def prepare_litdata(job: Job) -> Results:
    """Writes chunks of a whole number of rows each."""
    from litdata.streaming.item_loader import TokensLoader
    from litdata.streaming.writer import BinaryWriter

    folder, width = Path(job["work"]) / "litdata", job["seq_len"]
    if (folder / "index.json").exists():
        return
    folder.mkdir(exist_ok=True)
    tokens = np.fromfile(Path(job["work"]) / "tokens.bin", dtype=np.uint16)[:-1]
    writer = BinaryWriter(str(folder), chunk_size=64 * 128 * width, item_loader=TokensLoader(width))
    for number, part in enumerate(np.split(tokens, len(tokens) // (32 * width))):
        writer[number] = torch.from_numpy(part)
    writer.done()
    writer.merge()
    yield {}


def large(job: Job) -> Results:
    """The first batch of a large corpus, and the memory that reading all over it takes."""
    from roots.data import TokenCorpus  # noqa: F401 - what is imported is not measured

    folder = Path(job["work"]) / "large"
    started = time.perf_counter()
    data = attached(folder, job, steps=10**6)
    items = iter(data.train_dataloader())
    next(items)
    seconds = time.perf_counter() - started
    before = anonymous_mib()
    most, n_steps = before, 3000
    for _ in range(n_steps):
        next(items)
        most = max(most, anonymous_mib())
    items.close()
    size = (folder / "train.bin").stat().st_size
    yield {
        "first_batch_seconds": seconds,
        "anonymous_mib": most - before,
        "tokens": size // 2,
        "gigabytes": size / 1e9,
        "read": n_steps * job["rows"] * job["seq_len"],
    }


def attached(folder: Path, job: Job, steps: int) -> Any:
    """The data module with the little of a trainer that it asks for."""
    from roots.data import TokenCorpus

    data = TokenCorpus(
        shards=str(folder),
        seq_len=job["seq_len"],
        sequences_per_step=job["rows"],
        val_fraction=0.0,
    )
    device = SimpleNamespace(type="cpu")
    strategy = SimpleNamespace(data_parallel_rank=0, data_parallel_size=1, root_device=device)
    data.trainer = SimpleNamespace(strategy=strategy, seed=1, global_step=0, max_steps=steps)
    return data


def anonymous_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


CONTENDERS = {
    "roots": roots,
    "bare memmap": memmap,
    "Hugging Face Arrow": arrow,
    "Arrow, as run_clm.py writes it": run_clm,
    "Arrow, as much as roots": arrow_alike,
    "litdata": litdata,
    "prepare litdata": prepare_litdata,
    "large": large,
}

if __name__ == "__main__":
    main()
