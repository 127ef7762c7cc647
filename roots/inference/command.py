"""`roots generate`: continues a prompt, or answers a turn of a chat, in the terminal."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from roots.errors import ConfigError
from roots.inference.arguments import Parser, add_source, named_source

if TYPE_CHECKING:
    from roots.inference.loading import Loaded
    from roots.inference.sampling import Sampling

_INTERRUPTED = 130


def main(args: list[str]) -> int:
    """Runs the verb; gives the exit code.

    Raises:
        UserError: An argument is wrong, or the network cannot be read.
    """
    given = _parser().parse_args(args)
    try:
        return _run(given)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="roots generate",
        description="Continues a prompt with a trained language model, or answers in a chat.",
        epilog='example: roots generate --run runs/quickstart/0001 --prompt "def main("',
        allow_abbrev=False,
    )
    add_source(parser)
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", help="what to continue (default: nothing)")
    prompt.add_argument("--prompt-file", metavar="FILE", help="read it from a file, or - for stdin")
    prompt.add_argument("--chat", metavar="TEXT", help="what to answer, by the chat template")
    add = parser.add_argument
    add("--system", metavar="TEXT", help="with --chat: what the system says before")
    add(
        "--template",
        default="",
        metavar="NAME",
        help="with --chat: plain, or a .jinja file (default: the tokenizer's own)",
    )
    add("--max-tokens", type=int, default=200, metavar="N", help="tokens to add (%(default)s)")
    add("--n", type=int, default=1, metavar="N", help="how many texts, each with the next seed")
    add("--seed", type=int, default=1, metavar="N", help="same seed, same text (%(default)s)")
    add("--temperature", type=float, default=0.8, metavar="X", help="0 is greedy (%(default)s)")
    add("--top-k", type=int, default=0, metavar="K", help="draw from the K likeliest; 0 is off")
    add(
        "--top-p",
        type=float,
        default=0.95,
        metavar="P",
        help="draw from the likeliest tokens that hold this probability (%(default)s)",
    )
    add("--bos", action="store_true", help="begin with the bos token, as Llama and Gemma expect")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, mps (%(default)s)")
    add("--dtype", default="auto", metavar="NAME", help="float32, bfloat16, float16 (%(default)s)")
    add("--json", action="store_true", help="print one JSON object per text, each in one line")
    return parser


def _run(given: argparse.Namespace) -> int:
    if given.n < 1:
        raise ConfigError(f"--n {given.n} asks for no text. Set it to 1 or more.")
    prompt = _prompt(given)
    _check_chat(given)
    path, checkpoint = named_source(given)
    from roots.inference.sampling import Sampling, check_amount, check_seed

    # before the network is read, so that a wrong value is told at once
    check_amount(given.max_tokens)
    check_seed(given.seed, given.n)
    sampling = Sampling(temperature=given.temperature, top_k=given.top_k, top_p=given.top_p)
    from roots.inference.loading import load

    loaded = load(path, checkpoint=checkpoint, device=given.device, dtype=given.dtype)
    answers = given.template or loaded.tokenizer.settings.get("chat_template")
    if given.chat is not None and not answers:
        raise ConfigError(
            f"{path} has no chat template, so it never learned to answer. Continue a text by"
            " --prompt, or train it on conversations (configs/run/llama_chat_lora.yaml;"
            " data.template plain gives it a template). If it was trained to answer elsewhere, name"
            " the template with --template."
        )
    asked = _asked(loaded, prompt, given)
    for index in range(given.n):
        if not given.json:
            show("\n---\n" if index else "")
            show(_dim(prompt if given.chat is None else f"{prompt}\n"))
        _continue(loaded, prompt, asked, given, sampling, seed=given.seed + index)
    show("" if given.json else "\n")
    return 0


def _continue(
    loaded: Loaded,
    prompt: str,
    asked: tuple[list[int], frozenset[int]],
    given: argparse.Namespace,
    sampling: Sampling,
    *,
    seed: int,
) -> None:
    """Writes one text as it comes, or its record when it is whole."""
    from roots.inference.generation import tokens
    from roots.inference.streaming import TextStream

    ids, ends = asked
    found = tokens(
        loaded.network,
        ids,
        max_tokens=given.max_tokens,
        sampling=sampling,
        seed=seed,
        eos_id=ends,
    )
    text = TextStream(loaded.tokenizer, after=ids)
    pieces, n_tokens = [], 0
    for id_ in found:
        pieces.append(text.push(id_))
        n_tokens += 1
        show("" if given.json else pieces[-1])
    pieces.append(text.finish())
    show("" if given.json else pieces[-1])
    if given.json:
        ended = "eos" if n_tokens < given.max_tokens else "max_tokens"
        record = {"prompt": prompt, "text": "".join(pieces), "seed": seed, "ended_by": ended}
        show(json.dumps({**record, "tokens": n_tokens}) + "\n")


def _asked(
    loaded: Loaded, prompt: str, given: argparse.Namespace
) -> tuple[list[int], frozenset[int]]:
    """Gives the tokens to go on from, and those that end the text."""
    from roots.inference.chatting import asked
    from roots.inference.generation import eos_ids, prompt_ids

    ends = eos_ids(loaded.network, loaded.tokenizer)
    if given.chat is None:
        return prompt_ids(loaded.tokenizer, prompt, bos=given.bos), ends
    told = typed(given.system or "", "--system")
    turns = [{"role": "system", "content": told}] if told else []
    messages = [*turns, {"role": "user", "content": prompt}]
    ids, end_of_answer = asked(loaded.tokenizer, messages, given.template)
    return ids, ends | end_of_answer


def _check_chat(given: argparse.Namespace) -> None:
    if given.chat is None and given.system is not None:
        raise ConfigError("--system speaks in a chat. Add --chat TEXT, or leave it out.")
    if given.chat is None and given.template:
        raise ConfigError("--template writes a chat. Add --chat TEXT, or leave it out.")
    if given.chat is not None and given.bos:
        raise ConfigError("--bos is the chat template's to write. Leave it out beside --chat.")
    if given.chat is not None and not given.chat.strip():
        raise ConfigError("--chat has no text. Give what shall be answered.")


def _prompt(given: argparse.Namespace) -> str:
    if given.chat is not None:
        return typed(given.chat, "--chat")
    if given.prompt_file is None:
        return typed(given.prompt or "", "--prompt")
    if given.prompt_file == "-":
        return _utf8(sys.stdin.buffer.read(), "The standard input")
    try:
        return _utf8(Path(given.prompt_file).read_bytes(), given.prompt_file)
    except OSError as error:
        raise ConfigError(
            f"--prompt-file {given.prompt_file} cannot be read: {error.strerror}."
            " Correct the path, or give the text itself with --prompt."
        ) from error


def typed(argument: str, what: str) -> str:
    """Gives the text of a command's argument; raises ConfigError where its bytes are no UTF-8."""
    return _utf8(argument.encode("utf-8", "surrogateescape"), what)


def _utf8(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{what} is not UTF-8: byte {error.start:,} is 0x{content[error.start]:02x}."
            " Save the prompt as UTF-8."
        ) from error


def _dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m" if text and sys.stdout.isatty() else text


def show(text: str) -> None:
    """Writes at once; a character that the terminal's encoding lacks becomes a question mark."""
    if text:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, errors="replace").decode(encoding))
        sys.stdout.flush()
