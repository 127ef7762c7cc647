"""What is kept of an evaluation for pictures: named, quoted, and small."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_tasks import TAGS, tagged, tagging_config, words_data, write_bert

from roots.fit import compose
from roots.modules.class_details import MOST_CLASSES, MOST_PAIRS, confusion_of, worded


def test_classes_are_named_and_rows_quoted() -> None:
    mistake = {"sample": 7, "place": 2, "label": 0, "predicted": 1, "confidence": 0.87654321}
    details = {
        "confusion": {"names": ["a_b", "c"], "counts": [[1, 2], [3, 4]]},
        "mistakes": [mistake],
        "signatures": {"bleu": "x"},
    }
    asked = []

    def quoted(sample: int, place: int) -> dict[str, str]:
        asked.append((sample, place))
        return {"text": "t"}

    assert worded(details, ["a b", "c"], quoted) == {
        "confusion": {"names": ["a b", "c"], "counts": [[1, 2], [3, 4]]},
        "mistakes": [{"text": "t", "label": "a b", "predicted": "c", "confidence": 0.876543}],
        "signatures": {"bleu": "x"},
    }
    assert asked == [(7, 2)]


def test_of_many_classes_only_the_pairs_that_are_confused_most_are_kept() -> None:
    n = MOST_CLASSES + 1
    names = [f"c{number}" for number in range(n)]
    counts = [[r * n + c for c in range(n)] for r in range(n)]
    found = confusion_of(counts, names)
    assert "counts" not in found
    assert len(found["pairs"]) == MOST_PAIRS
    assert found["pairs"][0] == {"label": "c64", "predicted": "c63", "rows": n * n - 2}
    assert all(pair["label"] != pair["predicted"] for pair in found["pairs"])
    assert confusion_of(counts[: n - 1], names[: n - 1])["counts"] == counts[: n - 1]


def test_a_tagger_quotes_the_words_that_it_got_wrong(tmp_path: Path) -> None:
    rows = tagged(40, 0)
    config = tagging_config(
        write_bert(tmp_path / "bert"), tmp_path / "runs", words_data(tmp_path, rows), max_steps=3
    )
    run = compose(config).fit()
    kept = json.loads(run.details_file("val").read_text())
    sentences = {" ".join(row["words"]): row for row in rows[-12:]}
    counted = sum(map(sum, kept["confusion"]["counts"]))
    assert counted == sum(kept["reliability"]["count"])
    assert 0 < counted <= sum(len(row["words"]) for row in rows[-12:])
    assert kept["mistakes"]
    for mistake in kept["mistakes"]:
        row = sentences[mistake["text"]]
        pairs = zip(row["words"], row["tags"], strict=True)
        assert (mistake["word"], mistake["label"]) in set(pairs)
        assert mistake["predicted"] != mistake["label"]
    card = json.loads((run.path / "data.json").read_text())
    n_entities = sum(tag.startswith("B-") for row in rows[-12:] for tag in row["tags"])
    labels = card["splits"]["val"]["labels"]
    assert sum(n for name, n in labels.items() if name.startswith("B-")) == n_entities
    assert {name[2:] for name in labels if name != "O"} == set(TAGS.values())
