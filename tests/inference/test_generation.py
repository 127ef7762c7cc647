"""roots.inference.generation: equal to transformers and to no cache, and nothing is disturbed."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel, XLNetConfig, XLNetLMHeadModel

from roots.errors import ConfigError
from roots.inference import Sampling, generate, stream, tokens
from roots.inference.generation import _Context, eos_ids, most_positions, prompt_ids
from roots.networks import Trainable
from roots.objectives import NextToken
from roots.tokenizer import Tokenizer

Make = Callable[..., PreTrainedModel]
GREEDY = Sampling(temperature=0)
KINDS = pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral", "bamba", "minimax"])
PROMPT = [5, 60, 7, 200]


def uncached(network: PreTrainedModel, prompt: list[int], max_tokens: int) -> list[int]:
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(max_tokens):
            logits = network(input_ids=torch.tensor([ids]), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
    return ids[len(prompt) :]


def greedy(network: PreTrainedModel, prompt: list[int], max_tokens: int) -> list[int]:
    return list(tokens(network, prompt, max_tokens=max_tokens, sampling=GREEDY, seed=1))


@KINDS
def test_greedy_tokens_equal_those_of_transformers_and_those_without_a_cache(
    kind: str, make: Make
) -> None:
    network = make(kind).eval()
    ours = list(tokens(network, PROMPT, max_tokens=16, sampling=GREEDY, seed=1))
    input_ids = torch.tensor([PROMPT])
    theirs = network.generate(
        input_ids,
        attention_mask=torch.ones_like(input_ids),
        do_sample=False,
        max_new_tokens=16,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert len(set(ours)) > 5  # a network that repeats itself would show nothing
    assert ours == theirs[0, len(PROMPT) :].tolist()
    assert ours == uncached(network, PROMPT, 16)


def test_a_network_without_a_key_value_cache_is_fed_all_its_tokens(make: Make) -> None:
    network = make("mamba").eval()
    assert greedy(network, PROMPT, 8) == uncached(network, PROMPT, 8)


@pytest.mark.parametrize("kind", ["bamba", "minimax"])
def test_each_cached_step_has_the_logits_of_the_whole_text(kind: str, make: Make) -> None:
    network = make(kind).eval()
    ids, context = [*PROMPT, 9, 77, 13], _Context(network)
    context.feed(PROMPT)
    cached = torch.stack([context.feed([id_]) for id_ in ids[len(PROMPT) :]])
    with torch.no_grad():
        whole = network(input_ids=torch.tensor([ids]), use_cache=False).logits[0, len(PROMPT) :]
    torch.testing.assert_close(cached, whole, atol=1e-3, rtol=0)


def test_positions_that_begin_behind_the_padding_token_stay_so_with_a_cache(make: Make) -> None:
    """transformers' own generate counts them from 0 there."""
    network = make("roberta").eval()
    assert greedy(network, PROMPT, 8) == uncached(network, PROMPT, 8)


def test_minus_one_positions_are_no_limit() -> None:
    network = XLNetLMHeadModel(XLNetConfig(vocab_size=300, d_model=8, n_layer=1, n_head=1))
    assert network.config.max_position_embeddings == -1
    assert most_positions(network) is None
    assert len(greedy(network, PROMPT, 3)) == 3


def test_a_network_in_training_gives_the_same_tokens_as_one_at_rest(make: Make) -> None:
    """Dropout is off, and the cache is on although training switched it off."""
    network = make("gpt2", resid_pdrop=0.5, embd_pdrop=0.5)
    at_rest = list(tokens(network.eval(), PROMPT, max_tokens=20, sampling=GREEDY, seed=1))
    trainable = Trainable(network, NextToken()).train()
    fed: list[int] = []
    hook = network.get_input_embeddings().register_forward_hook(
        lambda _module, args, _output: fed.append(args[0].shape[-1])
    )
    in_training = list(tokens(network, PROMPT, max_tokens=20, sampling=GREEDY, seed=1))
    hook.remove()
    assert in_training == at_rest
    assert fed == [len(PROMPT)] + [1] * 19
    assert trainable.training
    assert network.config.use_cache is False


def test_between_two_tokens_everything_is_as_the_caller_had_it(make: Make) -> None:
    network = make("gpt2").train()
    network.transformer.h[0].eval()  # a part that is frozen
    modes = [module.training for module in network.modules()]
    before = torch.random.get_rng_state()
    for _ in tokens(network, PROMPT, max_tokens=5, sampling=Sampling(), seed=1):
        assert [module.training for module in network.modules()] == modes
        assert torch.is_grad_enabled()
        assert torch.equal(torch.random.get_rng_state(), before)


def test_a_training_step_after_generating_has_the_gradients_of_one_before(make: Make) -> None:
    def gradients(network: PreTrainedModel) -> list[torch.Tensor]:
        network.zero_grad()
        network(input_ids=torch.tensor([PROMPT]), use_cache=False).logits.square().sum().backward()
        return [parameter.grad.clone() for parameter in network.parameters()]

    network = make("llama")
    before = gradients(network)
    list(tokens(network, PROMPT, max_tokens=20, sampling=Sampling(), seed=1))
    assert all(map(torch.equal, before, gradients(network)))


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others(make: Make) -> None:
    network = make("llama", initializer_range=0.02)

    def drawn(seed: int) -> list[int]:
        return list(tokens(network, PROMPT, max_tokens=20, sampling=Sampling(), seed=seed))

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_the_text_ends_before_its_eos(make: Make) -> None:
    network = make("llama")
    whole = list(tokens(network, PROMPT, max_tokens=20, sampling=GREEDY, seed=1))
    end = whole[6]
    for eos in (end, [end, 999]):
        found = tokens(network, PROMPT, max_tokens=20, sampling=GREEDY, seed=1, eos_id=eos)
        assert list(found) == whole[: whole.index(end)]


def test_eos_ids_are_those_of_the_tokenizer_and_of_the_network(
    make: Make, tokenizer: Tokenizer
) -> None:
    network = make("llama")
    network.generation_config.eos_token_id = [3, 4]
    assert eos_ids(network, tokenizer) == {3, 4, tokenizer.eos_id}
    network.generation_config.eos_token_id = None
    assert eos_ids(network, tokenizer) == {tokenizer.eos_id}


def test_generate_is_the_stream_put_together_and_leaves_the_prompt_out(
    make: Make, tokenizer: Tokenizer
) -> None:
    network, prompt = make("llama"), "Hello world"
    text = generate(network, tokenizer, prompt, max_tokens=20, seed=3)
    assert text == "".join(stream(network, tokenizer, prompt, max_tokens=20, seed=3))
    ids = tokenizer.encode(prompt)
    found = tokens(
        network,
        ids,
        max_tokens=20,
        sampling=Sampling(),
        seed=3,
        eos_id=tokenizer.eos_id,
    )
    assert prompt + text == tokenizer.decode([*ids, *found])


def test_an_empty_prompt_starts_from_the_token_that_begins_a_text(
    make: Make, tokenizer: Tokenizer
) -> None:
    assert prompt_ids(tokenizer, "") == [tokenizer.bos_id]
    assert prompt_ids(tokenizer, "a", bos=True) == [tokenizer.bos_id, *tokenizer.encode("a")]
    assert generate(make("llama"), tokenizer, "", max_tokens=3, temperature=0)


def test_learned_positions_end_and_the_longest_possible_is_told_before_anything_is_run(
    make: Make,
) -> None:
    network = make("gpt2")
    network.register_forward_pre_hook(lambda *_: pytest.fail("the network was run"))
    with pytest.raises(ConfigError, match="48 positions") as caught:
        tokens(network, PROMPT, max_tokens=45, sampling=GREEDY, seed=1)
    cure = int(re.search(r"max_tokens to at most (\d+)", str(caught.value))[1])  # type: ignore[index]
    network = make("gpt2")
    assert len(list(tokens(network, PROMPT, max_tokens=cure, sampling=GREEDY, seed=1))) == cure


def test_a_prompt_that_fills_all_positions_is_told_how_short_it_must_be(make: Make) -> None:
    network = make("gpt2")
    with pytest.raises(ConfigError, match="at most 47 tokens"):
        tokens(network, [5] * 48, max_tokens=1, sampling=GREEDY, seed=1)
    assert len(list(tokens(network, [5] * 47, max_tokens=1, sampling=GREEDY, seed=1))) == 1


def test_rotary_positions_go_on(make: Make) -> None:
    network = make("llama", max_position_embeddings=8)
    assert most_positions(network) is None
    assert len(list(tokens(network, PROMPT, max_tokens=9, sampling=GREEDY, seed=1))) == 9


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "message"),
    [
        (PROMPT, 0, "max_tokens=0 adds nothing"),
        ([], 5, "no token to start from"),
        ([5, 70_000], 5, r"token id 70,000, and the network has \d+ embeddings"),
        ([5, -1], 5, "token id -1"),
    ],
)
def test_what_cannot_be_continued_is_told(
    make: Make, prompt: list[int], max_tokens: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tokens(make("llama"), prompt, max_tokens=max_tokens, sampling=GREEDY, seed=1)
