"""Networks from nothing against transformers' own initialisation."""

from __future__ import annotations

import random
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from roots.errors import ConfigError
from roots.networks import MASKED_LM, Pretrained, Scratch
from roots.networks.checks import check_causal
from roots.records import Vocabulary

CPU = torch.device("cpu")
ROOMY = Vocabulary(size=64, eos_id=3, bos_id=2)
LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}
GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 64}
CONFIGS = {
    "llama": LLAMA,
    "llama tied": {**LLAMA, "tie_word_embeddings": True},
    "llama other std": {**LLAMA, "initializer_range": 0.5},
    "gpt2": GPT2,
    "qwen3": {**LLAMA, "model_type": "qwen3", "head_dim": 32},
    "gemma2": {**LLAMA, "model_type": "gemma2", "head_dim": 32},
}


def built(config: dict[str, Any], seed: int = 1) -> PreTrainedModel:
    return Scratch(config=config).build(ROOMY, seed=seed, device=CPU)


def direct(config: dict[str, Any]) -> PreTrainedModel:
    """The same network as transformers makes it without a meta device."""
    keys = {**config, "vocab_size": ROOMY.size}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        return AutoModelForCausalLM.from_config(
            AutoConfig.for_model(keys.pop("model_type"), **keys)
        )


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_has_the_statistics_of_transformers_own(name: str) -> None:
    ours, theirs = built(CONFIGS[name]), dict(direct(CONFIGS[name]).named_parameters())
    assert dict(ours.named_parameters()).keys() == theirs.keys()
    for key, parameter in ours.named_parameters():
        other = theirs[key]
        assert (parameter.shape, parameter.dtype) == (other.shape, torch.float32), key
        if other.std() == 0:  # norms and biases
            assert torch.equal(parameter, other), key
            continue
        n, std = parameter.numel(), other.std().item()
        assert parameter.std().item() == pytest.approx(std, rel=5 / n**0.5), key
        assert parameter.mean().item() == pytest.approx(0, abs=5 * std / n**0.5), key
        assert not torch.equal(parameter, other), key


@pytest.mark.parametrize("name", CONFIGS)
def test_every_buffer_is_transformers_own(name: str) -> None:
    ours, theirs = dict(built(CONFIGS[name]).named_buffers()), direct(CONFIGS[name])
    assert ours.keys() == dict(theirs.named_buffers()).keys()
    for key, buffer in theirs.named_buffers():
        assert torch.equal(ours[key], buffer), key


def test_the_rotary_frequencies_are_their_definition() -> None:
    found = built(LLAMA).model.rotary_emb.inv_freq
    exponents = torch.arange(0, 32, 2, dtype=torch.float64) / 32
    torch.testing.assert_close(found.double(), 10_000.0**-exponents, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
def test_the_norms_are_ones(name: str) -> None:
    norms = {k: p for k, p in built(CONFIGS[name]).named_parameters() if p.ndim == 1}
    weights = {k: p for k, p in norms.items() if k.endswith("weight")}
    assert weights
    assert all(torch.equal(p, torch.ones_like(p)) for p in weights.values())


def test_gpt2s_residual_projections_are_smaller_by_the_root_of_twice_the_layers() -> None:
    network = built({**GPT2, "n_layer": 8})
    stds = [block.attn.c_proj.weight.std().item() for block in network.transformer.h]
    assert sum(stds) / 8 == pytest.approx(0.02 / 16**0.5, rel=0.02)


@pytest.mark.parametrize("name", ["llama tied", "gpt2", "gemma2"])
def test_a_tied_head_is_the_embedding(name: str) -> None:
    network = built(CONFIGS[name])
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight


def test_an_untied_head_is_not() -> None:
    network = built(LLAMA)
    head, embedding = network.get_output_embeddings().weight, network.get_input_embeddings().weight
    assert not torch.equal(head, embedding)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(name: str) -> None:
    first, again, other = (built(CONFIGS[name], seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    matrices = [key for key in first if first[key].ndim == 2]
    assert not any(torch.equal(first[key], other[key]) for key in matrices)


def test_the_global_random_states_stay_as_they_were_and_do_not_matter() -> None:
    torch.manual_seed(5)
    first = built(LLAMA).state_dict()
    torch.manual_seed(6)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    second = built(LLAMA).state_dict()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_nothing_is_left_on_the_meta_device() -> None:
    network = built(LLAMA)
    tensors = [*network.parameters(), *network.buffers()]
    assert {t.device.type for t in tensors} == {"cpu"}


def test_the_vocabulary_fills_the_config_in_and_given_keys_win() -> None:
    config = Scratch(config=LLAMA).network_config(ROOMY)
    assert (config.vocab_size, config.eos_token_id, config.bos_token_id) == (64, 3, 2)
    assert config.pad_token_id is None
    given = Scratch(config={**LLAMA, "vocab_size": 128, "eos_token_id": 9}).network_config(ROOMY)
    assert (given.vocab_size, given.eos_token_id, given.bos_token_id) == (128, 9, 2)


def test_another_attention_gives_the_same_logits() -> None:
    tokens = torch.arange(16)[None]
    sdpa, eager = (
        Scratch(config=LLAMA, attention=name).build(ROOMY, seed=1, device=CPU)
        for name in ("auto", "eager")
    )
    assert (sdpa.config._attn_implementation, eager.config._attn_implementation) == (
        "sdpa",
        "eager",
    )
    torch.testing.assert_close(sdpa(tokens).logits, eager(tokens).logits)


# -- what is refused --------------------------------------------------------------------------


def test_a_config_without_model_type_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"names no architecture\. Add model_type: llama"):
        Scratch(config={"hidden_size": 64})
    Scratch(config={"hidden_size": 64, "model_type": "llama"})


def test_an_unknown_model_type_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no model_type 'lllama' \(did you mean 'llama'\?\)\."):
        Scratch(config={**LLAMA, "model_type": "lllama"})
    with pytest.raises(ConfigError, match=r"no model_type '#'\. Correct .*: llama, gpt2 and qwen3"):
        Scratch(config={"model_type": "#"})
    for name in ("llama", "gpt2", "qwen3"):
        Scratch(config={"model_type": name})


@pytest.mark.parametrize("model_type", ["albert", "vit", "t5"])
def test_an_architecture_without_a_causal_model_is_refused(model_type: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{model_type}' is no causal language model .*llama"):
        Scratch(config={"model_type": model_type}).network_config(None)


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    message = r"'hiden_size' is no key of LlamaConfig \(did you mean 'hidden_size'\?\)\. Correct"
    with pytest.raises(ConfigError, match=message):
        Scratch(config={"model_type": "llama", "hiden_size": 64})
    Scratch(config={"model_type": "llama", "hidden_size": 64})


def test_gpt2s_keys_and_their_common_names_are_both_known() -> None:
    config = {"model_type": "gpt2", "hidden_size": 32, "n_layer": 3, "num_attention_heads": 2}
    read = Scratch(config=config).network_config(None)
    assert (read.n_embd, read.n_layer, read.n_head) == (32, 3, 2)


def test_the_older_names_of_the_rotary_settings_are_known_and_heeded() -> None:
    scaling = {"rope_type": "linear", "factor": 2.0}
    old = Scratch(config={**LLAMA, "rope_theta": 5e5, "rope_scaling": scaling})
    new = Scratch(config={**LLAMA, "rope_parameters": {"rope_theta": 5e5, **scaling}})
    ours, theirs = (s.build(ROOMY, seed=1, device=CPU).model.rotary_emb for s in (old, new))
    assert torch.equal(ours.inv_freq, theirs.inv_freq)
    assert ours.inv_freq[-1] < built(LLAMA).model.rotary_emb.inv_freq[-1] / 2
    with pytest.raises(ConfigError, match="'rope_theta' is no key of GPT2Config"):
        Scratch(config={**GPT2, "rope_theta": 5e5})


def test_a_key_that_only_the_networks_own_code_reads_is_taken() -> None:
    """Qwen3-MoE's published configurations have `head_dim`, and its class does not declare it."""
    config = {**LLAMA, "model_type": "qwen3_moe", "head_dim": 24}
    attention = built(config).model.layers[0].self_attn
    assert attention.q_proj.out_features == 24 * LLAMA["num_attention_heads"]
    with pytest.raises(ConfigError, match=r"no key of Qwen3MoeConfig \(did you mean 'head_dim'"):
        Scratch(config={**config, "head_dims": 24})


@pytest.mark.parametrize(("key", "value"), [("hidden_size", 65), ("hidden_size", "64k")])
def test_a_value_that_the_architecture_refuses_is_told_as_a_mistake(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"refuses network\.config: .*{value}.* Correct"):
        Scratch(config={**LLAMA, key: value}).network_config(ROOMY)


def test_an_attention_without_its_package_is_refused() -> None:
    if find_spec("flash_attn"):
        pytest.skip("flash attention is installed here")
    scratch = Scratch(config=LLAMA, attention="flash_attention_2")  # a plan may be for a GPU
    words = r"attention=flash_attention_2: .* network\.attention to auto"
    with pytest.raises(ConfigError, match=words):
        scratch.build(ROOMY, seed=1, device=CPU)
    Scratch(config=LLAMA, attention="auto").build(ROOMY, seed=1, device=CPU)


@pytest.mark.parametrize("make", [partial(Scratch, config=LLAMA), partial(Pretrained, path="any")])
def test_an_attention_that_nobody_has_is_refused_before_anything_is_made(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"no attention 'spda' \(did you mean 'sdpa'\?\)\. Set"):
        make(attention="spda")
    for known in ("sdpa", "eager", "tiled", "flash_attention_3", "kernels-community/flash-attn3"):
        make(attention=known)


def test_a_vocabulary_smaller_than_the_datas_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has 63 embeddings and the data 64 .* at least 64"):
        Scratch(config={**LLAMA, "vocab_size": 63}).build(ROOMY, seed=1, device=CPU)
    Scratch(config={**LLAMA, "vocab_size": 64}).network_config(ROOMY)


@pytest.mark.parametrize("config", [LLAMA, GPT2])
def test_more_positions_than_the_network_has_are_refused(config: dict[str, Any]) -> None:
    scratch = Scratch(config=config)
    with pytest.raises(ConfigError, match=r"seq_len=65 .* the 64 positions .* at most 64, .*: 65"):
        scratch.check_seq_len(scratch.network_config(ROOMY), 65)
    scratch.check_seq_len(scratch.network_config(ROOMY), 64)
    longer = Scratch(config={**config, "max_position_embeddings": 65})  # gpt2 knows the name too
    longer.check_seq_len(longer.network_config(ROOMY), 65)


@pytest.mark.parametrize(
    "kind", ["roberta", "data2vec-text", "ibert", "roberta-prelayernorm", "mpnet", "esm", "xmod"]
)
def test_positions_behind_the_paddings_number_are_those_that_can_be_run(kind: str) -> None:
    more = {"mask_token_id": 4} if kind == "esm" else {}
    more |= {"default_language": "en_XX"} if kind == "xmod" else {}
    padded = Vocabulary(size=64, eos_id=2, bos_id=0, pad_id=1)
    sizes = {k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}
    scratch = Scratch(config={**sizes, "model_type": kind, **more})
    network = scratch.build(padded, seed=1, device=CPU, head=MASKED_LM).eval()
    message = r"seq_len=64 .* the 62 positions .*from 2, behind.* at most 62, .* config .*: 66"
    with pytest.raises(ConfigError, match=message):
        scratch.check_seq_len(network.config, 64)
    scratch.check_seq_len(network.config, 62)
    network(input_ids=torch.arange(62)[None] % 50 + 5)
    with pytest.raises((IndexError, RuntimeError)):
        network(input_ids=torch.arange(63)[None] % 50 + 5)


def test_a_padding_token_with_a_high_number_leaves_no_positions_and_the_cure_works() -> None:
    last = Vocabulary(size=4096, eos_id=2, bos_id=0, pad_id=4095)
    sizes = {k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}
    roberta = {**sizes, "model_type": "roberta"}
    scratch = Scratch(config=roberta)
    message = r"than the 0 positions .*from 4,096, .*\. Give a network .*embeddings: 4160\."
    with pytest.raises(ConfigError, match=message):
        scratch.check_seq_len(scratch.network_config(last, MASKED_LM), 64)
    cured = Scratch(config={**roberta, "max_position_embeddings": 4160})
    cured.check_seq_len(cured.network_config(last, MASKED_LM), 64)


@pytest.mark.parametrize("pad_id", [None, 7])
def test_a_roberta_that_predicts_what_follows_keeps_the_padding_it_counts_from(
    pad_id: int | None,
) -> None:
    sizes = {k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}
    config = {**sizes, "model_type": "roberta", "is_decoder": True}
    vocabulary = Vocabulary(size=64, eos_id=3, bos_id=2, pad_id=pad_id)
    network = Scratch(config=config).build(vocabulary, seed=1, device=CPU)
    assert network.config.pad_token_id == (pad_id or 1)


def test_an_mpt_has_as_many_positions_as_its_max_seq_len() -> None:
    config = {"model_type": "mpt", "d_model": 32, "n_heads": 2, "n_layers": 2, "max_seq_len": 16}
    scratch = Scratch(config=config)
    network = scratch.build(ROOMY, seed=1, device=CPU)
    with pytest.raises(ConfigError, match=r"seq_len=17 .* 16 positions .*\(max_seq_len\).*: 17"):
        scratch.check_seq_len(network.config, 17)
    network(input_ids=torch.arange(16)[None])
    with pytest.raises(RuntimeError, match="must match"):
        network(input_ids=torch.arange(17)[None])


BERT = {**{k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}, "model_type": "bert"}


def test_a_network_that_looks_ahead_is_refused() -> None:
    # transformers has a BertLMHeadModel; without is_decoder it reads the targets
    with pytest.raises(ConfigError, match=r"BertLMHeadModel sees .* of 8 .* is_decoder: true"):
        built(BERT)
    built({**BERT, "is_decoder": True})
    built(LLAMA)


def test_a_network_whose_logits_are_no_numbers_is_refused() -> None:
    network = built(LLAMA)
    with torch.no_grad():
        network.model.norm.weight.fill_(torch.nan)
    with pytest.raises(ConfigError, match=r"LlamaForCausalLM gives logits that are no numbers"):
        check_causal(network)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_logits_of_a_position_have_no_gradient_from_later_tokens(name: str) -> None:
    network = built(CONFIGS[name]).eval()
    embedded = network.get_input_embeddings()(torch.arange(10)[None]).detach().requires_grad_()
    network(inputs_embeds=embedded).logits[0, 4].sum().backward()
    reached = embedded.grad[0].abs().sum(-1) > 0
    assert reached.tolist() == [True] * 5 + [False] * 5
