"""Parts of whole tensors, against torch's own distribution, and the norm of what is cut."""

from __future__ import annotations

import math

import pytest
import torch
from ranks import run_ranks
from torch import nn

from roots.errors import CheckpointError
from roots.strategies.filling import Placing, check_shapes, load_optimizer
from roots.strategies.shards import cut, gathered, place, sharded_as, sharded_norm

SHAPES = [(8, 3), (5, 3), (3,), (1, 2)]
"""Even, uneven, and with nothing left for the last rank."""


def both() -> tuple[int, list[float]]:
    torch.distributed.init_process_group("gloo")
    return against_torch(), norms()


@pytest.fixture(scope="module")
def four() -> list[tuple[int, list[float]]]:
    """What four ranks find, in one launch."""
    return run_ranks(both, ranks=4)


def against_torch() -> int:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    generator = torch.Generator().manual_seed(0)
    compared = 0
    for mesh, ways in (
        (init_device_mesh("cpu", (4,)), [Shard(0)]),
        (init_device_mesh("cpu", (2, 2)), [Replicate(), Shard(0)]),
        (init_device_mesh("cpu", (2, 2)), [Shard(0), Replicate()]),
    ):
        for shape in SHAPES:
            whole = torch.randn(shape, generator=generator)
            theirs = distribute_tensor(whole, mesh, ways)
            assert torch.equal(cut(whole, theirs), theirs.to_local())
            other = whole + 1
            ours = sharded_as(other, theirs)
            assert torch.equal(ours.full_tensor(), other)
            assert ours.to_local().data_ptr() != other.data_ptr() or not ours.to_local().numel()
            place(other, theirs)
            assert torch.equal(theirs.full_tensor(), other)
            kept = gathered({"a": [theirs, 3, theirs]}, keep=torch.distributed.get_rank() == 1)
            if torch.distributed.get_rank() == 1:
                assert kept["a"][0] is kept["a"][2]
                assert torch.equal(kept["a"][0], other)
            assert kept["a"][1] == 3
            compared += 1
    return compared


def norms() -> list[float]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    found = []
    line, square = init_device_mesh("cpu", (4,)), init_device_mesh("cpu", (2, 2))
    whole, rows = Replicate(), Shard(0)
    for mesh, each in (
        (line, [[rows]] * 4),
        (square, [[whole, rows]] * 4),
        (square, [[rows, Shard(1)], [rows, rows], [rows, whole], [whole, whole]]),
    ):
        parameters = []
        for gradient, ways in zip(gradients(), each, strict=True):
            parameter = nn.Parameter(distribute_tensor(torch.zeros_like(gradient), mesh, ways))
            parameter.grad = distribute_tensor(gradient, mesh, ways)
            parameters.append(parameter)
        found.append(sharded_norm(parameters).item())
    return found


def gradients() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def test_tensors_are_cut_placed_and_gathered_as_torch_does(four: list) -> None:
    assert [compared for compared, _ in four] == [3 * len(SHAPES)] * 4


def test_the_norm_is_that_of_whole_gradients_however_each_of_them_is_cut(four: list) -> None:
    expected = math.sqrt(math.fsum(float(g.double().square().sum()) for g in gradients()))
    for _, found in four:
        assert found == pytest.approx([expected] * 3, rel=1e-6)


def test_without_a_gradient_the_norm_is_zero() -> None:
    assert sharded_norm(nn.Linear(2, 2).parameters()).item() == 0


def test_what_has_not_come_is_named_and_one_name_of_a_tied_weight_is_enough() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight = network[0].weight
    placing = Placing(network)
    placing("1.weight", torch.ones(2, 2))
    placing("0.bias", torch.zeros(2))
    assert placing.missing() == ["1.bias"]
    placing("1.bias", torch.zeros(2))
    assert placing.missing() == []
    assert torch.equal(network[0].weight, torch.ones(2, 2))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"a": (2,)}, r"1 are missing, 0 are foreign and 0 .* \(b\)"),
        ({"a": (2,), "b": (3,), "c": (1,)}, r"0 are missing, 1 are foreign and 0 .* \(c\)"),
        ({"a": (2,), "b": (4,)}, r"0 are missing, 0 are foreign and 1 .* \(b\)"),
    ],
)
def test_the_weights_of_another_network_are_refused(shapes: dict, message: str) -> None:
    targets = {"a": torch.zeros(2), "b": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=message):
        check_shapes(targets, {name: torch.Size(shape) for name, shape in shapes.items()})
    check_shapes(targets, {"a": torch.Size([2]), "b": torch.Size([3])})


def test_an_optimizer_over_whole_parameters_takes_its_state_as_it_is() -> None:
    network = nn.Linear(2, 2)
    first, second = (torch.optim.AdamW(network.parameters()) for _ in range(2))
    network(torch.ones(1, 2)).sum().backward()
    first.step()
    load_optimizer(second, first.state_dict())
    for parameter in network.parameters():
        assert torch.equal(second.state[parameter]["exp_avg"], first.state[parameter]["exp_avg"])
