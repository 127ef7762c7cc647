"""EntityF1 against seqeval, hand-made cases and limits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.batch import IGNORE
from roots.errors import ConfigError, DataError
from roots.metrics import EntityF1, entities_of

PLACES = {"conll": "BIES", "iob2": "BI", "iobes": "BIES"}
TYPES = ("PER", "creative-work")
Sequences = list[list[str]]


def tags_of(scheme: str) -> list[str]:
    return ["O", *(f"{place}-{kind}" for place in PLACES[scheme] for kind in TYPES)]


def measure(
    predictions: Any, labels: Any, *, names: list[str] | None = None, scheme: str = "conll"
) -> dict[str, float]:
    metric = EntityF1(names=names or tags_of(scheme), scheme=scheme)
    metric.update(predictions, labels)
    return metric.values()


def by_seqeval(predictions: Sequences, labels: Sequences, scheme: str, average: Any) -> Any:
    from seqeval.metrics import sequence_labeling, v1

    if scheme == "conll":
        function, asked = sequence_labeling.precision_recall_fscore_support, {}
    else:
        from seqeval import scheme as schemes

        function = v1.precision_recall_fscore_support
        asked = {"scheme": getattr(schemes, scheme.upper())}
    return function(labels, predictions, average=average, zero_division=0, **asked)[:3]


@st.composite
def both(draw: st.DrawFn, scheme: str) -> tuple[Sequences, Sequences]:
    tag = st.sampled_from(tags_of(scheme))
    labels = draw(st.lists(st.lists(tag, min_size=1, max_size=9), min_size=1, max_size=4))
    # predictions that are often right, so that there are hits
    predictions = [[draw(st.one_of(st.just(one), tag)) for one in row] for row in labels]
    return predictions, labels


@pytest.mark.parametrize("scheme", PLACES)
def test_values_equal_seqevals(scheme: str) -> None:
    pytest.importorskip("seqeval", reason="seqeval is not installed")

    @settings(max_examples=100, deadline=None)
    @given(both(scheme))
    def equal(drawn: tuple[Sequences, Sequences]) -> None:
        predictions, labels = drawn
        values = measure(predictions, labels, scheme=scheme)
        rows = (*predictions, *labels)
        types = sorted({entity.type for tags in rows for entity in entities_of(tags, scheme)})
        if not types:
            assert all(math.isnan(value) for name, value in values.items() if name != "accuracy")
            return
        for average in ("micro", "macro", None):
            names = [f"_{average}"] if average else [f"/{kind}" for kind in types]
            expected = by_seqeval(predictions, labels, scheme, average)
            for quantity, numbers in zip(("precision", "recall", "f1"), expected, strict=True):
                found = [values[quantity + name] for name in names]
                assert found == pytest.approx([float(n) for n in _listed(numbers)])

    equal()


def _listed(numbers: Any) -> Any:
    return [numbers] if getattr(numbers, "ndim", 0) == 0 else numbers


CASES = [  # tags, then the entities of each scheme
    ("B-PER I-PER O B-LOC", {("PER", 0, 2), ("LOC", 3, 4)}, {("PER", 0, 2), ("LOC", 3, 4)}),
    ("I-PER I-PER O", {("PER", 0, 2)}, set()),
    ("B-PER I-LOC", {("PER", 0, 1), ("LOC", 1, 2)}, {("PER", 0, 1)}),
    ("B-PER B-PER", {("PER", 0, 1), ("PER", 1, 2)}, {("PER", 0, 1), ("PER", 1, 2)}),
    ("O O", set(), set()),
    ("", set(), set()),
]


@pytest.mark.parametrize(("tags", "lenient", "strict"), CASES)
def test_entities_of_hand_made_tags(tags: str, lenient: set, strict: set) -> None:
    assert entities_of(tags.split(), "conll") == lenient
    assert entities_of(tags.split(), "iob2") == strict


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("S-PER", {("PER", 0, 1)}),
        ("B-PER I-PER E-PER", {("PER", 0, 3)}),
        ("B-PER E-PER S-LOC", {("PER", 0, 2), ("LOC", 2, 3)}),
        ("B-PER I-PER O", set()),
        ("B-PER E-LOC", set()),
        ("I-PER E-PER", set()),
        ("B-PER B-PER E-PER", {("PER", 1, 3)}),
    ],
)
def test_strict_iobes_wants_a_beginning_and_an_end(tags: str, expected: set) -> None:
    assert entities_of(tags.split(), "iobes") == expected


def test_tags_without_types_are_of_one_type() -> None:
    values = measure([["B", "I", "O"]], [["B", "I", "O"]], names=["O", "B", "I"])
    assert values["f1_micro"] == values["f1/_"] == 1


def test_the_three_limits() -> None:
    labels = [["B-PER", "O", "I-creative-work"], ["O"]]
    perfect = measure(labels, labels)
    assert {value for value in perfect.values() if not math.isnan(value)} == {1.0}
    nothing = measure([["O", "O", "O"], ["O"]], labels)
    assert nothing["precision_micro"] == nothing["recall_micro"] == nothing["f1_micro"] == 0
    assert nothing["accuracy"] == 0.5
    wrong = measure([["I-creative-work", "B-PER", "O"], ["B-PER"]], labels)
    assert wrong["f1_micro"] == wrong["f1/PER"] == wrong["accuracy"] == 0


def test_a_span_that_is_one_token_too_long_is_wrong_twice() -> None:
    values = measure([["B-PER", "I-PER", "O"]], [["B-PER", "O", "O"]])
    assert values["precision_micro"] == values["recall_micro"] == 0


@pytest.mark.parametrize("scores", [True, False])
def test_numbers_with_ignored_positions_are_the_tags_without_them(scores: bool) -> None:
    names = tags_of("iob2")
    labels = torch.tensor([[IGNORE, 1, IGNORE, 3, 0, IGNORE], [IGNORE] * 6])
    predictions = torch.tensor([[3, 1, 2, 3, 1, 4], [1] * 6])
    given = torch.nn.functional.one_hot(predictions, len(names)).bfloat16()
    values = measure(given if scores else predictions, labels, names=names)
    expected = measure([[names[1], names[3], names[1]]], [[names[1], names[3], "O"]], names=names)
    assert values == pytest.approx(expected, nan_ok=True)
    assert values["precision_micro"] == 0.5


def test_an_unknown_tag_is_refused_with_the_nearest_known() -> None:
    with pytest.raises(DataError, match=r"no tag 'B-PRE' \(did you mean 'B-PER'\?\).*all tags"):
        measure([["B-PRE"]], [["B-PER"]])
    measure([["B-PER"]], [["B-PER"]])


@pytest.mark.parametrize(("prediction", "label"), [(9, 0), (0, 9), (-1, 0)])
def test_a_number_of_no_tag_is_refused_with_its_value(prediction: int, label: int) -> None:
    bad = 9 if 9 in (prediction, label) else -1
    with pytest.raises(DataError, match=rf"number {bad}, and the 9 tags are 0 to 8"):
        measure(torch.tensor([[0, prediction]]), torch.tensor([[0, label]]))
    measure(torch.tensor([[0, prediction]]), torch.tensor([[0, IGNORE]]))


def test_sequences_that_do_not_match_are_refused_with_their_numbers() -> None:
    with pytest.raises(DataError, match=r"^1 predicted sequences .* 2 labelled"):
        measure([["O"]], [["O"], ["O"]])
    with pytest.raises(DataError, match=r"^Sequence 1 has 2 predicted and 1 labelled"):
        measure([["O"], ["O", "O"]], [["O"], ["O"]])
    measure([["O"], ["O"]], [["O"], ["O"]])


@pytest.mark.parametrize(
    ("name", "scheme"), [("E-PER", "iob2"), ("PER", "conll"), ("O-PER", "iobes"), ("", "conll")]
)
def test_a_name_that_is_no_tag_of_the_scheme_is_refused(name: str, scheme: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name!r} is no tag of the scheme {scheme}.*B-PER"):
        EntityF1(names=["O", "B-PER", name], scheme=scheme)
    EntityF1(names=["O", "B-PER"], scheme=scheme)


def test_an_unknown_scheme_is_refused_with_the_nearest_known() -> None:
    with pytest.raises(ConfigError, match=r"'iobs' \(did you mean 'iob(2|es)'\?\)"):
        EntityF1(names=["O", "B-PER"], scheme="iobs")


def test_tags_that_name_no_type_measure_nothing() -> None:
    with pytest.raises(ConfigError, match=r"^0 entity types"):
        EntityF1(names=["O"])
