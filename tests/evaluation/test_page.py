from __future__ import annotations

import base64
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from roots.evaluation import Page
from roots.evaluation.canvas import COLOURS, new_figure, plain


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page() -> Page:
    page = Page("a run", "600 steps")
    page.heading("Numbers")
    page.text("what came out")
    page.table(["name", "loss", "steps"], [["a", 1.23456, 1000], ["b", 2.0, 2]], "two runs")
    figure = new_figure(2, 2)
    axes = figure.subplots()
    axes.plot([1, 2], [3, 4])
    plain(axes, "optimizer steps", "loss (nats)")
    page.figure(figure, "loss over steps")
    page.verbatim("a: 1\n", "the configuration")
    return page


def test_every_tag_that_is_opened_is_closed() -> None:
    tags = Tags(page().html())
    assert tags.open == []
    assert {"table", "figure", "details", "h2"} <= set(tags.seen)


def test_the_page_fetches_nothing() -> None:
    html = page().html()
    assert re.findall(r'(?:src|href)="(?!data:)', html) == []
    assert "url(" not in html
    assert "@import" not in html
    assert "<script" not in html


def test_a_figure_is_inside_as_a_whole_png() -> None:
    found = re.search(r"data:image/png;base64,([^\"]+)", page().html())
    assert found is not None
    assert base64.b64decode(found[1]).startswith(b"\x89PNG")


def test_what_a_model_says_does_not_become_markup() -> None:
    page = Page("<script>1</script>", "<b>")
    page.text("<img src=x>")
    page.table(["<i>"], [["</td><script>"]])
    page.verbatim("</pre><script>", "<u>")
    assert set(Tags(page.html()).seen) == {
        *("html", "head", "meta", "title", "style", "body", "h1", "p", "table", "tr", "th", "td"),
        *("div", "details", "summary", "pre"),
    }


def test_numbers_stand_at_the_right_with_digits_that_count() -> None:
    html = page().html()
    assert '<td class="number">1.235</td><td class="number">1,000</td>' in html
    assert '<th class="number">loss</th>' in html
    assert "<th>name</th>" in html


def test_a_table_without_rows_keeps_its_head() -> None:
    page = Page("none")
    page.table(["run", "loss"], [])
    assert "<th>run</th><th>loss</th>" in page.html()


def test_a_row_of_another_width_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        Page("x").table(["a", "b"], [[1, 2, 3]])


def test_a_secret_of_the_environment_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "abcdefgh12345")
    page = Page("x")
    page.verbatim("the key is abcdefgh12345")
    text = page.save(tmp_path / "page.html").read_text()
    assert "abcdefgh12345" not in text
    assert "&lt;MY_API_KEY&gt;" in text or "<MY_API_KEY>" in text
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_a_secret_with_signs_of_markup_is_found_before_they_are_escaped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = "abc&def'ghi<\">"
    monkeypatch.setenv("MY_PASSWORD", secret)
    page = Page(f"title {secret}", f"under {secret}")
    page.heading(f"heading {secret}")
    page.text(f"text {secret}")
    page.table([f"head {secret}"], [[f"cell {secret}"]], f"table {secret}")
    page.picture(b"", f"picture {secret}")
    page.verbatim(f"whole {secret}", f"fold {secret}")
    html = page.html()
    assert re.findall("abc|def|ghi", html) == []
    for words in ("title", "under", "heading", "text", "head", "cell", "table", "whole", "fold"):
        assert f"{words} &lt;MY_PASSWORD&gt;" in html
    assert html.count("title &lt;MY_PASSWORD&gt;") == html.count("picture &lt;MY_PASSWORD&gt;") == 2


def test_the_colours_differ_in_greyscale() -> None:
    light = sorted(map(lightness, COLOURS))
    assert min(b - a for a, b in itertools.pairwise(light)) > 9


def lightness(colour: str) -> float:
    """L* of CIE 1976, 0 to 100, of an sRGB colour that is not almost black."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares)
    return 116 * (0.2126 * red + 0.7152 * green + 0.0722 * blue) ** (1 / 3) - 16


def test_a_number_is_never_broken_over_lines_and_a_path_may_be(tmp_path: Path) -> None:
    page = Page("x")
    page.table(["n", "where"], [[0.123456, "/a/very/long/path/to.jsonl:7"], [1.0, "two words"]])
    html = page.html()
    assert (
        '<td class="number">0.1235</td><td class="long">/a/very/long/path/to.jsonl:7</td>' in html
    )
    assert "<td>two words</td>" in html
    assert ".number, th.number { text-align: right; white-space: nowrap; }" in html
    assert '<div class="wide"><table>' in html, "a wide table scrolls, not the page"
    assert "color-scheme: light" in html, "a dark browser does not turn black letters white"


def test_numbers_that_are_written_out_or_missing_stand_at_the_right_too() -> None:
    page = Page("x")
    page.table(["a", "b", "c"], [["0.5", 1, "1e-3"], ["-1,234", None, "x"], ["", 2, "2"]])
    html = page.html()
    assert '<th class="number">a</th><th class="number">b</th><th>c</th>' in html
