"""The quality rules: by hand at their limits, and against their definitions word by word."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest
from quality_texts import made_texts

from roots.corpus import (
    C4Quality,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    Normalise,
    Pii,
    Pipeline,
    Stage,
)
from roots.corpus.splitters import SPLITTERS
from roots.corpus.stages.words import words_of
from roots.errors import ConfigError
from roots.records import KEEP, Document, Drop, Edit, plain, rebuild

SENTENCE = "All of them have walked to the river, and that was it."


OFF = {
    "max_repeated_paragraphs": 1.0,
    "max_repeated_paragraph_characters": 1.0,
    "max_repeated_lines": 1.0,
    "max_repeated_line_characters": 1.0,
    "max_top_n_grams": {},
    "max_repeated_n_grams": {},
}


def fate(stage: Stage, text: str) -> str:
    verdict = stage(Document(text, "1"))
    return verdict.reason if isinstance(verdict, Drop) else ""


def prose(n: int) -> str:
    """Sentences that no rule minds, and none of which is another."""
    return "\n".join(f"{SENTENCE[:-1]}, said {name}." for name in names(n))


def names(n: int) -> list[str]:
    return [f"{chr(97 + i % 26)}lph{chr(97 + i // 26)}" for i in range(n)]


@pytest.mark.parametrize(
    ("settings", "text", "reason"),
    [
        ({}, prose(10), ""),
        ({"min_words": 12}, "of the " + "word " * 10, ""),
        ({"min_words": 13}, "of the " + "word " * 10, "gopher_short_doc"),
        ({"min_words": 13}, "of the " + "word " * 10 + "-- !!", "gopher_short_doc"),
        ({"max_words": 99}, "of the " + "word " * 98, "gopher_long_doc"),
        ({}, "of to " + "ab " * 98, "gopher_below_avg_threshold"),
        ({}, "of to " + "abcdefghijkl " * 98, "gopher_above_avg_threshold"),
        ({}, "of the " + "word " * 88 + "# " * 10, ""),
        ({}, "of the " + "word " * 87 + "# " * 11, "gopher_too_many_hashes"),
        ({}, "of the " + "word " * 87 + "x... " * 11, "gopher_too_many_ellipsis"),
        ({}, "of the " + "word " * 87 + "x… " * 11, "gopher_too_many_ellipsis"),
        ({}, "- of the word here\n" * 20, "gopher_too_many_bullets"),
        ({}, "- of the word here\n" * 18 + "of the word here\n" * 2, ""),
        ({}, ("word " * 20 + "of the\n") * 7 + ("word " * 9 + "x...\n") * 3, ""),
        (
            {},
            ("word " * 20 + "of the\n") * 6 + ("word " * 9 + "x...\n") * 4,
            "gopher_too_many_end_ellipsis",
        ),
        ({}, "of the " + "word " * 78 + "1234 " * 20, ""),
        ({}, "of the " + "word " * 77 + "1234 " * 21, "gopher_below_alpha_threshold"),
        ({}, "the " + "word " * 78, "gopher_enough_stop_words"),
        ({"min_stop_words": 0}, "word " * 78, ""),
        ({"stop_words": ["und"], "min_stop_words": 1}, "und " + "word " * 78, ""),
    ],
)
def test_gopher_quality_at_its_limits(settings, text, reason) -> None:
    assert fate(GopherQuality(**settings), text) == reason


@pytest.mark.parametrize(
    ("rule", "text", "reason"),
    [
        ({"max_repeated_paragraphs": 0.3}, "\n\n".join([*names(6), *["same"] * 4]), ""),
        (
            {"max_repeated_paragraphs": 0.3},
            "\n\n".join([*names(5), *["same"] * 4]),
            "dup_para_frac",
        ),
        ({"max_repeated_paragraphs": 0.3}, "\n".join([*names(5), *["same"] * 4]), ""),
        ({"max_repeated_paragraph_characters": 0.2}, "\n\n".join([*names(9), *["x" * 15] * 2]), ""),
        (
            {"max_repeated_paragraph_characters": 0.2},
            "\n\n".join([*names(9), *["x" * 25] * 2]),
            "dup_para_char_frac",
        ),
        ({"max_repeated_lines": 0.3}, "\n\n".join([*names(6), *["same"] * 4]), ""),
        ({"max_repeated_lines": 0.3}, "\n\n".join([*names(5), *["same"] * 4]), "dup_line_frac"),
        (
            {"max_repeated_lines": 0.3},
            "\n" + "\n".join([*names(2), "same", "same"]) + "\n",
            "dup_line_frac",
        ),  # the text begins and ends with a blank line, and these are equal
        ({"max_repeated_line_characters": 0.2}, "\n".join([*names(9), *["x" * 15] * 2]), ""),
        (
            {"max_repeated_line_characters": 0.2},
            "\n".join([*names(9), *["x" * 25] * 2]),
            "dup_line_char_frac",
        ),
        ({"max_top_n_grams": {2: 0.2}}, " ".join([*["two words"] * 3, *names(20)]), ""),
        ({"max_top_n_grams": {2: 0.2}}, " ".join([*["two words"] * 3, *names(15)]), "top_2_gram"),
        ({"max_top_n_grams": {3: 0.1}}, " ".join(names(30)), ""),
        ({"max_top_n_grams": {3: 0.1}}, " ".join(names(28)), "top_3_gram"),
        ({"max_repeated_n_grams": {5: 0.15}}, " ".join([*names(30), *names(5)]), ""),
        (
            {"max_repeated_n_grams": {5: 0.15}},
            " ".join([*names(20), *names(5)]),
            "duplicated_5_n_grams",
        ),
        ({"max_repeated_n_grams": {6: 0.15}}, " ".join([*names(20), *names(5)]), ""),
    ],
)
def test_gopher_repetition_at_its_limits(rule, text, reason) -> None:
    assert fate(GopherRepetition(**(OFF | rule)), text) == reason


@pytest.mark.parametrize(
    ("settings", "text", "after"),
    [
        ({}, prose(5), prose(5)),
        ({}, prose(5) + "\n", prose(5)),
        ({}, prose(4), "too_few_sentences"),
        ({}, f"  {prose(5)}\nno end here at all\ntoo few.\nand so on...", prose(5)),
        ({"end_of_line": False}, f"{prose(5)}\nno end here", f"{prose(5)}\nno end here"),
        ({}, f"{prose(5)}\nWe like JavaScript so much.", prose(5)),
        ({}, f"{prose(5)}\nRead our Privacy Policy, please.", prose(5)),
        ({}, f"{prose(5)}\n{'x' * 1001} is a long word.", prose(5)),
        (
            {},
            f"{prose(5)}\nIt is so [1], said he[citation needed].",
            f"{prose(5)}\nIt is so , said he.",
        ),
        ({}, f"{prose(5)}\nLorem ipsum dolor sit.", "lorem_ipsum"),
        ({}, f"{prose(5)}\nlorem[1] ipsum dolor sit.", "lorem_ipsum"),
        ({}, f"{prose(5)}\nif (x) {{ return y. }} else z.", "curly_bracket"),
        ({"curly_brackets": False}, f"{prose(5)}\nif {{ z.", f"{prose(5)}\nif {{ z."),
        ({}, f"{prose(5)}\nlorem ipsum {{ has no end", prose(5)),
        ({"min_sentences": 0, "min_words_per_line": 0}, "a.\nb", "a."),
    ],
)
def test_c4_takes_out_lines_and_drops_pages(settings, text, after) -> None:
    verdict = C4Quality(**settings)(Document(text, "1"))
    if isinstance(verdict, Drop):
        assert verdict.reason == after
    else:
        assert (verdict.document.text if isinstance(verdict, Edit) else text) == after
        assert (verdict == KEEP) == (text == after)


def test_c4_counts_the_lines_that_it_takes_out() -> None:
    text = f"{prose(5)}\nno end here\nor here\ntoo few.\nWe like javascript so much.\n{'x' * 1001}."
    verdict = C4Quality()(Document(text, "1"))
    assert isinstance(verdict, Edit)
    assert verdict.counts == {
        "lines without an end": 2,
        "lines with few words": 1,
        "lines with javascript": 1,
        "lines with a long word": 1,
    }


@pytest.mark.parametrize(
    ("settings", "text", "reason"),
    [
        ({}, prose(20), ""),
        ({}, "\n".join([*[f"{SENTENCE[:-1]} {n}" for n in names(22)], *prose(3).split("\n")]), ""),
        (
            {},
            "\n".join([*[f"{SENTENCE[:-1]} {n}" for n in names(22)], *prose(2).split("\n")]),
            "line_punct_ratio",
        ),
        ({"without_any_end": True}, "\n".join(f"{SENTENCE[:-1]} {n}" for n in names(22)), ""),
        ({}, "\n".join([*names(7), *prose(3).split("\n")]), "short_line_ratio"),
        ({}, "\n".join([*names(6), *prose(3).split("\n")]), ""),
        ({}, prose(20) + f"\n{SENTENCE}\n\n{SENTENCE}", "char_dup_ratio"),
        ({}, "\n\n\n\n".join(f"{n * 11}." for n in names(20)), "list_ratio"),
        ({"max_newlines_per_word": 4}, "\n\n\n\n".join(f"{n * 11}." for n in names(20)), ""),
    ],
)
def test_fineweb_at_its_limits(settings, text, reason) -> None:
    assert fate(FineWebQuality(**settings), text) == reason


def test_a_splitter_of_the_user_is_named_and_recorded(monkeypatch) -> None:
    module = SimpleNamespace(halves=lambda text: [text[: len(text) // 2], text[len(text) // 2 :]])
    monkeypatch.setitem(sys.modules, "my_words", module)
    stage = GopherQuality(words="my_words.halves", min_words=3)
    assert fate(stage, prose(9)) == "gopher_short_doc"
    assert plain(stage)["init_args"]["words"] == "my_words.halves"
    with pytest.raises(
        ConfigError, match=r"words='unicod' is no splitter \(did you mean 'unicode'"
    ):
        GopherQuality(words="unicod")
    with pytest.raises(ConfigError, match=r"words='os\.nothing' is no splitter"):
        FineWebQuality(words="os.nothing")
    with pytest.raises(ConfigError, match=r"words='os\.sep' is no function"):
        GopherRepetition(words="os.sep")


def test_stages_share_the_words_of_a_text(monkeypatch) -> None:
    texts: list[str] = []

    def split(text: str) -> list[str]:
        texts.append(text)
        return text.split()

    monkeypatch.setitem(SPLITTERS, "counted", split)
    repetition = GopherRepetition(**(OFF | {"max_top_n_grams": {2: 1.0}}), words="counted")
    stages = [repetition, GopherQuality(words="counted"), C4Quality()]
    run = Pipeline([*stages, FineWebQuality(words="counted")]).run(
        [Document(prose(20), "1"), Document(prose(20) + "\nno end", "2")]
    )
    assert [each.id for each in run] == ["1", "2"]
    assert len(texts) == 3, "C4Quality changed the second text"
    assert words_of(texts[-1], "counted").text is texts[-1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GopherQuality(min_words=-1), r"min_words=-1 is below 0"),
        (lambda: GopherRepetition(max_top_n_grams={1: 0.2}), r"max_top_n_grams=\{1: 0\.2\}"),
        (lambda: GopherRepetition(max_top_n_grams={2: -0.2}), r"max_top_n_grams\[2\]=-0\.2"),
        (lambda: C4Quality(min_sentences=-1), r"min_sentences=-1 is below 0"),
        (lambda: FineWebQuality(line_ends=["..."]), r"line_ends=\['\.\.\.'\]: each must be one"),
    ],
)
def test_limits_that_mean_nothing_are_refused(make, words) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize("kind", [GopherQuality, GopherRepetition, C4Quality, FineWebQuality])
def test_a_stage_comes_back_from_its_plain_form(kind) -> None:
    import json

    again = rebuild(json.loads(json.dumps(plain(kind()))), Stage)
    assert plain(again) == plain(kind())
    for text in made_texts(50, seed=4):
        if not text.isspace():
            assert again(Document(text, "1")) == kind()(Document(text, "1"))


@pytest.mark.parametrize(
    "text",
    [
        "a" + " " * 100_000 + "b",
        "\t" * 100_000 + "x",
        "1" + " " * 100_000,
        "x" + " \n" * 50_000 + "y",
        "1 " * 50_000,
        "sk-" * 30_000,
        "a@" * 50_000,
        "a." * 50_000 + "@" + "a." * 50_000,
        "password = " * 10_000,
        "[1" * 50_000,
    ],
)
def test_no_text_takes_a_stage_longer_than_its_length_explains(text) -> None:
    stages = [Normalise(), Normalise(white_space="collapse"), Pii(), C4Quality()]
    stages += [GopherRepetition(), GopherQuality(), FineWebQuality()]
    for stage in stages:
        started = time.process_time()
        stage(Document(text, "1"))
        assert time.process_time() - started < 2, stage.name


@pytest.mark.parametrize("kind", [GopherQuality, GopherRepetition, C4Quality, FineWebQuality])
def test_every_drop_says_what_was_found(kind) -> None:
    verdicts = [kind()(Document(text, "1")) for text in made_texts(300, seed=5)]
    drops = [verdict for verdict in verdicts if isinstance(verdict, Drop)]
    assert drops
    assert all(drop.detail for drop in drops)
