"""Two tiny corpora of one tokenizer, and a run that mixes them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tiny import tiny_config

from roots.corpus import Corpus, Existing
from roots.sources import Text


def write_plays(folder: Path, shards: Path) -> Path:
    """Makes a corpus of fewer and longer documents than the tiny one, by its tokenizer."""
    rng = random.Random(11)
    (folder / "text").mkdir()
    for number in range(24):
        words = [
            rng.choice(["enter", "exit", "the", "king", "and", "queen", "speak", "of", "war"])
            for _ in range(90)
        ]
        (folder / "text" / f"{number:02d}.txt").write_text(" ".join(words) + "\n")
    corpus = Corpus(
        source=Text(paths=[str(folder / "text")]),
        out=str(folder / "shards"),
        tokenizer=Existing(path=str(shards / "tokenizer")),
        val_fraction=0.2,
        workers=1,
    )
    return corpus.prepare(progress=False)


def mixture(news: Path, plays: Path, **settings: Any) -> dict[str, Any]:
    """The plain form of a mixture, of 3 and 1 where nothing else is said."""
    weights = {} if "phases" in settings else {"weights": {"news": 3, "plays": 1}}
    corpora = {"news": str(news), "plays": str(plays)}
    arguments = {"corpora": corpora, **weights, **settings}
    return {"class_path": "roots.data.Mixture", "init_args": arguments}


def mixed_config(
    news: Path, plays: Path, runs: Path, *, mix: dict[str, Any] | None = None, **trainer: Any
) -> dict[str, Any]:
    """The run file of a tiny run over both."""
    config = tiny_config(news, runs, **trainer)
    config["data"]["init_args"]["shards"] = mixture(news, plays, **(mix or {}))
    return config
