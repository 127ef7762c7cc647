"""Pii: what belongs to a person or opens a door is replaced by the name of its kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from roots.corpus.stage import Stage
from roots.corpus.stages.pii_emails import emails
from roots.corpus.stages.pii_numbers import cards, ibans, ipv4, ipv6, phones
from roots.corpus.stages.pii_secrets import private_keys, secrets, tokens
from roots.errors import ConfigError, nearest
from roots.records import KEEP, Document, Edit, Verdict

Finder = Callable[[str], Iterator[tuple[int, int]]]

FINDERS: dict[str, Finder] = {
    "private_key": private_keys,
    "token": tokens,
    "secret": secrets,
    "email": emails,
    "iban": ibans,
    "card": cards,
    "ipv6": ipv6,
    "ipv4": ipv4,
    "phone": phones,
}
"""By kind, in the order in which they look: where two would find a place, the first has it."""


class Pii(Stage):
    """Replaces personal and secret data by placeholders such as `<EMAIL>`; the books count them.

    Found by form: e-mail addresses; public IPv4 and IPv6 addresses; telephone numbers
    (international, and North American with separators); payment cards (issuer and Luhn's digit);
    IBANs (country, length, mod 97); tokens of AWS, GitHub, GitLab, Slack, Stripe, Google, OpenAI,
    Hugging Face, npm and JSON web tokens; blocks of private keys; random values that are assigned
    to a name such as `password`. Names and street addresses have no form and stay
    (`PersonNames` looks for the former).

    A version of four numbers, as in `foo 1.2.3.4`, has the form of a public IPv4 address. It stays
    where the text shows what it is (`v1.2.3.4`, `version 1.2.3.4`, `==1.2.3.4`, or a longer number:
    `1.2.3.4.5`), else it is replaced; leave `ipv4` out of `kinds` for a corpus of source code.

    Args:
        kinds: What to look for; all by default.
        placeholder: What to write instead; `{kind}` stands for the kind in capitals.

    Raises:
        ConfigError: A kind that does not exist, or a placeholder that could not be read back.
    """

    def __init__(
        self, *, kinds: Sequence[str] = tuple(FINDERS), placeholder: str = "<{kind}>"
    ) -> None:
        for kind in kinds:
            if kind not in FINDERS:
                raise ConfigError(
                    f"kinds={list(kinds)}: there is no kind '{kind}'{nearest(kind, FINDERS)}."
                    f" Take some of {', '.join(FINDERS)}."
                )
        self.kinds = tuple(kinds)
        self.placeholder = placeholder
        self._finders = [(kind, FINDERS[kind]) for kind in FINDERS if kind in self.kinds]
        self._placeholders = {kind: self._placeholder(kind) for kind in self.kinds}

    @property
    def version(self) -> int:
        """4: rows of whole numbers, files; 3: telephones beside a decimal number; 2: columns."""
        return 4

    def __call__(self, document: Document) -> Verdict:
        """Replaces what is found."""
        text, counts = self.replaced(document.text)
        return Edit(replace(document, text=text), counts) if counts else KEEP

    def redact(self, text: str) -> str:
        """Replaces what is found, for what is written beside the shards."""
        return self.replaced(text)[0]

    def replaced(self, text: str) -> tuple[str, Counter[str]]:
        """Writes a text anew, and counts the places by kind."""
        counts: Counter[str] = Counter()
        parts, done = [], 0
        for start, end, kind in self._places(text):
            parts += [text[done:start], self._placeholders[kind]]
            counts[kind] += 1
            done = end
        return "".join([*parts, text[done:]]), counts

    def _places(self, text: str) -> list[tuple[int, int, str]]:
        """Finds one kind after another; what is found is hidden from the kinds after it."""
        places: list[tuple[int, int, str]] = []
        for kind, find in self._finders:
            found = _apart(sorted(find(text)))
            if found:
                places += [(start, end, kind) for start, end in found]
                text = _hidden(text, found)
        return sorted(places)

    def _placeholder(self, kind: str) -> str:
        written = self.placeholder.replace("{kind}", kind.upper())
        found = [other for other, find in FINDERS.items() if any(find(f" {written} "))]
        if found:
            raise ConfigError(
                f"placeholder='{self.placeholder}' gives '{written}', which is itself a"
                f" {found[0]}. Take one such as '<{{kind}}>'."
            )
        return written


def _apart(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leaves out what begins inside of the place before it."""
    places: list[tuple[int, int]] = []
    for start, end in found:
        if not places or start >= places[-1][1]:
            places.append((start, end))
    return places


def _hidden(text: str, places: list[tuple[int, int]]) -> str:
    """Covers places, which are sorted, so that all others stay where they are."""
    parts, done = [], 0
    for start, end in places:
        parts += [text[done:start], "\0" * (end - start)]
        done = end
    return "".join([*parts, text[done:]])
