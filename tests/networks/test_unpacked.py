"""No search for packed rows where there are none, and the same numbers without it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, masking_utils

from roots.batch import TokenBatch
from roots.networks import Trainable
from roots.networks.unpacked import rows_are_unpacked
from roots.objectives import NextToken

CONFIGS = {
    "llama": {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2},
    "gpt2": {"n_embd": 32, "n_head": 2, "n_positions": 64},
    "gemma2": {  # with windows, and its own forward
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "sliding_window": 4,
    },
}


@pytest.fixture
def batch() -> TokenBatch:
    ids = torch.arange(36).view(3, 12)
    return TokenBatch(
        input_ids=ids,
        labels=ids + 1,
        samples=torch.arange(3),
        step=0,
        n_bytes=torch.ones(3, dtype=torch.long),
    )


def counting(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    searches: list[Any] = []
    search = masking_utils.find_packed_sequence_indices
    monkeypatch.setattr(
        masking_utils,
        "find_packed_sequence_indices",
        lambda position_ids: (searches.append(position_ids), search(position_ids))[1],
    )
    return searches


@pytest.mark.parametrize("family", CONFIGS)
def test_a_forward_pass_searches_for_nothing_and_gives_the_same(
    family: str, batch: TokenBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AutoConfig.for_model(family, num_hidden_layers=2, vocab_size=50, **CONFIGS[family])
    torch.manual_seed(0)
    trainable = Trainable(AutoModelForCausalLM.from_config(config), NextToken()).eval()
    trainable.check()
    searches = counting(monkeypatch)
    score = trainable(batch)
    assert searches == []
    logits = trainable.logits(batch.input_ids)
    assert searches  # or transformers searches elsewhere by now, and the host waits again
    expected = NextToken().from_logits(logits, batch.labels)
    torch.testing.assert_close(score.nats, expected.nats)
    with rows_are_unpacked():
        assert torch.equal(trainable.logits(batch.input_ids), logits)


def test_the_search_is_back_when_the_block_fails() -> None:
    search = masking_utils.find_packed_sequence_indices

    def fails() -> None:
        with rows_are_unpacked():
            assert masking_utils.find_packed_sequence_indices is not search
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fails()
    assert masking_utils.find_packed_sequence_indices is search
