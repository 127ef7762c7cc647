"""Quick dropout against its definition: rates, scale, gradients, seeds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from roots.networks.dropout import QuickDropout, quicken_dropout

N = 400_000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1 / 3])
def test_the_rate_is_p_and_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    dropped = QuickDropout(p)(torch.ones(N))
    spread = math.sqrt(p * (1 - p) / N)
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=4 * spread)
    assert dropped.max().item() == pytest.approx(1 / (1 - p), rel=1e-4)
    assert dropped.mean().item() == pytest.approx(1, abs=4 * spread / (1 - p))


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(1)
    zero = (QuickDropout(0.1)(torch.ones(N)) == 0).double()
    for lag in (1, 2, 3, 4, 8):
        both = (zero[:-lag] * zero[lag:]).mean().item()
        assert both == pytest.approx(0.01, abs=4 * math.sqrt(0.01 * 0.99 / N)), lag
    for place in range(4):  # of the four that share a random word
        assert zero[place::4].mean().item() == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / N * 4))


def test_gradients_flow_through_what_stays_scaled_alike() -> None:
    values = torch.randn(7, 13, requires_grad=True)
    torch.manual_seed(2)
    out = QuickDropout(0.4)(values)
    out.backward(torch.ones_like(out))
    torch.testing.assert_close(values.grad * values, out)
    assert (values.grad == 0).any()


def test_the_seed_decides_and_evaluation_drops_nothing() -> None:
    layer, values = QuickDropout(0.3), torch.randn(5, 3)
    torch.manual_seed(3)
    first = layer(values)
    torch.manual_seed(3)
    assert torch.equal(layer(values), first)
    assert not torch.equal(layer(values), first)
    assert torch.equal(layer.eval()(values), values)


@pytest.mark.parametrize(("p", "share"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_limits_keep_all_or_nothing(p: float, share: float) -> None:
    kept = QuickDropout(p)(torch.ones(1000))
    assert (kept != 0).float().mean() == share


def test_a_networks_layers_are_replaced_and_its_state_stays() -> None:
    network = BertForSequenceClassification(
        BertConfig(
            vocab_size=20,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            hidden_dropout_prob=0.2,
        )
    )
    names = list(network.state_dict())
    quicken_dropout(network, torch.device("meta"))
    assert any(type(module) is nn.Dropout for module in network.modules())
    quicken_dropout(network, torch.device("cpu"))
    assert not any(type(module) is nn.Dropout for module in network.modules())
    assert list(network.state_dict()) == names
    assert network.bert.embeddings.dropout.p == 0.2
    assert "QuickDropout(p=0.2)" in str(network)
    assert network.eval().bert.embeddings.dropout.training is False
