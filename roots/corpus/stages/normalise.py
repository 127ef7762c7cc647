"""Normalise: equal texts become equal characters, and what nobody can see goes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from typing import Literal, cast, get_args

from roots.corpus.stage import Stage
from roots.errors import ConfigError, MissingExtra
from roots.records import KEEP, Document, Edit, Verdict

Form = Literal["NFC", "NFKC", "none"]
WhiteSpace = Literal["keep", "lines", "collapse"]

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff]")
_BLANK_LINES = re.compile(r"\n{3,}")
_INNER = re.compile(r"[^\S\n]{2,}|[^\S\n ]")
_INDENT = re.compile(r"(?<=\n) ")


class Normalise(Stage):
    r"""Brings every text into one form; the books count the documents that each change met.

    Line ends of all kinds become `\n` first, and form feeds too; then the control characters
    (Unicode's Cc, but for tab and newline) and byte order marks go.

    Args:
        form: Unicode's form: `NFC` joins letters and accents, `NFKC` also folds full-width letters,
            ligatures and superscripts (so `x²` becomes `x2`), `none` leaves them.
        control_characters: Remove them.
        white_space: `lines` strips the ends of lines and leaves at most one blank line in a row and
            none at the ends of the text, so that code keeps its indentation; `collapse` also makes
            one space of every run inside a line, and removes indentation; `keep` leaves all.
        mojibake: Repair text that was decoded with the wrong encoding (`Ã©` becomes `é`) by ftfy,
            from the extra `corpus`.

    Raises:
        ConfigError: A form or treatment of white space that does not exist.

    Source:
        Unicode Standard Annex 15.
    """

    def __init__(
        self,
        *,
        form: Form = "NFC",
        control_characters: bool = True,
        white_space: WhiteSpace = "lines",
        mojibake: bool = False,
    ) -> None:
        _one_of("form", form, get_args(Form))
        _one_of("white_space", white_space, get_args(WhiteSpace))
        self.form: Form = form
        self.control_characters = control_characters
        self.white_space: WhiteSpace = white_space
        self.mojibake = mojibake

    def check(self) -> None:
        """Looks whether ftfy is there when it is asked for."""
        if self.mojibake and find_spec("ftfy") is None:
            raise MissingExtra(
                "Normalise with mojibake: true needs ftfy, which is not installed. Install it:"
                " pip install 'roots-lm[corpus]' (pip install -e '.[corpus]' in a clone), or set"
                " mojibake to false."
            )

    def __call__(self, document: Document) -> Verdict:
        """Rewrites the text, or keeps it when it is in the form already."""
        text = document.text
        counts: dict[str, int] = {}
        for name, change in self._changes():
            changed = change(text)
            if changed != text:
                text = changed
                counts[name] = 1
        return Edit(replace(document, text=text), counts) if counts else KEEP

    def _changes(self) -> list[tuple[str, Callable[[str], str]]]:
        changes: list[tuple[str, Callable[[str], str]]] = []
        if self.mojibake:
            changes.append(("mojibake", _repaired))
        changes.append(("line_ends", _with_newlines))
        if self.control_characters:
            changes.append(("control_characters", _without_control))
        if self.form != "none":
            changes.append(("unicode_form", _NFC if self.form == "NFC" else _NFKC))
        if self.white_space != "keep":
            lines = self.white_space == "lines"
            changes.append(("white_space", _stripped_lines if lines else _collapsed))
        return changes


def _NFC(text: str) -> str:  # noqa: N802 - Unicode's own name
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _NFKC(text: str) -> str:  # noqa: N802 - Unicode's own name
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _with_newlines(text: str) -> str:
    return _LINE_ENDS.sub("\n", text)


def _without_control(text: str) -> str:
    return _CONTROL.sub("", text)


def _stripped_lines(text: str) -> str:
    text = "\n".join(map(str.rstrip, text.split("\n")))
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    text = text.lstrip("\n")
    if not text[-1:].isspace():
        return text
    body = text.rstrip()
    return f"{body}\n" if "\n" in text[len(body) :] else body


def _collapsed(text: str) -> str:
    return _INDENT.sub("", _stripped_lines(_INNER.sub(" ", text))).strip()


def _repaired(text: str) -> str:
    return _ftfy()(text)


@cache
def _ftfy() -> Callable[[str], str]:
    import ftfy

    return cast("Callable[[str], str]", ftfy.fix_encoding)


def _one_of(setting: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{setting}='{value}' is none of {', '.join(known)}. Take one of them.")
