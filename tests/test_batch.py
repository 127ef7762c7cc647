"""A step's share, cut and moved."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from roots.batch import IGNORE, TaskBatch, TokenBatch, labelled


@pytest.fixture
def batch() -> TokenBatch:
    labels = torch.arange(70).view(7, 10)
    labels[2, 4:] = labels[6, 0] = IGNORE
    return TokenBatch(
        input_ids=torch.arange(70).view(7, 10) + 100,
        labels=labels,
        samples=torch.tensor([5, 3, 8, 1, 0, 2, -1]),
        step=42,
        n_bytes=torch.arange(7),
    )


@pytest.mark.parametrize(("rows", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (100, [7])])
def test_the_parts_make_the_whole(batch: TokenBatch, rows: int, sizes: list[int]) -> None:
    parts = list(batch.split(rows))
    assert [len(part) for part in parts] == sizes
    assert {part.step for part in parts} == {42}
    for name in ("input_ids", "labels", "samples", "n_bytes"):
        whole = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(whole, getattr(batch, name)), name


def test_parts_share_the_memory_of_the_whole(batch: TokenBatch) -> None:
    first = next(batch.split(3))
    assert first.input_ids.data_ptr() == batch.input_ids.data_ptr()


def test_the_labels_of_the_parts_add_up(batch: TokenBatch) -> None:
    assert batch.n_labels.item() == 70 - 7
    assert batch.n_labels.shape == ()
    assert sum(part.n_labels.item() for part in batch.split(2)) == 63


def test_it_counts_its_rows(batch: TokenBatch) -> None:
    assert len(batch) == 7


def test_all_tensors_move_but_the_samples(batch: TokenBatch) -> None:
    moved = batch.to("meta", non_blocking=True)
    devices = {
        f.name: getattr(moved, f.name).device.type
        for f in fields(batch)
        if isinstance(getattr(batch, f.name), torch.Tensor)
    }
    samples = devices.pop("samples")
    assert samples == "cpu"
    assert set(devices.values()) == {"meta"}
    assert moved.step == 42
    assert torch.equal(moved.samples, batch.samples)
    assert batch.input_ids.device.type == "cpu"


def test_the_host_waits_for_no_copy_of_pinned_tensors(
    batch: TokenBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning asks for copies that wait, of everything that is no tensor itself."""
    asked: list[bool] = []
    to = torch.Tensor.to

    def noted(self: torch.Tensor, device: str, *, non_blocking: bool) -> torch.Tensor:
        asked.append(non_blocking)
        return to(self, device, non_blocking=non_blocking)

    monkeypatch.setattr(torch.Tensor, "to", noted)
    batch.to("meta")
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda self: True)
    batch.to("meta")
    assert asked == [False] * 3 + [True] * 3


def test_samples_are_not_pinned(batch: TokenBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self + 1)
    pinned = batch.pin_memory()
    assert torch.equal(pinned.samples, batch.samples)
    assert torch.equal(pinned.labels, batch.labels + 1)


def test_lightning_moves_it_by_its_own_method(batch: TokenBatch) -> None:
    from lightning.fabric.utilities import move_data_to_device

    moved = move_data_to_device(batch, torch.device("cpu"))
    assert isinstance(moved, TokenBatch)
    assert torch.equal(moved.labels, batch.labels)


def test_it_cannot_be_changed_by_assignment(batch: TokenBatch) -> None:
    with pytest.raises(AttributeError):
        batch.step = 1  # type: ignore[misc]


# -- rows of different lengths ------------------------------------------------------------------


def ragged(per_token: bool = False) -> TaskBatch:
    lengths = torch.tensor([5, 4, 2, 1])
    ids = torch.arange(20).view(4, 5)
    return TaskBatch(
        inputs={"input_ids": ids, "attention_mask": (torch.arange(5) < lengths[:, None]).long()},
        labels=ids + 1 if per_token else torch.tensor([0, 2, IGNORE, 1]),
        lengths=lengths,
        samples=torch.tensor([9, 4, 7, -1]),
        step=3,
        per_token=per_token,
    )


@pytest.mark.parametrize(
    ("rows", "widths"), [(1, [5, 4, 2, 1]), (2, [5, 2]), (3, [5, 1]), (4, [5])]
)
def test_each_part_is_cut_to_its_longest_row(rows: int, widths: list[int]) -> None:
    parts = list(ragged(per_token=True).split(rows))
    assert [part.inputs["input_ids"].shape[1] for part in parts] == widths
    assert [part.inputs["attention_mask"].shape[1] for part in parts] == widths
    assert [part.labels.shape[1] for part in parts] == widths
    assert torch.cat([part.samples for part in parts]).tolist() == [9, 4, 7, -1]


def test_labels_of_rows_are_cut_by_rows_alone() -> None:
    parts = list(ragged().split(3))
    assert [part.labels.tolist() for part in parts] == [[0, 2, IGNORE], [1]]
    assert [int(part.n_labels) for part in parts] == [2, 1]


def test_what_the_host_reads_stays_there() -> None:
    moved = ragged().to("meta")
    assert {tensor.device.type for tensor in moved.inputs.values()} == {"meta"}
    assert moved.labels.device.type == "meta"
    assert moved.lengths.device.type == moved.samples.device.type == "cpu"
    assert len(list(moved.split(2))) == 2  # cut without asking the device


def test_numbers_that_are_not_there_are_no_labels() -> None:
    labels = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    assert labelled(labels).tolist() == [[True, False], [True, True]]
