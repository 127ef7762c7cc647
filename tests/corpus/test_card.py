"""The data card: its counts against a corpus of known numbers, as Markdown and as a page."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from evaluation.test_page import Tags

from roots.cli import run as command
from roots.corpus import BytePairs, Corpus, ExactDuplicates, Normalise, Pii, Stage
from roots.corpus.card import _personal, data_card, lengths_of
from roots.corpus.card_markdown import escaped, markdown
from roots.corpus.tally import MOST_NAMES, OTHERS, Tally, domain_of
from roots.errors import ConfigError, DataError
from roots.evaluation import report_corpus
from roots.records import KEEP, Document, Drop, Verdict
from roots.shards import ShardFolder
from roots.sources import Source

EVIL = "</pre><script>alert(1)</script> | <b>*x* [a](http://a.example)"


class Pages(Source):
    """Documents with an address and a licence, from two parts of a corpus."""

    def __init__(self, *, path: str) -> None:
        self.path = path

    def files(self) -> list[Path]:
        return [Path(self.path)]

    def documents(self) -> Iterator[Document]:
        for number in range(40):
            words = " ".join(f"w{number}x{k}" for k in range(3 + number))
            about = {"url": f"https://www.Site{number % 2}.org/{number}", "license": "cc0-1.0"}
            yield Document(words, f"web:{number}", about, "web")
        yield Document("w7x0 w7x1 w7x2 w7x3 w7x4 w7x5 w7x6 w7x7 w7x8 w7x9", "web:copy", {}, "web")
        yield Document(f"mail ann@roots.io now, {EVIL}", "books:1", {"licence": "mit"}, "books")
        yield Document("short", f"books:{EVIL}", {}, "books")
        yield Document("", "books:blank", {}, "books")


class NoShort(Stage):
    """Drops texts of fewer than three words."""

    def __call__(self, document: Document) -> Verdict:
        n = len(document.text.split())
        return KEEP if n >= 3 else Drop("too_short", f"{n} < 3")


def corpus(folder: Path, out: str = "out", workers: int = 1) -> Corpus:
    (folder / "pages.txt").write_text("here")
    return Corpus(
        source=Pages(path=str(folder / "pages.txt")),
        out=str(folder / out),
        stages=[Normalise(), NoShort(), ExactDuplicates(), Pii()],
        tokenizer=BytePairs(vocab_size=300),
        val_fraction=0.1,
        workers=workers,
    )


@pytest.fixture
def built(tmp_path: Path) -> Path:
    return corpus(tmp_path).prepare(progress=False)


def test_the_card_counts_what_was_planted_and_its_books_balance(built: Path) -> None:
    card = data_card(built)
    assert (card["documents_read"], card["documents_kept"]) == (44, 41)
    for part in card["parts"]:
        assert part["documents_in"] == part["documents_kept"] + sum(part["dropped"].values())
    drops = {part["name"]: part["dropped"] for part in card["parts"] if part["dropped"]}
    assert drops == {
        "Read": {"empty": 1},
        "NoShort": {"too_short": 1},
        "ExactDuplicates": {"exact_duplicate": 1},
    }
    assert card["personal"] == {"email": 1}
    assert card["licences"] == {"cc0-1.0": 40, "mit": 1}
    assert card["domains"] == {"site0.org": 20, "site1.org": 20}
    (found,) = card["clusters"]
    assert (found["clusters"], found["documents_dropped"]) == (1, 1)
    assert found["largest"] == [{"kept": "web:7", "dropped": 1}]
    examples = {(drop["part"], drop["reason"]): drop for drop in card["drops"]}
    assert examples["NoShort", "too_short"]["detail"] == "1 < 3"
    assert len(card["samples"]) == 6


def test_sources_add_up_to_the_splits(built: Path) -> None:
    card = data_card(built)
    for name in ("documents", "tokens", "bytes"):
        whole = sum(split[name] for split in card["splits"].values())
        assert sum(counts[name] for counts in card["sources"].values()) == whole
    assert card["sources"]["web"]["documents_read"] == 41
    assert card["sources"]["books"]["documents"] == 1
    for counts in (*card["splits"].values(), *card["sources"].values()):
        assert counts["bytes_per_token"] == counts["bytes"] / counts["tokens"]


def test_lengths_are_those_of_every_document(built: Path) -> None:
    folder = ShardFolder.open(built)
    direct: dict[int, int] = {}
    for split in folder.splits:
        shard = folder.shard(split)
        for number in range(shard.n_documents):
            power = int(math.log2(len(shard.document(number))))
            direct[power] = direct.get(power, 0) + 1
    found = lengths_of(folder)
    powers = np.log2(found["edges"][:-1]).astype(int).tolist()
    assert {p: n for p, n in zip(powers, found["counts"], strict=True) if n} == direct


def test_the_files_are_equal_for_any_number_of_workers(tmp_path: Path, built: Path) -> None:
    other = corpus(tmp_path, "other", workers=2).prepare(progress=False)
    for name in ("README.md", "kept.json"):
        assert (built / name).read_bytes() == (other / name).read_bytes()


def test_markdown_has_front_matter_for_the_hub_and_no_markup_of_documents(built: Path) -> None:
    text = (built / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front == {"size_categories": ["n<1K"], "task_categories": ["text-generation"]}
    assert "ann@roots.io" not in text
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    for line in text.splitlines():  # no cell was cut in two by a bar of its text
        if line.startswith("| books:"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert "| train |" in text
    only = {**data_card(built), "licences": {"mit": 41}, "languages": {"en": 2, "de": 1}}
    front = yaml.safe_load(markdown(only).split("---\n")[1])
    assert (front["license"], front["language"]) == ("mit", ["en", "de"])


def test_a_licence_of_some_documents_is_not_claimed_for_the_set(built: Path) -> None:
    card = data_card(built)
    for licences in ({"mit": 1}, {"mit": 40, "cc0-1.0": 1}, {OTHERS: 41}):
        front = yaml.safe_load(markdown({**card, "licences": licences}).split("---\n")[1])
        assert "license" not in front


def test_names_of_persons_are_counted_among_personal_data() -> None:
    parts = [
        {"name": "PersonNames", "counted": {"person": 7}},
        {"name": "Pii", "counted": {"email": 2, "phone": 9}},
        {"name": "LanguageFilter", "counted": {"language en": 3}},
    ]
    assert _personal(parts) == {"phone": 9, "person": 7, "email": 2}


def test_secrets_stand_neither_in_the_markdown_nor_in_the_page(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "abc&d'e\"f_g*h"
    monkeypatch.setenv("MY_PASSWORD", secret)
    text = f"{'x' * 195} {secret}"  # the table shows 200 characters of it
    card = {
        **data_card(built),
        "recipe": {"source": secret},
        "samples": [{"id": secret, "text": text}],
        "licences": {secret: 41},
    }
    words = markdown(card)
    assert yaml.safe_load(words.split("---\n")[1])["license"] == "<MY_PASSWORD>"
    assert r"| &lt;MY\_PASSWORD&gt; |" in words
    assert "abc" not in words
    monkeypatch.setattr("roots.evaluation.corpus_page.data_card", lambda folder: card)
    html = report_corpus(built).read_text()
    assert "abc" not in html
    assert html.count("&lt;MY_PASSWORD&gt;") == 3


def test_escaping_leaves_no_sign_that_markdown_reads() -> None:
    assert escaped("a|b\n*c* <d> `e` http://f") == (r"a\|b \*c\* &lt;d&gt; \`e\` http:&#47;&#47;f")


def test_the_command_that_draws_the_page_again_survives_a_space(
    built: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(built, tmp_path / "my corpus"))
    command = f"roots corpus report {shlex.quote(str(folder))}"
    assert command in unescape(report_corpus(folder).read_text())


def test_the_page_has_its_parts_and_no_markup_of_documents(built: Path) -> None:
    html = report_corpus(built).read_text()
    tags = Tags(html)
    assert tags.open == []
    assert "script" not in tags.seen
    found = [unescape(words) for words in re.findall(r"<h2>(.*?)</h2>", html)]
    assert found == [
        *("Splits", "Sources", "Stages", "Licences", "Domains", "Personal data", "Duplicates"),
        *("Examples of drops", "Sample documents", "Recipe"),
    ]
    assert tags.seen.count("img") == 7
    assert "41 of 44 documents kept" in html
    assert "ann@roots.io" not in html
    assert re.findall(r'(?:src|href)="(?!data:)', html) == []


def test_a_folder_without_what_newer_builds_keep_has_a_card_too(built: Path) -> None:
    for name in ("kept.json", "dropped.jsonl", "exact_duplicates.jsonl", "README.md"):
        (built / name).unlink()
    manifest = json.loads((built / "manifest.json").read_text())
    (built / "manifest.json").write_text(json.dumps({**manifest, "books": []}))
    card = data_card(built)
    assert (card["parts"], card["sources"], card["samples"], card["clusters"]) == ([], {}, [], [])
    assert "Splits" in report_corpus(built).read_text()
    (built / "kept.json").write_text("{")
    assert data_card(built)["licences"] == {}


def test_the_verb_draws_a_folder_and_refuses_what_is_none(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert command(["corpus", "report", str(built)]) == 0
    assert capsys.readouterr().out == f"wrote {built}/report.html\n"
    with pytest.raises(DataError, match=r"holds no manifest\.json, so it is no folder of shards"):
        command(["corpus", "report", str(tmp_path)])
    with pytest.raises(ConfigError, match="required: FOLDER"):
        command(["corpus", "report"])


def test_a_build_ends_with_its_cards_and_a_new_one_leaves_no_old_files(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text("one two three\n\nfour five six\n\nseven eight\n")
    args = [
        *("corpus", "--source", "roots.sources.Text", "--out", str(tmp_path / "out")),
        *("--source.init_args.paths", str(tmp_path / "text.txt")),
        *("--source.init_args.document", "blank_line", "--val_fraction", "0"),
        *("--tokenizer", "roots.corpus.BytePairs", "--tokenizer.init_args.vocab_size", "270"),
    ]
    assert command(args) == 0
    assert f"data card: {tmp_path}/out/report.html" in capsys.readouterr().out
    assert {"README.md", "report.html"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert command([*args, "--seed", "2"]) == 0
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["out"]

    def broken(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("roots.evaluation.command.report_corpus", broken)
    assert command([*args, "--seed", "3"]) == 0
    assert "the data card was not drawn (OSError: no space left)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("https://www.a.org/b?c", "a.org"),
        ("http://user:secret@A.org:80/", "a.org"),
        ("B.org", "b.org"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_a_domain_is_the_host_of_an_address(address: str, domain: str) -> None:
    assert domain_of(address) == domain


def test_of_many_names_the_most_frequent_are_kept_and_the_rest_is_one() -> None:
    tally = Tally("x", seed=1)
    n = MOST_NAMES + 10
    for number in range(n):
        for _ in range(number + 1):
            tally.document(Document("t", "i", {"license": f"l{number}"}), b"t")
    found = tally.plain()["licences"]
    assert len(found) == MOST_NAMES + 1
    assert next(iter(found)) == f"l{n - 1}"
    assert found[OTHERS] == sum(range(1, 11))
    assert sum(found.values()) == n * (n + 1) // 2
