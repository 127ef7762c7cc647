"""A step's share, cut and moved."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from roots.batch import IGNORE, TokenBatch


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
        f.name: getattr(moved, f.name).device.type for f in fields(batch) if f.name != "step"
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
