"""Float32 master weights against plain float32 training."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from roots.errors import CheckpointError
from roots.optim import AdamW, MasterWeights, Muon, OptimizerBuilder

BF16 = torch.bfloat16
BUILDER = AdamW(learning_rate=1e-2, weight_decay=0.1)


def networks() -> tuple[nn.Module, nn.Module]:
    """The same values in bfloat16 and in float32, where they are exact too."""
    torch.manual_seed(0)
    low = nn.Sequential(nn.Embedding(6, 5), nn.LayerNorm(5), nn.Linear(5, 6)).to(BF16)
    return low, copy.deepcopy(low).float()


def give_gradients(module: nn.Module, step: int, scale: float = 1.0) -> None:
    """Gradients that bfloat16 holds exactly, the same for both networks."""
    generator = torch.Generator().manual_seed(step)
    for parameter in module.parameters():
        gradient = scale * torch.randn(parameter.shape, generator=generator)
        parameter.grad = gradient.to(BF16).to(parameter.dtype)


def values(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_weights_are_those_of_float32_training_rounded() -> None:
    low, high = networks()
    master, plain = MasterWeights(BUILDER.build(low)), BUILDER.build(high)
    for step in range(10):
        for module, optimizer in ((low, master), (high, plain)):
            give_gradients(module, step)
            optimizer.step()
        assert equal(values(low), [p.to(BF16) for p in values(high)])


def test_steps_too_small_for_bfloat16_add_up() -> None:
    # between 1 and 2 bfloat16 counts in steps of 1/128: 1 + 0.001 is 1 again
    low = nn.Linear(4, 4, bias=False).to(BF16)
    nn.init.ones_(low.weight)
    bare = copy.deepcopy(low)
    builder = AdamW(learning_rate=1e-3, weight_decay=0.0)
    master, lost = MasterWeights(builder.build(low)), builder.build(bare)
    for _ in range(100):
        low.weight.grad, bare.weight.grad = (-torch.ones(4, 4, dtype=BF16) for _ in range(2))
        master.step()
        lost.step()
    assert torch.equal(bare.weight, torch.ones_like(bare.weight))
    torch.testing.assert_close(low.weight.float(), torch.full((4, 4), 1.1), rtol=2**-8, atol=0)


def trained(steps: range, state_file: Path | None = None) -> tuple[nn.Module, MasterWeights]:
    low, _ = networks()
    master = MasterWeights(BUILDER.build(low))
    if state_file is not None:
        master.load_state_dict(torch.load(state_file, weights_only=True))
    for step in steps:
        give_gradients(low, step, scale=1e-3)
        master.step()
    return low, master


def test_a_saved_state_goes_on_bitwise(tmp_path: Path) -> None:
    _, master = trained(range(5))
    torch.save(master.state_dict(), tmp_path / "state.pt")
    went_on, its_master = trained(range(5, 12), tmp_path / "state.pt")
    in_one_go, whole = trained(range(12))
    assert equal(values(went_on), values(in_one_go))
    ours, theirs = its_master.state_dict()["state"], whole.state_dict()["state"]
    assert ours.keys() == theirs.keys()
    for index in ours:
        assert (
            ours[index].keys()
            == theirs[index].keys()
            == {"step", "exp_avg", "exp_avg_sq", "master"}
        )
        assert all(torch.equal(ours[index][name], theirs[index][name]) for name in ours[index])


def test_loading_sets_the_parameters_to_the_rounded_copies(tmp_path: Path) -> None:
    trained_network, master = trained(range(5))
    torch.save(master.state_dict(), tmp_path / "state.pt")
    fresh, _ = trained(range(0), tmp_path / "state.pt")
    assert equal(values(fresh), values(trained_network))


def test_a_state_saved_before_the_first_step_can_be_loaded(tmp_path: Path) -> None:
    _, master = trained(range(0))
    torch.save(master.state_dict(), tmp_path / "state.pt")
    went_on, _ = trained(range(3), tmp_path / "state.pt")
    in_one_go, _ = trained(range(3))
    assert equal(values(went_on), values(in_one_go))


def test_the_state_holds_every_copy_in_float32_and_asking_for_it_changes_nothing() -> None:
    low, master = trained(range(3))
    state = master.state_dict()["state"]
    assert [s["master"].shape for s in state.values()] == [
        p.shape for g in BUILDER.build(low).param_groups for p in g["params"]
    ]
    assert all(s["master"].dtype == torch.float32 for s in state.values())
    assert all("master" not in s for s in master.inner.state.values())


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad_forgets_the_networks_gradients(set_to_none: bool) -> None:
    low, _ = networks()
    master = MasterWeights(BUILDER.build(low))
    give_gradients(low, 0)
    master.step()
    master.zero_grad(set_to_none=set_to_none)
    if set_to_none:
        assert all(p.grad is None for p in low.parameters())
    else:
        assert all(not p.grad.any() for p in low.parameters())


def test_a_parameter_without_gradient_stays() -> None:
    low, _ = networks()
    master = MasterWeights(BUILDER.build(low))
    before = values(low)
    give_gradients(low, 0)
    low[0].weight.grad = None
    master.step()
    assert torch.equal(low[0].weight, before[0])
    assert not torch.equal(low[2].weight, before[3])


def test_a_rate_set_on_it_is_the_rate_of_the_step_also_after_loading() -> None:
    low, _ = networks()
    master = MasterWeights(BUILDER.build(low))
    master.load_state_dict(master.state_dict())
    for group in master.param_groups:
        group["lr"] = 0.0
    before = values(low)
    give_gradients(low, 0)
    master.step()
    assert equal(values(low), before)
    for group in master.param_groups:
        group["lr"] = 0.5
    give_gradients(low, 1)
    master.step()
    assert not torch.equal(low[2].weight, before[3])


def test_a_closure_is_called_with_gradients_on_and_its_loss_given_back() -> None:
    low, _ = networks()
    master = MasterWeights(BUILDER.build(low))

    def closure() -> Tensor:
        master.zero_grad()
        loss = low(torch.arange(6)).float().square().sum()
        loss.backward()
        return loss

    first = master.step(closure)
    losses = [master.step(closure) for _ in range(20)]
    assert losses[-1] < first


def test_a_state_without_copies_is_refused_and_that_of_the_same_precision_is_taken() -> None:
    low, high = networks()
    before = values(low)
    master, plain = MasterWeights(BUILDER.build(low)), BUILDER.build(high)
    with pytest.raises(CheckpointError, match=r"no float32 copy of 5 of 5 .*trainer\.precision"):
        master.load_state_dict(plain.state_dict())
    assert equal(values(low), before)
    master.load_state_dict(MasterWeights(BUILDER.build(low)).state_dict())


@pytest.mark.parametrize("builder", [BUILDER, Muon(learning_rate=1e-2, weight_decay=0.1)])
def test_a_network_of_full_precision_takes_the_copies_for_its_weights(
    builder: OptimizerBuilder,
) -> None:
    low, high = networks()
    master, plain = MasterWeights(builder.build(low)), builder.build(high)
    for step in range(3):
        for module, optimizer in ((low, master), (high, plain)):
            give_gradients(module, step)
            optimizer.step()
    rounded = copy.deepcopy(low).float()  # as its checkpoint's weights are read
    assert not equal(values(rounded), values(high))
    goes_on = builder.build(rounded)
    goes_on.load_state_dict(master.state_dict())
    assert equal(values(rounded), values(high))
    assert not any("master" in own for own in goes_on.state_dict()["state"].values())
    for module, optimizer in ((rounded, goes_on), (high, plain)):
        give_gradients(module, step=3)
        optimizer.step()
    assert equal(values(rounded), values(high))
