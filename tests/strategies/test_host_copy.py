"""A copy on the host is what was copied, byte by byte, and stays so; its memory is used again."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor

from roots.strategies.host_copy import HostCopy, tensors_in


def a_tree() -> dict[str, Any]:
    """Ties, views, a tensor without entries, other numbers, and plain values that are shared."""
    flat = torch.arange(24.0)
    name, names = "a name", [1, 2]
    return {
        "tied": {"embedding": flat.view(4, 6), "head": flat.view(4, 6)},
        "views": [flat[3:7], flat.view(4, 6).t(), (flat, torch.ones(3).bfloat16())],
        "empty": torch.empty(0),
        "also empty": torch.empty(0, 3),
        "counter": torch.tensor(7, dtype=torch.int64),
        "plain": {"name": name, "again": name, "names": names, "them": names, "none": None},
    }


def as_saved(tree: Any) -> bytes:
    file = io.BytesIO()
    torch.save(tree, file)
    return file.getvalue()


def test_what_is_saved_of_a_copy_is_what_is_saved_of_the_tree_byte_by_byte() -> None:
    tree = a_tree()
    assert as_saved(HostCopy().of(tree)) == as_saved(tree)


def test_a_copy_stays_when_tensors_and_plain_values_change() -> None:
    tree, expected = a_tree(), as_saved(a_tree())
    copied = HostCopy().of(tree)
    for tensor in tensors_in(tree):
        tensor.add_(1)
    tree["plain"]["names"].append(3)
    assert as_saved(tree) != expected
    assert as_saved(copied) == expected


def test_the_next_copy_is_made_in_the_same_memory() -> None:
    host, tree = HostCopy(), a_tree()
    first, addresses, n_bytes = host.of(tree), host.addresses, host.n_bytes
    assert n_bytes == 24 * 4 + 3 * 2 + 8
    for _ in range(3):
        for tensor in tensors_in(tree):
            tensor.add_(1)
        host.begin()
        copied = host.of(tree)
        assert as_saved(copied) == as_saved(tree)
    assert host.addresses == addresses
    assert first["tied"]["head"].data_ptr() == copied["tied"]["head"].data_ptr()
    host.release()
    assert host.n_bytes == 0


def test_memory_of_another_size_is_made_anew_and_the_rest_stays() -> None:
    host = HostCopy()
    host.of([torch.ones(5), torch.ones(7), torch.ones(2)])
    before = host.addresses
    host.begin()
    tree = [torch.ones(5), torch.full((900,), 2.0), torch.ones(2)]
    assert as_saved(host.of(tree)) == as_saved(tree)
    after = host.addresses
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] != before[1]


def test_what_was_copied_in_passing_is_not_copied_again() -> None:
    host = HostCopy()
    passing = [host.take(torch.full((3,), float(n))) for n in range(4)]  # each freed at once
    assert [t.tolist() for t in passing] == [[float(n)] * 3 for n in range(4)]
    n_bytes = host.n_bytes
    copied = host.of({"passing": passing, "new": torch.ones(2)})
    assert [t.data_ptr() for t in copied["passing"]] == [t.data_ptr() for t in passing]
    assert host.n_bytes == n_bytes + 8


def test_what_has_changed_is_copied_anew_when_told_and_else_once() -> None:
    host, weight = HostCopy(), torch.ones(3)
    first = host.of({"weight": weight})
    assert host.of([weight])[0].data_ptr() == first["weight"].data_ptr()
    weight.add_(1)
    host.forget()
    second = host.of({"weight": weight})
    assert first["weight"].tolist() == [1.0] * 3
    assert second["weight"].tolist() == [2.0] * 3


def test_gradients_and_parameters_are_copied_as_plain_tensors() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    copied: Tensor = HostCopy().of({"weight": parameter})["weight"]
    assert not copied.requires_grad
    with torch.no_grad():
        parameter.add_(1)
    assert copied.tolist() == [1.0] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_copy_of_a_cuda_tensor_is_in_pinned_memory_and_equal() -> None:
    host, tensor = HostCopy(), torch.randn(1000, device="cuda")
    expected = tensor.cpu()
    copied = host.of([tensor, tensor])
    tensor.add_(1)
    assert torch.equal(copied[0], expected)
    assert copied[0] is copied[1]
    assert copied[0].is_pinned()
    host.release()
