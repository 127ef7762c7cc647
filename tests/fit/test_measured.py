"""What a run's checkpoint measures on its own data and on others, and which it refuses."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tiny_tasks import classes, task_config, write_jsonl

from roots.cli import run as roots
from roots.corpus import BytePairs, Corpus, Existing
from roots.data import TokenCorpus
from roots.errors import DataError
from roots.evaluation import report_run
from roots.fit import compose
from roots.fit.measured import check_tokens
from roots.runs import Run
from roots.shards import ShardFolder
from roots.sources import Text
from roots.tokenizer import Tokenizer

OTHERS = "zu quark strange boson lepton gauge field tensor spinor metric manifold curvature\n"


def corpus_of(folder: Path, tokenizer: Any, name: str = "physics") -> str:
    (folder / "texts").mkdir(exist_ok=True)
    for number in range(40):
        (folder / "texts" / f"{number:02d}.txt").write_text(OTHERS * (1 + number % 5))
    corpus = Corpus(
        source=Text(paths=[str(folder / "texts")]),
        out=str(folder / name),
        tokenizer=tokenizer,
        val_fraction=0.3,
        test_fraction=0.2,
        workers=1,
    )
    return str(corpus.prepare(progress=False))


@pytest.fixture
def run(config: dict[str, Any]) -> Run:
    return compose(config).fit()


def kept(run: Run, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(run.path.glob(pattern))]


@pytest.mark.parametrize("vocab_size", [280, 300, 320])
@pytest.mark.parametrize("verb", ["validate", "predict"])
def test_a_corpus_of_another_tokenizer_is_refused_and_nothing_is_written(
    run: Run, tmp_path: Path, vocab_size: int, verb: str
) -> None:
    """Of the same size too, where nothing would fail and every id would be another token."""
    shards = corpus_of(tmp_path, BytePairs(vocab_size=vocab_size))
    size = ShardFolder.open(shards).manifest.vocab_size
    assert (size > 300) == (vocab_size > 300)
    assert roots(["validate", "--run", str(run.path)]) == 0
    before = {file: file.read_bytes() for file in run.path.glob("*.json*")}
    words = rf"physics is in other tokens .* id \d+ is .* of {size:,}\).*path: .*0001}}}}\."
    with pytest.raises(DataError, match=words):
        roots([verb, "--run", str(run.path), "--data.shards", shards])
    assert {file: file.read_bytes() for file in run.path.glob("*.json*")} == before


def test_a_corpus_whose_documents_end_differently_is_refused(shards: Path, tmp_path: Path) -> None:
    learned = Path(shutil.copytree(shards / "tokenizer", tmp_path / "learned"))
    told = json.loads((learned / "tokenizer_config.json").read_text())
    other = Tokenizer.load(learned).tokens[1]
    (learned / "tokenizer_config.json").write_text(json.dumps({**told, "eos_token": other}))
    data = TokenCorpus(shards=str(shards))
    ends = rf"ends with '{re.escape(other)}' \(id 1\) for it and with '.*' \(id 0\) here"
    with pytest.raises(DataError, match=ends):
        check_tokens(Run(tmp_path), learned, data)
    check_tokens(Run(tmp_path), shards / "tokenizer", data)


def test_other_data_have_files_of_their_own_and_the_page_says_which(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also what is not built yet; the cure of the refusal above is taken."""
    flags = ["--run", str(run.path)]
    assert roots(["validate", *flags]) == 0
    assert roots(["validate", *flags, "--data.sequences_per_step", "4"]) == 0
    assert kept(run, "validate-*.json") == []
    own = json.loads((run.path / "validate.json").read_text())
    known = json.loads((run.path / "environment.json").read_text())["data"]
    assert own["data"] == {"path": known["path"], "fingerprint": known["fingerprint"]}

    shards = corpus_of(tmp_path, Existing(path=str(run.path)))
    capsys.readouterr()
    for verb in ("validate", "test", "validate"):
        assert roots([verb, *flags, "--data.shards", shards]) == 0
    assert re.search(r'not the run.s own data: data\.shards: ".* → ".*', capsys.readouterr().out)
    assert json.loads((run.path / "validate.json").read_text()) == own
    assert not (run.path / "test.json").exists()
    (other,), (tested,) = kept(run, "validate-*.json"), kept(run, "test-*.json")
    assert other["val/loss"] > own["val/loss"] + 0.1
    fingerprint = ShardFolder.open(shards).fingerprint
    for told in (other, tested):
        assert (told["data"]["path"], told["data"]["fingerprint"]) == (shards, fingerprint)
    assert roots(["validate", *flags, "--data.max_val_sequences", "3"]) == 0
    assert len(kept(run, "validate-*.json")) == 2

    html = unescape(report_run(run).read_text())
    captions = re.findall(r"On (?:test|validation) data.*?checkpoint best[^<]*", html)
    assert len(captions) == 4
    assert f"validation data of {known['path']} (fingerprint {known['fingerprint'][:12]})" in html
    assert sum("not the run's own data" in caption for caption in captions) == 3
    assert "data.max_val_sequences: 0 → 3" in html


def test_a_test_is_of_every_row_whatever_the_validation_is_limited_to(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["data"]["init_args"]["shards"] = corpus_of(tmp_path, BytePairs(vocab_size=300))
    config["data"]["init_args"]["max_val_sequences"] = 3
    run = compose(config).fit()
    assert roots(["test", "--run", str(run.path)]) == 0
    own = json.loads((run.path / "test.json").read_text())
    assert roots(["test", "--run", str(run.path), "--data.max_val_sequences", "0"]) == 0
    assert json.loads((run.path / "test.json").read_text()) == own
    assert "unlike" not in own["data"]
    assert kept(run, "test-*.json") == []


def test_a_corpus_that_was_built_anew_at_its_place_is_other_data(
    config: dict[str, Any], tmp_path: Path
) -> None:
    shards = Path(corpus_of(tmp_path, BytePairs(vocab_size=280), "mine"))
    config["data"]["init_args"]["shards"] = str(shards)
    run = compose(config).fit()
    fewer = Corpus(
        source=Text(paths=[str(tmp_path / "texts" / "0*.txt")]),
        out=str(tmp_path / "fewer"),
        tokenizer=Existing(path=str(run.path)),
        val_fraction=0.5,
        workers=1,
    ).prepare(progress=False)
    shards.rename(tmp_path / "before")
    Path(fewer).rename(shards)
    assert roots(["validate", "--run", str(run.path)]) == 0
    (told,) = kept(run, "validate-*.json")
    assert re.fullmatch(r"its rows: \w{12} → \w{12}", told["data"]["unlike"][0])


def test_details_of_other_rows_of_a_task_leave_those_of_the_run(
    encoder: Path, tmp_path: Path
) -> None:
    rows = classes(60, 0)
    arguments = {
        "train": str(write_jsonl(tmp_path / "train.jsonl", rows[:-14])),
        "val": str(write_jsonl(tmp_path / "val.jsonl", rows[-14:])),
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    part = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    config = task_config("SequenceClassifier", part, encoder, tmp_path / "runs", max_steps=3)
    run = compose(config).fit()
    other = str(write_jsonl(tmp_path / "other.jsonl", rows[:12]))
    assert roots(["validate", "--run", str(run.path)]) == 0
    before = (run.path / "details-val.json").read_text()
    assert "unlike" not in json.loads((run.path / "validate.json").read_text())["data"]
    flags = ["--run", str(run.path), "--data.val", other, "--data.val_fraction", "0"]
    assert roots(["validate", *flags]) == 0
    assert (run.path / "details-val.json").read_text() == before
    (told,), (details,) = kept(run, "validate-*.json"), kept(run, "details-val-*.json")
    assert details["data"] == told["data"]
    assert told["data"]["path"] == other
    assert sum(map(sum, details["confusion"]["counts"])) == 12
    for number, file in enumerate((other, str(tmp_path / "val.jsonl"), other)):
        assert roots(["test", "--run", str(run.path), "--data.test", file]) == 0
        assert json.loads((run.path / "test.json").read_text())["data"]["path"] == other
        assert len(kept(run, "test-*.json")) == min(number, 1)
    (tmp_path / "train.jsonl").unlink()
    assert roots(["validate", *flags]) == 0
