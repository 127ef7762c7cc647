"""Bytes to text: one bad byte never loses the rest of a file, and every replaced one is counted."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO, cast

from roots.errors import ConfigError, DataError

REPLACEMENT = "\ufffd"
MAX_DOCUMENT_BYTES = 256 * 2**20
"""A document is held in memory whole, at up to 4 bytes a character; larger ones must be cut."""

_HEAD_BYTES = 2**20
_FEW = 8  # fewer are a slip in a short file, whatever their share
_BOMS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


class Decoder:
    """Decodes the parts of one file after another, and counts what it had to replace.

    Args:
        encoding: A name that Python knows; one in which a newline is the single byte 10.
        strict: Raise on the first undecodable byte instead of replacing it by U+FFFD.

    Raises:
        ConfigError: Python reads no files in such an encoding, or its newlines take several bytes.
    """

    def __init__(self, *, encoding: str = "utf-8", strict: bool = False) -> None:
        with_mark = encoding.lower().replace("_", "-") == "utf-8-sig"  # every mark is taken off
        self.encoding = "utf-8" if with_mark else encoding
        self.strict = strict
        self.n_replaced = 0
        _check_encoding(self.encoding)

    def decode(self, raw: bytes, path: Path, offset: int = 0) -> str:
        """Turns `raw`, which begins at byte `offset` of `path`, into text without its BOM.

        Raises:
            DataError: A NUL byte, or any undecodable one when `strict`.
        """
        if offset == 0:
            whole, raw = raw, without_bom(raw)
            offset = len(whole) - len(raw)
        if (nul := raw.find(b"\0")) >= 0:
            raise DataError(_binary(path, raw, offset + nul))
        try:
            return raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            return self._replace(raw, path, offset, error)

    def _replace(self, raw: bytes, path: Path, offset: int, error: UnicodeDecodeError) -> str:
        at = offset + error.start
        if self.strict:
            raise DataError(
                f"{path}: byte {at:,} (0x{raw[error.start]:02x}) is not {self.encoding}."
                " Set strict to false to have it replaced by U+FFFD, or encoding to what it is."
            ) from error
        text = raw.decode(self.encoding, errors="replace")
        self.n_replaced += text.count(REPLACEMENT) - _written_replacements(raw, self.encoding)
        return text


def open_raw(path: Path) -> BinaryIO:
    """Opens a file for its bytes as they lie there.

    Raises:
        DataError: It belongs to others.
    """
    try:
        return cast("BinaryIO", path.open("rb"))
    except PermissionError as error:
        raise DataError(
            f"{path} may not be read by you ({error.strerror}). Ask for the right to read it, or"
            " take it off the list of paths."
        ) from error


def check_head(path: Path, encoding: str) -> None:
    """Refuses a file whose first MiB is not text, before any of its documents is streamed.

    Raises:
        DataError: A NUL byte, or more than a tenth of the head is undecodable.
    """
    with open_raw(path) as file:
        head = file.read(_HEAD_BYTES)
    decoder = Decoder(encoding=encoding)
    text = decoder.decode(head, path)
    n_bad = decoder.n_replaced
    if n_bad >= _FEW and n_bad > 0.1 * len(text):
        raise DataError(
            f"{path}: {n_bad:,} of the first {len(text):,} characters are not {encoding} (the first"
            f" is character {text.index(REPLACEMENT) + 1:,}), so this is another encoding or no"
            " text. Convert the file to UTF-8, leave it out, or set the source's encoding to the"
            " right one, such as latin-1 or gb18030, where it has that setting."
        )


def check_not_wide(path: Path, head: bytes) -> None:
    """Refuses a file whose first bytes are the byte order mark of UTF-16.

    Raises:
        DataError: They are.
    """
    if head.startswith(tuple(_BOMS)):
        raise DataError(_binary(path, head, 0))


def too_large(path: Path, n_bytes: int, cure: str) -> DataError:
    """Words the refusal of a document that would not fit in memory."""
    return DataError(
        f"{path}: one document of {n_bytes:,} bytes or more is over the limit of"
        f" {MAX_DOCUMENT_BYTES:,}, because a document is held in memory whole. {cure}"
    )


def _check_encoding(encoding: str) -> None:
    try:
        newline = "\n".encode(encoding)
        newline.decode(encoding, errors="replace")  # which `idna` cannot
    except (LookupError, ValueError) as error:
        raise ConfigError(
            f"encoding={encoding!r} is none in which Python reads files. Write utf-8, latin-1,"
            " gb18030, …; the list is at https://docs.python.org/3/library/codecs.html#standard-encodings."
        ) from error
    if newline != b"\n":
        raise ConfigError(
            f"encoding='{encoding}' writes a newline as {len(newline)} bytes, and files are read"
            f" by lines. Convert them first: iconv -f {encoding} -t UTF-8 IN > OUT."
        )


def without_bom(raw: bytes) -> bytes:
    """Takes a UTF-8 byte order mark off the head of a file."""
    return raw.removeprefix(codecs.BOM_UTF8)


def _binary(path: Path, raw: bytes, at: int) -> str:
    kind = next((name for bom, name in _BOMS.items() if raw.startswith(bom)), "")
    if kind:
        return (
            f"{path} is {kind} (by its first two bytes), not UTF-8."
            f" Convert it: iconv -f {kind} -t UTF-8 {path} > {path.stem}-utf8{path.suffix}."
        )
    return (
        f"{path}: byte {at:,} is NUL, so this is a binary file, not text."
        " Leave it out of the paths, or convert it to UTF-8 text first."
    )


def _written_replacements(raw: bytes, encoding: str) -> int:
    try:
        return raw.count(REPLACEMENT.encode(encoding))
    except UnicodeEncodeError:
        return 0
