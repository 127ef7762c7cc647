"""Makes what every contender is given: the windows of real text, and the weights to start from.

The text is joined to one document, because litgpt cannot leave out a position: so every position
has a target, for everybody.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np


def prepare(wanted: dict[str, Any]) -> None:
    """Makes shards, windows and weights.

    Args:
        wanted: What to make: `text` (a folder of shards; empty takes the sources of this Python,
            whose shards go into `corpus`), `text_vocab_size`, `network`, `seq_len`,
            `sequences_per_step`, `steps`; and where it goes: `shards`, `windows`, `weights`.
    """
    join(wanted["text"] or corpus(wanted), Path(wanted["shards"]))
    write_windows(wanted)
    write_weights(wanted)


def corpus(wanted: dict[str, Any]) -> str:
    """Makes shards of the sources of this Python; gives their folder."""
    from roots.corpus import BytePairs, Corpus
    from roots.sources import StandardLibrary

    made = Corpus(
        source=StandardLibrary(),
        out=wanted["corpus"],
        tokenizer=BytePairs(vocab_size=wanted["text_vocab_size"]),
        val_fraction=0.0,
    )
    return str(made.prepare())


def join(source: str, out: Path) -> None:
    """Writes the tokens of all training documents as one document, which ends once."""
    from roots.corpus import adopt
    from roots.shards import ShardFolder, ShardWriter

    folder = ShardFolder.open(source)
    shard = folder.shard("train")
    shutil.rmtree(out, ignore_errors=True)
    with ShardWriter(out / "train", vocab_size=folder.manifest.vocab_size) as writer:
        for start in range(0, shard.n_tokens, 2**20):
            writer.extend(np.asarray(shard.tokens[start : start + 2**20]))
        writer.end_document()
    adopt(folder=str(out), tokenizer=str(folder.tokenizer_path))


def write_windows(wanted: dict[str, Any]) -> None:
    """Writes the step batches of roots as (steps, sequences, T + 1): inputs, and the last target.

    Raises:
        RuntimeError: A position has no target.
    """
    from roots.batch import IGNORE
    from roots.data import TokenCorpus, share_of
    from roots.data.steps import TrainSteps
    from roots.data.streams import InTurn, Shuffled

    rows, length = wanted["sequences_per_step"], wanted["seq_len"]
    data = TokenCorpus(
        shards=wanted["shards"], seq_len=length, sequences_per_step=rows, val_fraction=0.0
    )
    data.setup("fit")
    steps = TrainSteps(
        data.sequences("train"),
        data.token_bytes,
        stream=Shuffled(data.n_train, seed=1),
        order=InTurn(rows),
        share=share_of(rows, rank=0, ranks=1),
    )
    windows = np.empty((wanted["steps"], rows, length + 1), dtype=np.int32)
    for step in range(wanted["steps"]):
        batch = steps[step]
        windows[step, :, :-1] = batch.input_ids.numpy()
        windows[step, :, -1] = batch.labels[:, -1].numpy()
        if (batch.labels == IGNORE).any() or (batch.labels.numpy() != windows[step, :, 1:]).any():
            raise RuntimeError(
                f"Step {step} has positions whose target is not the next token."
                " Remove the work folder and prepare it again."
            )
    out = Path(wanted["windows"])
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name("unfinished.npy")
    np.save(temporary, windows)
    temporary.replace(out)


def write_weights(wanted: dict[str, Any]) -> None:
    """Draws the network of roots from seed 1 and writes it as a Hugging Face folder."""
    import torch

    from roots.networks import Scratch

    network = Scratch(config=wanted["network"]).build(None, seed=1, device=torch.device("cpu"))
    out = Path(wanted["weights"])
    temporary = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(temporary, ignore_errors=True)
    network.save_pretrained(temporary, max_shard_size="100GB")
    for old in (out, out.with_name(f"{out.name}-litgpt")):  # litgpt converts them anew
        shutil.rmtree(old, ignore_errors=True)
    temporary.replace(out)


if __name__ == "__main__":
    prepare(json.loads(Path(sys.argv[1]).read_text()))
