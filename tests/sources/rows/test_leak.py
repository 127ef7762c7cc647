"""KnownTexts: rows of one split that another has as well."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from roots.records import Row
from roots.sources.rows import KnownTexts, Leak


def rows(name: str, *texts: str) -> list[Row]:
    return [Row({"text": text, "n": i}, f"{name}:{i}") for i, text in enumerate(texts, 1)]


def shared(first: list[Row], second: list[Row], name: str = "dev") -> Leak:
    def text_of(row: Row) -> str:
        return str(row.fields["text"])

    return KnownTexts(first, text_of=text_of).shared_with(second, name)


def test_shared_texts_are_counted_with_their_places() -> None:
    leak = shared(rows("train", "a", "b", "b"), rows("dev", "b", "x", "b", "B"))
    assert (leak.n_shared, leak.n_rows) == (2, 4)
    assert leak.examples == (("train:2", "dev:1"), ("train:2", "dev:3"))
    assert leak.remark().startswith(
        "2 of the 4 rows of dev (50.0%) have a text that train has as well"
        " (train:2 = dev:1, train:2 = dev:3)"
    )


def test_nothing_shared_is_nothing_said() -> None:
    leak = shared(rows("train", "a"), rows("test", "b"), "test")
    assert (leak.n_shared, leak.remark()) == (0, "")
    assert shared([], []).remark() == ""


@given(first=st.lists(st.text(max_size=2)), second=st.lists(st.text(max_size=2)))
def test_the_count_is_that_of_the_plain_definition(first, second) -> None:
    leak = shared(rows("train", *first), rows("dev", *second))
    assert leak.n_shared == sum(text in first for text in second)
