"""A corpus that a run file makes: never made anew under weights that know its old tokens."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import WORDS, tiny_config

import roots
from roots.cli import run as command
from roots.errors import CheckpointError
from roots.fit import compose
from roots.fit.reproduce import reproduce
from roots.runs import Run, load_metrics

pytestmark = pytest.mark.heavy

NEW = "zebra quark oxide jump whale " * 30


class Made:
    """A run on a corpus that its run file makes.

    Args:
        folder: Where all of it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.text, self.shards, self.added = folder / "text", folder / "made", folder / "text/x.txt"
        self.text.mkdir()
        rng = random.Random(3)
        for number in range(60):
            words = " ".join(rng.choice(WORDS) for _ in range(40))
            (self.text / f"{number:02d}.txt").write_text(f"{words}.\n")
        source = {"class_path": "roots.sources.Text", "init_args": {"paths": [str(self.text)]}}
        tokens = {"class_path": "roots.corpus.BytePairs", "init_args": {"vocab_size": 300}}
        arguments = {"source": source, "tokenizer": tokens, "out": str(self.shards), "workers": 1}
        self.config = tiny_config(self.shards, folder / "runs", max_steps=3)
        self.config["data"]["init_args"]["shards"] = {
            "class_path": "roots.corpus.Corpus",
            "init_args": {**arguments, "val_fraction": 0.2},
        }
        self.run: Run = compose(self.config).fit()

    def files(self) -> dict[Path, bytes]:
        """What must stay: the corpus, and the run."""
        found = [*self.shards.rglob("*"), *self.run.path.rglob("*")]
        return {path: path.read_bytes() for path in found if path.is_file()}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


MORE = {"trainer.max_steps": 5}


def test_changed_text_is_refused_before_anything_is_made_and_each_way_out_goes(
    made: Made, tmp_path: Path
) -> None:
    made.added.write_text(NEW)
    before = made.files()
    run = str(made.run.path)
    words = rf"{made.shards} does not fit what data\.shards of .*x\.txt, in all 1 files.*"
    words += rf"--data\.shards {made.shards}\).*--data\.shards\.out FOLDER\)"
    for verb in (["fit", "--resume", run], ["validate", "--run", run], ["predict", "--run", run]):
        with pytest.raises(CheckpointError, match=words):
            command(verb)
    with pytest.raises(CheckpointError, match=words):
        roots.resume(run, MORE)
    with pytest.raises(CheckpointError, match=words):
        reproduce(run).fit()
    assert made.files() == before
    with pytest.raises(CheckpointError, match=r"its recipe changed: .*seed"):
        roots.resume(run, {"data.shards.seed": 2})

    elsewhere = roots.resume(run, {**MORE, "data.shards.out": str(tmp_path / "elsewhere")})
    with pytest.raises(CheckpointError, match=r"elsewhere are not those that .* was trained on"):
        elsewhere.fit()
    assert made.files() == before
    assert command(["validate", "--run", run, "--data.shards", str(made.shards)]) == 0
    roots.resume(run, {**MORE, "data.shards": str(made.shards)}).fit()
    made.added.unlink()
    roots.resume(run, {"trainer.max_steps": 6}).fit()
    assert list(load_metrics(made.run.metrics_file).rows) == [1, 2, 3, 4, 5, 6]


def test_what_is_gone_is_made_and_held_against_the_run_before_a_step(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(made.shards)
    made.added.write_text(NEW)
    before = made.files()
    with pytest.raises(CheckpointError, match=r"made are not those that .* was trained on"):
        roots.resume(made.run.path, MORE).fit()
    shutil.rmtree(made.shards)
    flags = ["fit", "--resume", str(made.run.path), "--trainer.max_steps", "5"]
    with pytest.raises(CheckpointError, match="are not those"):
        command(flags)
    assert "sequences to train on" not in capsys.readouterr().out, "the plan is not shown"
    shutil.rmtree(made.shards)
    assert made.files() == before
    made.added.unlink()
    assert command(flags) == 0


def test_of_a_mixture_the_corpus_is_named(made: Made, tmp_path: Path) -> None:
    arguments = made.config["data"]["init_args"]
    other = shutil.copytree(made.shards, tmp_path / "other")
    corpora: dict[str, Any] = {"own": arguments["shards"], "other": str(other)}
    arguments["shards"] = {"class_path": "roots.data.Mixture", "init_args": {"corpora": corpora}}
    run = compose(made.config).fit()
    made.added.write_text(NEW)
    with pytest.raises(CheckpointError, match=r"--data\.shards\.corpora\.own (\S+)\)") as refused:
        roots.resume(run.path, MORE)
    assert f"--data.shards.corpora.own {made.shards})" in str(refused.value)
    roots.resume(run.path, {**MORE, "data.shards.corpora.own": str(made.shards)})
