"""A tiny corpus and a tiny run that the tests share."""

from __future__ import annotations

import gc
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from shapes import check_shapes
from tiny import WORDS, tiny_config, without_pages

check_shapes()

settings.register_profile("roots", deadline=None)  # how long an example takes, the machine decides
settings.load_profile("roots")

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Else a test that calls the command's main would replace pytest itself by a fresh process.
os.environ.setdefault("GLIBC_TUNABLES", "")

# What a run leaves for the next one (compiled code, times of attention) stays within the session.
_CACHE = tempfile.TemporaryDirectory(prefix="roots-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Many threads on few shared cores wait for each other more than they work."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _what_is_there_stays() -> None:
    """Else a collection, every tenth test, looks through half a million objects of the imports."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_ranks_stay() -> Iterator[None]:
    """Else a run behind one that was launched here would wait for ranks that nobody starts."""
    names = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    before = {name: os.environ.get(name) for name in names}
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(autouse=True)
def _no_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who tests a page asks for `pages`."""
    if "pages" not in request.fixturenames:
        without_pages(monkeypatch)


@pytest.fixture
def pages() -> None:
    """Lets fits write their pages."""


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and twenty documents of different lengths, the same in every session."""
    folder = tmp_path_factory.mktemp("text")
    rng = random.Random(7)
    for number in range(120):
        n_words = rng.randint(3, 60)
        words = [rng.choice(WORDS) for _ in range(n_words)]
        (folder / f"{number:03d}.txt").write_text(" ".join(words) + ".\n")
    return folder


@pytest.fixture(scope="session")
def shards(text_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shards of the tiny corpus, with a validation split."""
    from roots.corpus import BytePairs, Corpus
    from roots.sources import Text

    out = tmp_path_factory.mktemp("corpora") / "tiny"
    corpus = Corpus(
        source=Text(paths=[str(text_folder)]),
        out=str(out),
        tokenizer=BytePairs(vocab_size=300),
        val_fraction=0.2,
        workers=1,
    )
    return corpus.prepare(progress=False)


@pytest.fixture(scope="session")
def masked_shards(text_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same texts in a WordPiece's tokens, which have a mask token."""
    from roots.corpus import Corpus, WordPiece
    from roots.sources import Text

    out = tmp_path_factory.mktemp("corpora") / "masked"
    corpus = Corpus(
        source=Text(paths=[str(text_folder)]),
        out=str(out),
        tokenizer=WordPiece(vocab_size=120),
        val_fraction=0.2,
        workers=1,
    )
    return corpus.prepare(progress=False)


@pytest.fixture
def config(shards: Path, tmp_path: Path) -> dict[str, Any]:
    """The run file of a tiny run, writing into a folder of its own."""
    return tiny_config(shards, tmp_path / "runs")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny BERT without a head, with its tokenizer."""
    from tiny_tasks import write_encoder

    return write_encoder(tmp_path_factory.mktemp("networks") / "tiny-bert")


@pytest.fixture(scope="session")
def plays(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second corpus, with the tokenizer of the tiny one."""
    from tiny_mixture import write_plays

    return write_plays(tmp_path_factory.mktemp("plays"), shards)
