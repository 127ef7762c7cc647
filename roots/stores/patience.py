"""Patience: how often and how long a store is asked again before a run is given up."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from time import sleep
from typing import TypeVar

from roots.errors import ConfigError, DataError, RootsError
from roots.runs import redact

T = TypeVar("T")

_LONGEST_WAIT = 30.0
_AGAIN = (408, 425, 429)  # besides all from 500 on
_FINAL = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
_FINAL_TOO = (NotImplementedError, TypeError, ValueError)


class WrongBytesError(Exception):
    """What arrived is not what was asked for; asked again, it may be."""


@dataclass(frozen=True)
class Patience:
    """How long a store is waited for.

    Args:
        tries: How often a question is asked before it is given up, at least 1.
        timeout_seconds: How long one answer may take.
        first_wait_seconds: How long is waited before the second try; it doubles with each.
    """

    tries: int = 6
    timeout_seconds: float = 60.0
    first_wait_seconds: float = 0.5

    def __post_init__(self) -> None:
        if self.tries < 1 or not self.timeout_seconds > 0 or not self.first_wait_seconds >= 0:
            raise ConfigError(
                f"tries={self.tries}, timeout_seconds={self.timeout_seconds:g} and"
                f" first_wait_seconds={self.first_wait_seconds:g} cannot work. Set tries to 1 or"
                " more, timeout_seconds above 0, and first_wait_seconds to 0 or more."
            )

    def waits(self, url: str, number: int) -> float:
        """Gives the seconds to wait after try `number`, from 1.

        Each process and file waits another time, so that many do not ask again at one moment.
        """
        longest: float = min(self.first_wait_seconds * 2 ** (number - 1), _LONGEST_WAIT)
        drawn = zlib.crc32(f"{os.getpid()} {number} {url}".encode()) / 2**32
        return longest * (0.5 + 0.5 * drawn)

    def ask(self, url: str, what: str, question: Callable[[], T]) -> T:
        """Asks until there is an answer.

        Args:
            url: The file that is asked about.
            what: What of it is asked for, as the beginning of a sentence.
            question: Asks once.

        Raises:
            DataError: There was none in all tries, or one that stays the same.
        """
        number = 0
        while True:
            number += 1
            try:
                return question()
            except RootsError:
                raise
            except Exception as error:  # each store has its own
                if not _may_pass(error):
                    raise DataError(redact(_refused(url, what, error))) from error
                if number == self.tries:
                    raise DataError(redact(_given_up(url, what, number, error))) from error
            sleep(self.waits(url, number))


def is_missing(error: BaseException) -> bool:
    """Whether an error says that there is nothing; fsspec says so of whatever fails over HTTP."""
    cause = error.__cause__
    hidden = cause is not None and not isinstance(cause, FileNotFoundError)
    return isinstance(error, FileNotFoundError) and not (
        hidden and _status(cause) not in (404, 410)
    )


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, FileNotFoundError) and not is_missing(error) and error.__cause__:
        return _may_pass(error.__cause__)
    status = _status(error)
    if status is not None:
        return status in _AGAIN or status >= 500
    if "Credentials" in type(error).__name__:
        return False
    return not isinstance(error, _FINAL + _FINAL_TOO)


def _status(error: BaseException | None) -> int | None:
    """Finds the HTTP status of an error, where aiohttp or huggingface_hub raised it."""
    response = getattr(error, "response", None)
    found = getattr(error, "status", None) or getattr(response, "status_code", None)
    return found if isinstance(found, int) else None


def _told(error: BaseException) -> str:
    first_line = (str(error).strip().splitlines() or [""])[0]
    words = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        return f"{words} ({_told(error.__cause__)})"
    return words


def _refused(url: str, what: str, error: BaseException) -> str:
    if is_missing(error):
        return f"{url} does not exist. Correct the URL, or upload the file."
    return (
        f"{url}: {what} could not be read: {_told(error)}. Correct the URL, or give this machine"
        " the right to read it (the store's own environment variables, such as"
        " AWS_ACCESS_KEY_ID, or ~/.config/fsspec/conf.json)."
    )


def _given_up(url: str, what: str, tries: int, error: BaseException) -> str:
    return (
        f"{url}: {what} could not be read in {tries} tries; the last ended with {_told(error)}."
        " Check that the store answers and holds the file as it was written, then run again; or"
        " set tries or timeout_seconds higher, or copy the files to this machine and give their"
        " local path."
    )
