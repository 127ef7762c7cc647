"""HuggingFaceRows: saved folders and data files; what is not there is told with its cure."""

from __future__ import annotations

import json

import pytest

from roots.errors import ConfigError, DataError
from roots.sources.rows import HuggingFaceRows, hugging_face

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One folder with two splits, whose labels have names."""
    datasets.disable_progress_bars()
    names = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": names,
            "tags": datasets.List(datasets.ClassLabel(names=["O", "B-x"])),
        }
    )
    columns = {"text": ["a", "b", "c"], "label": [0, 1, -1], "tags": [[0, 1], [], [1]]}
    one = datasets.Dataset.from_dict(columns, features=features)
    folder = tmp_path_factory.mktemp("hf") / "both"
    datasets.DatasetDict(train=one, dev=one.select([1])).save_to_disk(str(folder))
    return folder


def test_a_saved_split_comes_with_the_names_of_its_labels(saved, monkeypatch) -> None:
    monkeypatch.setenv("SAVED_HERE", str(saved.parent))
    monkeypatch.setattr(hugging_face, "_BATCH", 2)
    source = HuggingFaceRows(path="${SAVED_HERE}/both")
    rows = list(source.rows())
    assert [dict(r.fields) for r in rows] == [
        {"text": "a", "label": "neg", "tags": ["O", "B-x"]},
        {"text": "b", "label": "pos", "tags": []},
        {"text": "c", "label": None, "tags": ["B-x"]},
    ]
    assert rows[2].where == "${SAVED_HERE}/both[train]:3"
    assert any(path.suffix == ".arrow" for path in source.files())
    assert all("train" in path.parts for path in source.files())


def test_a_single_saved_split_is_read_by_its_folder(saved) -> None:
    rows = list(HuggingFaceRows(path=str(saved / "dev")).rows())
    assert [row.fields["text"] for row in rows] == ["b"]


def test_a_split_that_is_not_there_is_told_with_those_that_are(saved) -> None:
    with pytest.raises(DataError, match=r"no split 'deev' \(did you mean 'dev'\?\).*train, dev"):
        list(HuggingFaceRows(path=str(saved), split="deev").read())
    assert len(list(HuggingFaceRows(path=str(saved), split="dev").read())) == 1


@pytest.mark.parametrize("streaming", [False, True])
def test_data_files_are_read_by_their_format(tmp_path, streaming) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": f"t{i}", "n": i}) + "\n" for i in range(5)))
    source = HuggingFaceRows(path="json", data_files=[f"{tmp_path}/*.jsonl"], streaming=streaming)
    assert [dict(r.fields) for r in source.rows()] == [{"text": f"t{i}", "n": i} for i in range(5)]
    assert source.files() == [file]
    wrong = HuggingFaceRows(
        path="json", data_files=[str(file)], split="validation", streaming=streaming
    )
    with pytest.raises(DataError, match=r"split 'validation'\) cannot be read: .*\['train'\]"):
        list(wrong.read())


def test_a_slice_of_a_split_is_read(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("n\n" + "".join(f"{i}\n" for i in range(10)))
    source = HuggingFaceRows(path="csv", data_files=[f"{tmp_path}/a.csv"], split="train[2:4]")
    assert [row.fields["n"] for row in source.rows()] == [2, 3]


def test_a_damaged_data_file_is_told_by_its_cause(tmp_path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    source = HuggingFaceRows(path="parquet", data_files=[f"{tmp_path}/a.parquet"])
    with pytest.raises(DataError, match=r"The dataset parquet .* cannot be read: .*[Pp]arquet"):
        list(source.read())


def test_a_hub_that_cannot_be_reached_is_told_with_the_way_round(monkeypatch) -> None:
    for module in ("datasets.config", "huggingface_hub.constants"):
        monkeypatch.setattr(f"{module}.HF_HUB_OFFLINE", True)
    source = HuggingFaceRows(path="some-team/some-set", config="sst2")
    with pytest.raises(DataError, match=r"some-team/some-set is not on this machine.*save_to_disk"):
        list(source.read())
    assert source.files() == []


def test_a_path_that_is_not_there_is_no_name_on_the_hub(tmp_path) -> None:
    with pytest.raises(DataError, match=r"/nothing does not exist"):
        list(HuggingFaceRows(path=f"{tmp_path}/nothing").read())
    with pytest.raises(ConfigError, match=r"split is empty"):
        HuggingFaceRows(path="x", split="")


def test_what_a_saved_folder_does_not_have_is_refused(saved, tmp_path) -> None:
    alone = datasets.Dataset.from_dict({"text": ["a"]}, split="validation[:10%]")
    alone.save_to_disk(str(tmp_path / "alone"))
    with pytest.raises(DataError, match=r"of the split 'validation\[:10%\]' alone, and 'train' is"):
        list(HuggingFaceRows(path=str(tmp_path / "alone")).read())
    for split in ("validation", "validation[:10%]"):
        assert len(list(HuggingFaceRows(path=str(tmp_path / "alone"), split=split).read())) == 1
    for asked in ({"config": "a"}, {"revision": "main"}, {"streaming": True}):
        (name,) = asked
        with pytest.raises(DataError, match=f"there is no {name} in it. Leave {name} out"):
            list(HuggingFaceRows(path=str(saved), **asked).read())


def test_rows_saved_without_a_splits_name_are_the_training_split_and_whole(tmp_path) -> None:
    place = str(tmp_path / "rows")
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(place)
    assert len(list(HuggingFaceRows(path=place).read())) == 2
    for split in ("train[:50%]", "validation"):
        with pytest.raises(DataError, match=r"without a split's name.* Set split to train, or"):
            list(HuggingFaceRows(path=place, split=split).read())
