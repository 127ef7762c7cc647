"""shared_texts: rows of one split that another has as well."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from roots.records import Row
from roots.sources.rows import shared_texts


def rows(name: str, *texts: str) -> list[Row]:
    return [Row({"text": text, "n": i}, f"{name}:{i}") for i, text in enumerate(texts, 1)]


def test_shared_texts_are_counted_with_their_places() -> None:
    leak = shared_texts(
        rows("train", "a", "b", "b"), rows("dev", "b", "x", "b", "B"), fields=["text"]
    )
    assert (leak.n_shared, leak.n_rows) == (2, 4)
    assert leak.examples == (("train:2", "dev:1"), ("train:2", "dev:3"))
    assert leak.remark().startswith(
        "2 of the 4 rows of dev (50.0%) have a text that train has as well"
        " (train:2 = dev:1, train:2 = dev:3)"
    )


def test_nothing_shared_is_nothing_said() -> None:
    leak = shared_texts(rows("train", "a"), rows("test", "b"), fields=["text"])
    assert (leak.n_shared, leak.remark()) == (0, "")
    assert shared_texts([], [], fields=["text"]).remark() == ""


def test_a_pair_is_shared_as_a_pair() -> None:
    first = [Row({"a": "ab", "b": "c"}, "train:1")]
    second = [Row({"a": "a", "b": "bc"}, "dev:1"), Row({"a": "ab", "b": "c"}, "dev:2")]
    assert shared_texts(first, second, fields=["a", "b"]).examples == (("train:1", "dev:2"),)


@given(first=st.lists(st.text(max_size=2)), second=st.lists(st.text(max_size=2)))
def test_the_count_is_that_of_the_plain_definition(first, second) -> None:
    leak = shared_texts(rows("train", *first), rows("dev", *second), fields=["text"])
    assert leak.n_shared == sum(text in first for text in second)
