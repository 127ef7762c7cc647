"""Secrets do not reach a file: keys of the environment, and what stands in addresses."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from roots.records import as_json
from roots.runs.writing import write_atomically

# what a part of a variable's name is, or ends with: HF_TOKEN, PGPASSWORD, API_KEY_2; no TOKENIZER
_SECRET_NAME = re.compile(
    r"(?:(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL)S?|PASSWD|PASS|PWD|PASSPHRASE|AUTH(?:ORIZATION)?)"
    r"[0-9]*(?![A-Z0-9])"
)
# the working directory, a socket, a program that asks, and words that merely end so
_NO_SECRET_NAME = re.compile(
    r"^(?:OLD)?PWD$|^SSH_AUTH_SOCK$|(?:(?:ASK|BY|COM)PASS|(?:DON|HOT|MON|TUR)KEY)(?![A-Z])"
)
HIDDEN = "<secret>"
"""What stands for the secret part of an address."""

_LONG = 16
"""A user name of so many letters, without a password, is a token; `git@` and `postgres@` stay."""
# https://user:token@host, and https://token@host
_USER = re.compile(
    rf"([a-z][a-z0-9+.-]*)://([^\s/:@?#\"']*:[^\s/@\"']+|[^\s/:@?#\"']{{{_LONG},}})(?=@)",
    re.IGNORECASE,
)
_NAMES = {"abfs", "abfss", "wasb", "wasbs", "sftp", "ssh"}
"""Stores in whose addresses a container or a user stands before the @: a password is behind it."""
# https://host/file?access_token=…&sig=… (the latter signs the addresses of object stores)
_QUERY = re.compile(
    r"(?<=[?&])((?:[^\s=&#]*(?:key|token(?!izer)|secret|password|passwd|credential|signature)[^\s=&#]*"
    r"|sig|pass|passphrase|pwd|auth)=)[^\s&#\"']+",
    re.IGNORECASE,
)

# what changes with each signature, in the signed addresses of Amazon, Google and Azure
_SIGNED = re.compile(
    r"(?<=[?&])((?:x-(?:amz|goog)-(?:date|expires)|expires|policy|s[te])=)[^\s&#\"']+",
    re.IGNORECASE,
)


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Replaces secrets in a text.

    The values of secret environment variables become their names in angle brackets; passwords and
    tokens in addresses become `<secret>`.

    Args:
        text: What is to be written.
        environment: The variables; None takes those of this process.
    """
    return _without(_secrets(environment), text)


def redact_values(value: Any, environment: Mapping[str, str] | None = None) -> Any:
    """Replaces secrets in every string of plain values, before a format folds or escapes them.

    Args:
        value: Dictionaries, lists, tuples, strings, numbers; anything else is given back as it is.
        environment: The variables; None takes those of this process.
    """
    secrets = _secrets(environment)

    def redacted(part: Any) -> Any:
        if isinstance(part, str):
            return _without(secrets, part)
        if isinstance(part, dict):
            return {redacted(key): redacted(inner) for key, inner in part.items()}
        if type(part) in (list, tuple):
            return type(part)(redacted(inner) for inner in part)
        return part

    return redacted(value)


def _secrets(environment: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Lists name and value of the secret variables, the longest value first."""
    variables = os.environ if environment is None else environment
    secrets = [(k, v) for k, v in variables.items() if len(v) >= 8 and _is_secret(k)]
    return sorted(secrets, key=lambda pair: -len(pair[1]))


@cache
def _is_secret(name: str) -> bool:
    """Tells by its name whether a variable holds a secret."""
    return _SECRET_NAME.search(_NO_SECRET_NAME.sub("", name.upper())) is not None


def _without_user(found: re.Match[str]) -> str:
    scheme, user = found[1], found[2]
    if scheme.lower() == "github":  # organization:repository
        return found[0]
    if scheme.lower() in _NAMES:
        name, colon, _ = user.partition(":")
        return f"{scheme}://{name}{colon}{HIDDEN if colon else ''}"
    return f"{scheme}://{HIDDEN}"


def _without(secrets: Sequence[tuple[str, str]], text: str) -> str:
    for name, value in secrets:
        text = text.replace(value, f"<{name}>")
    if "://" not in text:
        return text
    hidden = _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(_without_user, text))
    return _SIGNED.sub(rf"\1{HIDDEN}", hidden) if HIDDEN in hidden else hidden


def write_record(path: Path, content: Any) -> None:
    """Writes plain values as a JSON file of a run, without secrets, whole or not at all."""
    text = as_json(redact_values(content), indent=2) + "\n"
    write_atomically(path, text)


def hidden_names(value: Any, prefix: str = "") -> list[str]:
    """Lists the dotted names of the settings in which a secret was replaced by its name."""
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = dict(enumerate(value)).items()
    else:
        is_hidden = isinstance(value, str) and _is_hidden(value)
        return [prefix.removeprefix(".")] if is_hidden else []
    return [name for key, part in pairs for name in hidden_names(part, f"{prefix}.{key}")]


def _is_hidden(text: str) -> bool:
    names = re.findall(r"<([A-Za-z_][A-Za-z0-9_]*)>", text)
    return HIDDEN in text or any(name.isupper() and _is_secret(name) for name in names)
