"""What is written stops where roots stops; where a document ends in training stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_chat import CHATML
from tokenizers import Tokenizer as RustTokenizer
from transformers import AutoModelForCausalLM, PreTrainedModel

from roots.errors import ConfigError
from roots.inference import Sampling, tokens, write_folder
from roots.inference.chatting import asked, ends_of_answers
from roots.inference.generation import eos_ids
from roots.tokenizer import Chat, Tokenizer

Make = Callable[..., PreTrainedModel]
TOOLS = [{"name": "tool_use", "template": CHATML}]
PROMPT = [5, 60, 7, 200]


def with_template(tokenizer: Tokenizer, template: object) -> Tokenizer:
    rust = RustTokenizer.from_str(tokenizer.definition)
    rust.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    settings = {**tokenizer.settings, "chat_template": template}
    return Tokenizer(definition=rust.to_str(), settings=settings)


def written_ends(network: PreTrainedModel, tokenizer: Tokenizer, folder: Path) -> object:
    write_folder(network, tokenizer, folder)
    return json.loads((folder / "generation_config.json").read_text())["eos_token_id"]


@pytest.mark.parametrize("named", [None, 7, [7, 8], [0, 9]])
@pytest.mark.parametrize("template", ["", CHATML])
def test_what_is_written_ends_where_roots_ends(
    template: str, named: object, make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    chatting, network = with_template(tokenizer, template), make("llama")
    network.generation_config.eos_token_id = named
    written = written_ends(network, chatting, tmp_path)
    ends = Chat(chatting).ends if template else frozenset()
    assert len(ends) == (1 if template else 0)
    found = [written] if isinstance(written, int) else written
    assert found == sorted(eos_ids(network, chatting) | ends)
    assert isinstance(written, int) == (named is None and not template)


def test_a_documents_end_stays_as_it_is(make: Make, tokenizer: Tokenizer, tmp_path: Path) -> None:
    chatting = with_template(tokenizer, CHATML)
    write_folder(make("llama"), chatting, tmp_path)
    again = Tokenizer.load(tmp_path)
    assert (again.eos_id, again.fingerprint) == (tokenizer.eos_id, chatting.fingerprint)
    assert again.vocabulary == chatting.vocabulary
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == tokenizer.eos_id


def test_transformers_stops_an_answer_where_roots_does(
    make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    chatting, network = with_template(tokenizer, CHATML), make("llama").eval()
    network.resize_token_embeddings(chatting.vocab_size, mean_resizing=False)
    (end,) = ends_of_answers(chatting)
    greedy = Sampling(temperature=0)
    fifth = list(tokens(network, PROMPT, max_tokens=5, sampling=greedy, seed=1))[4]
    rows = network.lm_head.weight.data
    rows[[end, fifth]] = rows[[fifth, end]]  # so the end is the likeliest there
    ours = list(tokens(network, PROMPT, max_tokens=9, sampling=greedy, seed=1, eos_id=end))
    assert len(ours) < 5
    write_folder(network, chatting, tmp_path)
    ids = torch.tensor([PROMPT])
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=9, pad_token_id=0
    )
    assert theirs[0, len(PROMPT) :].tolist() == [*ours, end]


@pytest.mark.parametrize("template", ["{% broken", "{{ raise_exception('no') }}", TOOLS])
def test_a_template_that_roots_cannot_read_keeps_nothing_from_being_written(
    template: object, make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    assert written_ends(make("llama"), with_template(tokenizer, template), tmp_path) == 0


REASONS = CHATML.replace("assistant\n' }}", "assistant\n<think>\n' }}")


def test_a_template_whose_prompt_begins_the_answer_can_be_asked(tokenizer: Tokenizer) -> None:
    assert REASONS != CHATML
    plain, reasons = (with_template(tokenizer, text) for text in (CHATML, REASONS))
    turns = [{"role": "user", "content": "the cat"}]
    ids, ends = asked(reasons, turns)
    assert ids == [*asked(plain, turns)[0], *reasons.encode("<think>\n")]
    assert (ends, asked(plain, turns)[1]) == (frozenset(), Chat(plain).ends)
    with pytest.raises(ConfigError, match=r"no chat template.*or roots generate --template\) to p"):
        asked(tokenizer, turns)
