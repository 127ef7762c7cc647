"""Activation checkpointing: the same numbers, from less that is kept."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from roots.errors import ConfigError
from roots.networks import RECOMPUTE, Scratch, blocks_of, check_recompute, recompute

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "vocab_size": 120,
    "attention_dropout": 0.0,
}
DROPPED = {"resid_pdrop": 0.1, "attn_pdrop": 0.1, "embd_pdrop": 0.1, "vocab_size": 120}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 4, "n_head": 2, **DROPPED}
GPT2 |= {"bos_token_id": 0, "eos_token_id": 0}


class Counting(TorchDispatchMode):
    """Counts the operations that are run."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        self.calls[str(function.overloadpacket.__name__)] += 1
        return function(*args, **(kwargs or {}))


def step(config: dict, mode: str, every: int = 1) -> dict[str, Any]:
    network = Scratch(config=config, attention="sdpa")
    built = network.build(None, seed=1, device=torch.device("cpu")).train()
    recompute(blocks_of(built), mode, every_blocks=every)
    kept = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    torch.manual_seed(5)
    tokens = torch.arange(48).view(2, 24)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = built(input_ids=tokens, use_cache=False).logits
    with Counting() as backward:
        logits.square().mean().backward()
    gradient = torch.cat([p.grad.flatten() for p in built.parameters()])
    return {"logits": logits, "gradient": gradient, "kept": kept, "backward": backward.calls}


@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2 with dropout"])
@pytest.mark.parametrize(("mode", "every"), [("full", 1), ("full", 3), ("selective", 1)])
def test_the_gradient_is_bitwise_the_same(config: dict, mode: str, every: int) -> None:
    plain, recomputed = step(config, "none"), step(config, mode, every)
    assert torch.equal(recomputed["logits"], plain["logits"])
    assert torch.equal(recomputed["gradient"], plain["gradient"])


def test_fewer_activations_are_kept_the_more_blocks_recompute() -> None:
    kept = [step(LLAMA, mode, every)["kept"] for mode, every in (("full", 1), ("full", 2))]
    most = step(LLAMA, "none")["kept"]
    assert kept[0] < kept[1] < most
    assert kept[1] - kept[0] == pytest.approx((most - kept[0]) / 2, rel=0.1)


def test_selective_repeats_no_product_and_no_attention() -> None:
    plain, full, selective = (step(LLAMA, mode)["backward"] for mode in RECOMPUTE)
    products = {"mm", "addmm", "bmm", "_scaled_dot_product_flash_attention_for_cpu"}
    assert sum(full[name] for name in products) > sum(plain[name] for name in products)
    assert [selective[name] for name in products] == [plain[name] for name in products]
    assert selective["silu"] == full["silu"] == 4
    assert plain["silu"] == 0


def test_without_gradients_nothing_is_checkpointed(monkeypatch: pytest.MonkeyPatch) -> None:
    import roots.networks.recomputing as module

    monkeypatch.setattr(module, "checkpoint", None)
    built = Scratch(config=LLAMA).build(None, seed=1, device=torch.device("cpu"))
    recompute(blocks_of(built), "full")
    with torch.no_grad():
        built(input_ids=torch.zeros(1, 4, dtype=torch.long))


def test_an_unknown_mode_is_refused_with_the_nearest() -> None:
    message = r"activation_checkpointing: ful \(did you mean 'full'\?\).*none, full, selective"
    with pytest.raises(ConfigError, match=message):
        check_recompute("ful", 1)
    for mode in RECOMPUTE:
        check_recompute(mode, 1)


def test_no_block_is_no_number_of_blocks() -> None:
    with pytest.raises(ConfigError, match=r"checkpoint_every_blocks=0 .* to 1 for every block"):
        check_recompute("full", 0)
    with pytest.raises(ConfigError, match=r"checkpoint_every_blocks=3 does nothing .* to full or"):
        check_recompute("none", 3)
    check_recompute("full", 3)
