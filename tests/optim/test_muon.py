"""Muon against a Newton-Schulz written out, the rest against torch's AdamW."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from roots.errors import CheckpointError, ConfigError
from roots.networks import Scratch
from roots.optim import AdamW, Combined, MasterWeights, Muon, OptimizerBuilder, hidden_matrices

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
LLAMA = {"model_type": "llama", **SIZES, "num_attention_heads": 2, "vocab_size": 40}
CONFIGS = {
    "llama": {**LLAMA, "tie_word_embeddings": False},
    "llama tied": {**LLAMA, "tie_word_embeddings": True},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 40},
    "mixtral": {
        **LLAMA,
        "model_type": "mixtral",
        "num_key_value_heads": 1,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
    },
}
LLAMAS_MATRICES = {
    f"model.layers.{layer}.{name}.weight"
    for layer in (0, 1)
    for name in (
        *(f"self_attn.{kind}_proj" for kind in "qkvo"),
        *(f"mlp.{kind}_proj" for kind in ("gate", "up", "down")),
    )
}


def network(name: str) -> nn.Module:
    return Scratch(config=CONFIGS[name]).build(None, seed=0, device=torch.device("cpu"))


def names_by_group(module: nn.Module, builder: Muon) -> dict[str, set[str]]:
    names = {id(p): name for name, p in module.named_parameters()}
    groups = builder.build(module).param_groups
    ids = [id(p) for group in groups for p in group["params"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(names)
    return {group["name"]: {names[id(p)] for p in group["params"]} for group in groups}


# -- who is in which group ---------------------------------------------------------------------


def test_of_llama_the_layers_matrices_are_muons_and_the_untied_head_is_decayed_by_adamw() -> None:
    groups = names_by_group(network("llama"), Muon())
    assert groups["matrices"] == LLAMAS_MATRICES
    assert groups["decayed"] == {"lm_head.weight"}
    assert "model.embed_tokens.weight" in groups["undecayed"]
    assert len(groups["undecayed"]) == 1 + 5  # and the norms


def test_a_tied_head_is_the_embedding_and_adamws() -> None:
    groups = names_by_group(network("llama tied"), Muon())
    assert groups.keys() == {"matrices", "undecayed"}
    assert groups["matrices"] == LLAMAS_MATRICES
    assert "model.embed_tokens.weight" in groups["undecayed"]


def test_of_gpt2_the_transposed_matrices_are_muons_the_fused_ones_whole() -> None:
    module = network("gpt2")
    forms = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    groups = names_by_group(module, Muon())
    assert groups["matrices"] == {f"transformer.h.{n}.{f}.weight" for n in (0, 1) for f in forms}
    assert {"transformer.wte.weight", "transformer.wpe.weight"} <= groups["undecayed"]
    assert module.transformer.h[0].attn.c_attn.weight.shape == (32, 96)


def test_of_a_mixture_the_stacked_experts_are_adamws() -> None:
    groups = names_by_group(network("mixtral"), Muon())
    assert any("experts" in name for name in groups["decayed"])
    assert any("self_attn.q_proj" in name for name in groups["matrices"])


def test_the_same_matrices_are_found_inside_a_wrapper() -> None:
    module = network("llama")
    wrapped = nn.Module()
    wrapped.network = module
    assert [id(p) for p in hidden_matrices(wrapped)] == [id(p) for p in hidden_matrices(module)]


def test_frozen_matrices_are_left_out() -> None:
    module = network("llama tied")
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(".mlp." in name)
    assert {g["name"] for g in Muon().build(module).param_groups} == {"matrices"}


def test_without_a_hidden_matrix_it_is_refused_and_adamw_is_the_cure() -> None:
    module = nn.Sequential(nn.Embedding(6, 4), nn.LayerNorm(4))
    with pytest.raises(ConfigError, match=r"among the 3 trainable .*\(6, 4\), \(4,\), \(4,\)") as e:
        Muon().build(module)
    assert "roots.optim.AdamW" in str(e.value)
    AdamW().build(module)


# -- the steps ---------------------------------------------------------------------------------


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """Jordan's quintic Newton-Schulz, in the precision of its argument."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / matrix.norm()
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


FACTORS = {
    "match_rms_adamw": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
    "original": lambda rows, columns: math.sqrt(max(1, rows / columns)),
}


def a_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Embedding(6, 8), nn.LayerNorm(8), nn.Linear(8, 12), nn.Linear(12, 8, bias=False)
    )


def give_gradients(module: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


@pytest.mark.parametrize("adjust_lr_fn", FACTORS)
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("ns_steps", [5, 2])
def test_matrices_move_along_their_orthogonalised_momentum(
    adjust_lr_fn: str, nesterov: bool, ns_steps: int
) -> None:
    module, rate, decay, momentum = a_network(), 0.05, 0.3, 0.8
    optimizer = Muon(
        learning_rate=rate,
        weight_decay=decay,
        momentum=momentum,
        nesterov=nesterov,
        adjust_lr_fn=adjust_lr_fn,
        ns_steps=ns_steps,
    ).build(module)
    matrices = (module[2].weight, module[3].weight)
    expected = [matrix.detach().double().clone() for matrix in matrices]
    means = [torch.zeros_like(matrix) for matrix in expected]
    for step in range(4):
        give_gradients(module, step)
        for matrix, value, mean in zip(matrices, expected, means, strict=True):
            gradient = matrix.grad.double()
            mean.mul_(momentum).add_(gradient, alpha=1 - momentum)
            ahead = (1 - momentum) * gradient + momentum * mean if nesterov else mean
            factor = FACTORS[adjust_lr_fn](*matrix.shape)
            value.mul_(1 - rate * decay)
            value.sub_(rate * factor * orthogonalised(ahead, ns_steps))
        optimizer.step()
    for matrix, value in zip(matrices, expected, strict=True):
        factor = FACTORS[adjust_lr_fn](*matrix.shape)
        # torch orthogonalises in bfloat16: each of the four steps errs by about 1/128 of a step
        torch.testing.assert_close(matrix.double(), value, rtol=0, atol=4 * rate * factor / 64)


def test_the_rest_moves_bitwise_as_by_torchs_adamw() -> None:
    ours, theirs = a_network(), a_network()
    builder = Muon(learning_rate=0.05, adamw_learning_rate=0.01, beta1=0.8, beta2=0.9, eps=1e-6)
    optimizer = builder.build(ours)
    names = ("0.weight", "1.weight", "1.bias", "2.bias")
    rest = [parameter for name, parameter in theirs.named_parameters() if name in names]
    reference = torch.optim.AdamW(
        rest, lr=0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.0, fused=True
    )
    for step in range(4):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        optimizer.step()
        reference.step()
    for name, parameter in ours.named_parameters():
        equal = torch.equal(parameter, theirs.get_parameter(name))
        assert equal == (name in names), name


def test_a_step_is_as_large_as_adamws_whatever_the_shape_and_the_gradient() -> None:
    for rows, columns in ((16, 64), (64, 16), (32, 32)):
        module = nn.Linear(columns, rows, bias=False)
        before = module.weight.detach().clone()
        optimizer = Muon(learning_rate=0.01, weight_decay=0.0).build(module)
        module.weight.grad = 1e3 * torch.randn(rows, columns)
        optimizer.step()
        rms = float((module.weight.detach() - before).square().mean().sqrt())
        assert rms == pytest.approx(0.2 * 0.01, rel=0.35)  # Newton-Schulz leaves 0.7 to 1.2


def test_a_matrix_and_its_transpose_move_alike() -> None:
    one, other = nn.Linear(12, 4, bias=False), nn.Linear(4, 12, bias=False)
    with torch.no_grad():
        other.weight.copy_(one.weight.T)
    gradient = torch.randn(4, 12)
    for module, grad in ((one, gradient), (other, gradient.T.contiguous())):
        optimizer = Muon(learning_rate=0.1).build(module)
        module.weight.grad = grad
        optimizer.step()
    torch.testing.assert_close(one.weight, other.weight.T, rtol=0, atol=2e-3)


def test_a_closure_is_called_and_its_loss_falls() -> None:
    module = a_network()
    optimizer = Muon(learning_rate=0.02).build(module)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = module(torch.arange(6)).square().mean()
        loss.backward()
        return loss.detach()

    losses = [optimizer.step(closure) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]


# -- settings, rates, state --------------------------------------------------------------------


def test_each_kind_has_its_peak_rate() -> None:
    builder = Muon(learning_rate=0.02, adamw_learning_rate=0.003)
    groups = builder.build(network("llama")).param_groups
    assert {g["name"]: g["lr"] for g in groups} == {g["name"]: builder.peak_rate(g) for g in groups}
    assert {g["name"]: g["lr"] for g in groups} == {
        "matrices": 0.02,
        "decayed": 0.003,
        "undecayed": 0.003,
    }
    one = Muon(learning_rate=0.02)
    assert {one.peak_rate(g) for g in groups} == {0.02}


def test_settings_are_what_build_sets() -> None:
    builder = Muon(weight_decay=0.3, momentum=0.8, nesterov=False, ns_steps=4, beta2=0.9)
    groups = builder.build(network("llama")).param_groups
    for group in groups:
        settings = builder.settings(group)
        assert {name: group[name] for name in settings} == settings
    assert [g["weight_decay"] for g in groups] == [0.3, 0.3, 0.0]


def values(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def trained(
    steps: range, state_file: Path | None = None, *, low: bool = False, start: Any = None
) -> tuple[nn.Module, Any]:
    module = a_network().to(torch.bfloat16 if low else torch.float32)
    if start is not None:
        module.load_state_dict(start)
    optimizer: Any = Muon(learning_rate=0.02).build(module)
    if low:
        optimizer = MasterWeights(optimizer)
    if state_file is not None:
        optimizer.load_state_dict(torch.load(state_file, weights_only=True))
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (step + 1)
        give_gradients(module, step)
        optimizer.step()
    return module, optimizer


@pytest.mark.parametrize("low", [False, True])
def test_a_saved_state_goes_on_bitwise(tmp_path: Path, low: bool) -> None:
    half, optimizer = trained(range(3), low=low)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    went_on, _ = trained(range(3, 6), tmp_path / "state.pt", low=low, start=half.state_dict())
    in_one_go, _ = trained(range(6), low=low)
    pairs = zip(values(went_on), values(in_one_go), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_saved_state_numbers_the_parameters_through() -> None:
    module, optimizer = trained(range(1))
    state = optimizer.state_dict()
    numbers = [n for group in state["param_groups"] for n in group["params"]]
    assert numbers == list(range(len(list(module.parameters()))))
    assert state["state"].keys() == set(numbers)
    assert state["state"][0].keys() == {"momentum_buffer"}
    assert state["state"][2].keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert optimizer.state.keys() == set(module.parameters())


def test_after_loading_the_groups_are_those_of_the_parts() -> None:
    _, optimizer = trained(range(1))
    assert isinstance(optimizer, Combined)
    optimizer.load_state_dict(optimizer.state_dict())
    within = [group for part in optimizer.parts for group in part.param_groups]
    assert all(a is b for a, b in zip(optimizer.param_groups, within, strict=True))


@pytest.mark.parametrize("low", [False, True])
def test_the_state_of_another_optimizer_is_refused_and_nothing_changed(low: bool) -> None:
    module, optimizer = trained(range(1), low=low)
    before = values(module)
    state = AdamW().build(module).state_dict()
    with pytest.raises(CheckpointError, match=r"groups decayed, undecayed, .*matrices, undecayed"):
        optimizer.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(before, values(module), strict=True))


@pytest.mark.parametrize("builder", [AdamW(), Muon()])
def test_a_state_whose_groups_have_other_sizes_is_refused(builder: OptimizerBuilder) -> None:
    more = nn.Sequential(a_network(), nn.LayerNorm(3))
    state = builder.build(more).state_dict()
    with pytest.raises(CheckpointError, match=r"has \d+ parameters in its group undecayed, and"):
        builder.build(a_network()).load_state_dict(state)
    builder.build(more).load_state_dict(state)


def test_its_state_has_as_many_bytes_as_it_says() -> None:
    module, optimizer = trained(range(1))
    tensors = [v for state in optimizer.state.values() for v in state.values() if v.ndim]
    matrices = 8 * 12 + 12 * 8
    rest = 6 * 8 + 8 + 8 + 12
    assert sum(v.nbytes for v in tensors) == Muon().state_bytes(module) == 4 * matrices + 8 * rest
    assert Muon().state_bytes(a_network().to("meta")) == Muon().state_bytes(module)


@pytest.mark.parametrize("name", ["learning_rate", "adamw_learning_rate", "weight_decay", "eps"])
def test_a_negative_setting_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}=-0\.5 is negative\. Set it to 0 or more"):
        Muon(**{name: -0.5})
    Muon(**{name: 0})


@pytest.mark.parametrize("name", ["momentum", "beta1", "beta2"])
def test_a_decay_rate_outside_its_range_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}=1 .* at least 0 and less than 1"):
        Muon(**{name: 1.0})
    Muon(**{name: 0.999})


@pytest.mark.parametrize("bad", [0, 100])
def test_a_number_of_iterations_that_torch_refuses_is_refused(bad: int) -> None:
    with pytest.raises(ConfigError, match=rf"ns_steps={bad} .* from 1 to 99"):
        Muon(ns_steps=bad)
    for good in (1, 99):
        Muon(ns_steps=good)


def test_an_unknown_adjustment_is_refused_with_the_nearest() -> None:
    message = r"no adjust_lr_fn 'orginal' \(did you mean 'original'\?\).*match_rms_adamw or orig"
    with pytest.raises(ConfigError, match=message):
        Muon(adjust_lr_fn="orginal")
    Muon(adjust_lr_fn="original")
