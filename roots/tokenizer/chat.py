"""Conversations as tokens, and which of the tokens are the assistant's.

What a template writes becomes special tokens, what people wrote never does: a written `<|im_end|>`
in a message is text. For that, special tokens of the template go through the tokenizer under
names that no text can hold (of noncharacters), everything else as it is, in one piece: so the
tokens are those of `transformers`' own `apply_chat_template`. But for special tokens that are
looked for in the normalised text (`normalized`), where a normaliser puts a `▁` before it: there
`transformers` finds them at the beginning of a text or behind a space alone, and spells them out
elsewhere. Here they are special tokens wherever the template writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer

from roots.errors import DataError
from roots.tokenizer.chat_template import (
    ANSWER_BEGINS,
    ANSWER_ENDS,
    ChatTemplate,
    Message,
    TemplateRefusal,
    template_text,
)
from roots.tokenizer.tokenizer import Tokenizer

_ALIAS = "\ufdd0{}\ufdd1"
_LITERAL = "\ufdd2{}\ufdd1"
_BOUNDARY = "\ufdd5"
_MARK = re.compile("[\ufdd0-\ufdef]")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text that only `Chat` can read.

    Args:
        pieces: What is not the assistant's and what is, by turns; it ends with an answer, or, as a
            prompt, before one.
    """

    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turns:
    """A conversation as tokens.

    Args:
        ids: The tokens.
        is_answer: Of each token, whether the assistant writes it; what ends an answer, it does.
        ends: Behind how many tokens each answer ends; they ascend.
    """

    ids: list[int]
    is_answer: list[bool]
    ends: list[int]


class Chat:
    """Turns conversations into tokens, by a template.

    Args:
        tokenizer: Its definition is taken over and not changed.
        template: `plain`, a file that ends in `.jinja`, or empty for the tokenizer's own.

    Raises:
        ConfigError: There is no such template, or the tokenizer has none.
        DataError: The template is broken.
    """

    def __init__(self, tokenizer: Tokenizer, template: str = "") -> None:
        text = template_text(template, tokenizer.settings)
        self._rust = _literal(tokenizer)
        roles = {
            name: token
            for name, token in tokenizer.settings.items()
            if name.endswith("_token") and isinstance(token, str)
        }
        roles["eos_token"] = str(self._rust.id_to_token(tokenizer.eos_id))
        self.template = ChatTemplate(text, roles)
        added = self._rust.get_added_tokens_decoder()
        special = sorted((i, token) for i, token in added.items() if token.special)
        self._names = {token.content: str(number) for number, (_, token) in enumerate(special)}
        self._any = _any_of(self._names)
        self._rust.add_tokens([_alias(number, t) for number, (_, t) in enumerate(special)])
        self._rust.add_tokens([AddedToken(_BOUNDARY, normalized=False, special=False)])
        self._boundary = int(self._rust.token_to_id(_BOUNDARY) or 0)
        aliases = (self._rust.token_to_id(_ALIAS.format(n)) for n in range(len(special)))
        self._true = dict(zip(aliases, (id_ for id_, _ in special), strict=True))

    # -- text --------------------------------------------------------------------------------

    def render(self, messages: Sequence[Message]) -> Rendered:
        """Writes a conversation that ends with an answer, cut where answers begin and end.

        Raises:
            TemplateRefusal: The template does not take such turns, or a text holds U+FDD0 to
                U+FDEF, which are no characters.
            DataError: Where the answers are cannot be told.
        """
        return self._pieces(messages, prompts=False)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Gives the tokens of a conversation whose next turn is the assistant's.

        Raises:
            TemplateRefusal: The template does not take such turns.
        """
        return self.encode([self._pieces(messages, prompts=True)])[0].ids

    @property
    def ends(self) -> frozenset[int]:
        """The special token that ends an answer, where the template writes one."""
        probe = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        last = self.encode([self.render(probe)])[0].ids[-1]
        return frozenset([last]) & frozenset(self._true.values())

    def _pieces(self, messages: Sequence[Message], *, prompts: bool) -> Rendered:
        protected = [self._protected(message) for message in messages]
        text = self.template.render(protected, prompts=prompts)
        if ANSWER_BEGINS in text:
            pieces = re.split(f"[{ANSWER_BEGINS}{ANSWER_ENDS}]", text)
        else:
            pieces = self._cut_by_prefixes(text, protected)
        if not prompts:
            pieces = pieces[:-1]  # nothing behind the last answer is learned
        return Rendered(tuple(map(self._aliased, pieces)))

    def _cut_by_prefixes(self, text: str, messages: Sequence[Message]) -> list[str]:
        """Finds an answer as what is between a prompt for it and the conversation up to it."""
        cuts = [0]
        for number, message in enumerate(messages):
            if message["role"] == "assistant":
                before = self.template.render(messages[:number], prompts=True)
                upto = self.template.render(messages[: number + 1])
                if not (upto.startswith(before) and text.startswith(upto)):
                    raise DataError(_not_told(number, len(messages)))
                cuts += [len(before), self._end(upto, len(before))]
        return [text[a:b] for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True)]

    def _end(self, text: str, start: int) -> int:
        """Finds where an answer ends: behind its last special token where only space follows."""
        end = start + max((m.end() for m in self._any.finditer(text[start:])), default=0)
        return end if end > start and not text[end:].strip() else len(text)

    def _protected(self, message: Message) -> Message:
        """Hides what looks like a special token in a message from us and from the template."""
        content = message["content"]
        if found := _MARK.search(content):
            raise TemplateRefusal(f"it holds U+{ord(found[0]):04X}, which is no character")
        return {
            **message,
            "content": self._any.sub(lambda m: _LITERAL.format(self._names[m[0]]), content),
        }

    def _aliased(self, text: str) -> str:
        """Names the template's special tokens by their aliases, and gives people's texts back."""
        text = self._any.sub(lambda m: _ALIAS.format(self._names[m[0]]), text)
        if _LITERAL[0] in text:
            for token, name in self._names.items():
                text = text.replace(_LITERAL.format(name), token)
        return text

    # -- tokens ------------------------------------------------------------------------------

    def encode(self, conversations: Sequence[Rendered]) -> list[Turns]:
        """Turns texts into tokens, on several cores.

        The tokens are those of the whole text, if a part up to each cut is a beginning of them: so
        an answer is learned behind the very tokens that a prompt for it has. Where a token would
        lie across a cut, the parts are encoded apart.
        """
        wholes = self._encoded(["".join(c.pieces) for c in conversations])
        parts = self._encoded([_BOUNDARY.join(c.pieces) for c in conversations])
        return [
            self._turns(conversation, whole, list(_divided(part, self._boundary)))
            for conversation, whole, part in zip(conversations, wholes, parts, strict=True)
        ]

    def _turns(self, conversation: Rendered, whole: list[int], parts: list[list[int]]) -> Turns:
        if [id_ for part in parts for id_ in part] != whole:
            parts = self._cut_whole(conversation, whole) or parts
        ids = [id_ for part in parts for id_ in part]
        is_answer = [n % 2 == 1 for n, part in enumerate(parts) for _ in part]
        return Turns(ids, is_answer, list(accumulate(map(len, parts)))[1::2])

    def _cut_whole(self, conversation: Rendered, whole: list[int]) -> list[list[int]]:
        """Cuts the tokens of the whole into its pieces'; nothing where one lies across a cut."""
        pieces = conversation.pieces
        begun = self._encoded(["".join(pieces[:n]) for n in range(1, len(pieces))])
        if any(whole[: len(ids)] != ids for ids in begun):
            return []
        cuts = [0, *map(len, begun), len(whole)]
        return [whole[a:b] for a, b in pairwise(cuts)]

    def _encoded(self, texts: list[str]) -> list[list[int]]:
        encodings = self._rust.encode_batch_fast(texts, add_special_tokens=False)
        return [[self._true.get(id_, id_) for id_ in encoding.ids] for encoding in encodings]


def _literal(tokenizer: Tokenizer) -> RustTokenizer:
    rust = RustTokenizer.from_str(tokenizer.definition)
    rust.encode_special_tokens = True
    rust.no_truncation()
    rust.no_padding()
    return rust


def _alias(number: int, token: Any) -> AddedToken:
    """Makes a token that behaves as a special one and has a name that no text holds."""
    return AddedToken(
        _ALIAS.format(number),
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=False,
        special=False,
    )


def _any_of(names: dict[str, str]) -> re.Pattern[str]:
    longest_first = sorted(filter(None, names), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _divided(ids: list[int], boundary: int) -> Iterator[list[int]]:
    part: list[int] = []
    for id_ in ids:
        if id_ == boundary:
            yield part
            part = []
        else:
            part.append(id_)
    yield part


def _not_told(number: int, n_messages: int) -> str:
    return (
        f"The chat template writes turn {number + 1} of {n_messages} otherwise when further turns"
        " follow, or begins its answer otherwise than its prompt for one, so which tokens are the"
        " assistant's cannot be told (templates that drop the reasoning of earlier answers are"
        " such). Put {% generation %} and {% endgeneration %} around what the assistant writes in a"
        " copy of the template and set data.template to that .jinja file, or to plain; or give each"
        " answer a row of its own."
    )
