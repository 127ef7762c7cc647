"""Corpora with a Unigram: the same with any number of workers, and runs learn from them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pairs import pairs_config, write_pairs
from text_corpus import contents, documents_of, line, made, put_text
from tiny import tiny_config
from tiny_masked import masked_config

from roots.corpus import Unigram
from roots.corpus.command import main
from roots.fit import compose
from roots.shards import ShardFolder


def test_a_corpus_is_the_same_with_any_number_of_workers(tmp_path: Path) -> None:
    put_text(tmp_path)
    plan = Unigram(vocab_size=320)
    corpus = made(tmp_path, "one", tokenizer=plan)
    one = corpus.prepare(progress=False)
    two = made(tmp_path, "two", tokenizer=plan, workers=2).prepare(progress=False)
    assert contents(one) == contents(two)
    folder = ShardFolder.open(one)
    back = [text for split in folder.splits for text in documents_of(folder, split)]
    assert sorted(back) == sorted(line(i) for i in range(300))
    named = {"class_path": "roots.corpus.Unigram", **plan.recipe()}
    assert folder.manifest.recipe["tokenizer"] == named
    assert folder.manifest.vocab_size == 320
    assert "roots.corpus.Unigram" in corpus.describe()


def test_the_command_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put_text(tmp_path)
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "roots.corpus.Unigram" in capsys.readouterr().out
    source = ["--source", "roots.sources.Text", "--source.paths", "text.txt"]
    chosen = ["--tokenizer", "roots.corpus.Unigram", "--tokenizer.vocab_size", "310"]
    given = [*source, "--source.document", "line", *chosen, "--out", "made", "--workers", "1"]
    assert main(given) == 0
    assert "vocabulary: 310 tokens" in capsys.readouterr().out
    assert "a vocabulary of 310, stored as uint16" in Path("made/README.md").read_text()


@pytest.mark.parametrize("masked", [False, True])
def test_a_run_learns_from_a_corpus_with_it(tmp_path: Path, masked: bool) -> None:
    put_text(tmp_path)
    plan = Unigram(vocab_size=330, special_tokens="roberta" if masked else "gpt2")
    shards = made(tmp_path, tokenizer=plan).prepare(progress=False)
    make = masked_config if masked else tiny_config
    run = compose(make(shards, tmp_path / "runs", max_steps=12))
    run.fit()
    metrics = run.trainer.callback_metrics
    assert float(metrics["val/loss"]) < math.log(330)


def test_a_run_on_pairs_of_texts_trains_one_for_both_sides(tmp_path: Path) -> None:
    config = pairs_config(write_pairs(tmp_path), tmp_path / "runs", callbacks=[])
    config["data"]["init_args"]["tokenizer"]["class_path"] = "roots.corpus.Unigram"
    run = compose(config)
    run.fit()
    tokenizer = run.data.tokenizer
    assert json.loads(tokenizer.definition)["model"]["type"] == "Unigram"
    assert tokenizer.pad_id == tokenizer.token_id("<pad>") == 1
    assert math.isfinite(float(run.trainer.callback_metrics["val/loss"]))
