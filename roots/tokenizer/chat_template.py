"""Conversations as text: a chat template, rendered as transformers renders it.

A template is a program of whoever wrote the tokenizer, so it runs in jinja's sandbox. It is told
nothing of today's date: templates that ask for one fall back to theirs, and the same rows are the
same tokens tomorrow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from roots.errors import ConfigError, DataError
from roots.records import expanded

Message = Mapping[str, str]
"""A turn: its `role` (`system`, `user`, `assistant`) and its `content`."""

ANSWER_BEGINS = "\ufdd3"
ANSWER_ENDS = "\ufdd4"
"""Where a `{% generation %}` block begins and ends: noncharacters, which no text may have."""

PLAIN = """\
{%- for message in messages %}
{%- if message['role'] == 'assistant' %}
{{- 'Assistant: ' + message['content'] + eos_token + '\\n' }}
{%- else %}
{{- message['role'] | capitalize + ': ' + message['content'] + '\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""
"""A template for tokenizers that have none: `User: …`, `Assistant: …` and what ends a document."""

_TODAY = "strftime_now"
_NO_DATE = (
    "The chat template writes today's date (strftime_now), so the same conversation would be other"
    " tokens each day. Copy the template to a .jinja file, begin it with {%- macro"
    " strftime_now(form) %}2026-01-01{% endmacro %} (any fixed date), and set the template"
    " (data.template, or roots generate --template) to it."
)


class TemplateRefusal(Exception):
    """A template does not take a conversation: its own words."""


def template_text(name: str, settings: Mapping[str, Any]) -> str:
    """Finds the text of a chat template.

    Args:
        name: `plain`, a file that ends in `.jinja`, or empty for the tokenizer's own.
        settings: The tokenizer's settings.

    Raises:
        ConfigError: There is no such template, or the tokenizer has none.
    """
    if name == "plain":
        return PLAIN
    if name:
        return _of_file(Path(expanded(name)))
    own = settings.get("chat_template")
    if isinstance(own, list):  # several, each with its name
        by_name = {each["name"]: each["template"] for each in own}
        own = by_name.get("default")
    if not own:
        raise ConfigError(
            "The tokenizer has no chat template, as those of base models do not. Set the template"
            " (data.template, or roots generate --template) to plain, which writes `User: …` and"
            " `Assistant: …`, or to a .jinja file; or take the tokenizer of an instruct model of"
            " the same family (data.tokenizer)."
        )
    return str(own)


class ChatTemplate:
    """Renders conversations.

    Args:
        text: The jinja template.
        tokens: The special tokens by their roles: `eos_token`, `bos_token`, ….

    Raises:
        DataError: It is no jinja template.
    """

    def __init__(self, text: str, tokens: Mapping[str, str]) -> None:
        self.text = text
        self._tokens = dict(tokens)
        try:
            self._template = _environment().from_string(text)
        except jinja2.TemplateSyntaxError as error:
            raise DataError(
                f"The chat template is broken in line {error.lineno}: {error.message}. Mend it, or"
                " name another (data.template, or roots generate --template)."
            ) from error

    def render(self, messages: Sequence[Message], *, prompts: bool = False) -> str:
        """Writes a conversation; what `{% generation %}` blocks write is marked.

        Args:
            messages: The turns.
            prompts: Begin an answer behind the last turn.

        Raises:
            TemplateRefusal: The template does not take such turns.
            ConfigError: It writes today's date, so each day would give other tokens.
        """
        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=prompts,
                tools=None,
                documents=None,
                **self._tokens,
            )
        except (jinja2.TemplateError, TypeError, KeyError, ValueError) as error:
            if _TODAY in str(error) and isinstance(error, jinja2.UndefinedError):
                raise ConfigError(_NO_DATE) from error
            raise TemplateRefusal(str(error) or type(error).__name__) from error


class _Generation(Extension):
    """Lets a template say by `{% generation %}` what the assistant writes."""

    tags = {"generation"}  # noqa: RUF012 - jinja's form

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_marked")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _marked(self, caller: Callable[[], str]) -> str:
        return f"{ANSWER_BEGINS}{caller()}{ANSWER_ENDS}"


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    return environment


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Writes JSON; jinja's own filter escapes for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _of_file(path: Path) -> str:
    if path.suffix != ".jinja" or not path.is_file():
        raise ConfigError(
            f"The template {str(path)!r} is neither plain nor a .jinja file that is there. Correct"
            " it, or leave it out for the tokenizer's own template."
        )
    return path.read_text(encoding="utf-8-sig")
