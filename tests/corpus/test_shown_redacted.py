"""What is written for the reader holds no personal data, though it is cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_parts import Even

from roots.corpus import BytePairs, C4Quality, Corpus, Pii, Pipeline
from roots.errors import DataError
from roots.records import Document
from roots.sources import Csv, Jsonl, Source

ADDRESS = "alice.wonderland@wonder.com"


def put_jsonl(folder: Path, text: str) -> Jsonl:
    good = "".join(json.dumps({"text": f"good one {n}"}) + "\n" for n in range(3))
    (folder / "a.jsonl").write_text(f'{{"text": "{text}", "x": tru}}\n{good}')
    return Jsonl(paths=str(folder), on_bad_record="skip", max_bad_fraction=0.5)


def put_csv(folder: Path, text: str) -> Csv:
    good = "".join(f"good one {n}\n" for n in range(3))
    (folder / "a.csv").write_text(f'text\n{good}"{text}" x\n')
    return Csv(paths=str(folder), on_bad_record="skip", max_bad_fraction=0.5)


@pytest.mark.parametrize("put", [put_jsonl, put_csv])
@pytest.mark.parametrize("before", range(20, 60, 3))
def test_a_bad_record_is_written_without_a_part_of_an_address(
    tmp_path: Path, put: Callable[[Path, str], Source], before: int
) -> None:
    source = put(tmp_path, f"{'x ' * (before // 2)} {ADDRESS} and more")
    plan = BytePairs(vocab_size=257)
    out = str(tmp_path / "out")
    corpus = Corpus(
        source=source, out=out, stages=[Pii()], tokenizer=plan, val_fraction=0.0, workers=1
    )
    corpus.prepare(progress=False)
    written = (tmp_path / "out" / "rejects.jsonl").read_text()
    assert "alice" not in written
    assert "<EMAIL> and more" in json.loads(written)["raw"]


def test_an_error_quotes_how_the_record_begins(tmp_path: Path) -> None:
    for put in (put_jsonl, put_csv):
        source = put(tmp_path, "the beginning of it, " * 9)
        source.on_bad_record, source.max_bad_fraction = "error", 0.0
        with pytest.raises(DataError, match=r"It begins '.*the beginning of it, .*'\. \(Or leave"):
            list(source.documents())


@pytest.mark.parametrize("before", range(50, 80, 3))
def test_the_detail_of_a_drop_holds_no_part_of_an_address(before: int) -> None:
    text = f"{'x ' * (before // 2)} {ADDRESS} {{\nnext line is fine.\n"
    run = Pipeline([C4Quality(end_of_line=False, min_sentences=0), Pii()]).run([Document(text, "")])
    assert list(run) == []
    (example,) = run.examples
    assert "alice" not in example.detail
    assert example.detail.endswith("<EMAIL> {")


def test_an_example_that_shrinks_holds_no_part_of_an_address() -> None:
    """What is looked at ends within an address, and moves into what is shown."""
    addresses = ", ".join(f"{'a' * 40}{n:03}@wonder.com" for n in range(60))
    for spaces in range(0, 60, 7):
        text = " " * spaces + addresses
        run = Pipeline([Even(), Pii()]).run([Document(text + "." * (1 - len(text) % 2), "")])
        assert list(run) == []
        (example,) = run.examples
        assert "aaa" not in example.text
        assert len(example.text) == 400
