"""Where numbers of persons stand in a text: cards, IBANs, telephones, addresses of machines.

One scan finds all runs of digits and what may stand between them; each run is then asked what it
is. Runs are rare, so the checks may be exact.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

Span = tuple[int, int]

_RUN = re.compile(r"[0-9][0-9 .()/\-]{5,}[0-9]")
_IPV4 = re.compile(r"(?<![0-9])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])")
_CARD_FORMS = tuple(  # looked at from each number, also from one within a form that was no card
    re.compile(rf"(?<![0-9])(?=({form})(?![0-9]))[2-6]")
    for form in (
        "[2-6][0-9]{12,18}",
        "[2-6][0-9]{3}([ -])[0-9]{4}\\2[0-9]{4}\\2[0-9]{4}",
        "[2-6][0-9]{3}([ -])[0-9]{4}\\2[0-9]{4}\\2[0-9]{4}\\2[0-9]{3}",
        "[2-6][0-9]{3}([ -])[0-9]{6}\\2[0-9]{4,5}",
    )
)
_INTERNATIONAL = re.compile(
    r"[1-9][0-9]{0,2}[ .()/\-]{0,3}[0-9](?:[ .()/\-]{0,2}[0-9]){5,12}(?![.\-]?[0-9])"
)
_NORTH_AMERICAN = re.compile(
    r"(?<![0-9])(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"
)
_SPACED = re.compile(r"[0-9]{3} [0-9]{3} [0-9]{4}")
_TELLS_OF_ONE = re.compile(
    r"(?<![a-z])(?:tel|telephone|phone|ph|call|cell|mobile|fax|dial|ring|sms|text|whatsapp)"
    r"[^a-z0-9]{0,4}(?:(?:me|us|at|on|number|no|is)[^a-z0-9]{1,3}){0,3}$",
    re.I,
)
_DECIMALS = re.compile(r"[0-9]+\.[0-9]+(?: {1,2}-?[0-9]+\.[0-9]+)*")
_IPV6 = re.compile(r"[23](?<![0-9A-Fa-f:].)[0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,35}")
_IBAN = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9]{4})")
_VERSION = re.compile(
    r"(?:\b(?:version|ver|release|python|firmware|sections?|chapter)\W{0,3}|[=<>~!]=\s?|\^)$", re.I
)
_CARDS = (  # issuer: what the number begins with, how long it is
    (re.compile("4"), {13, 16, 19}),  # Visa
    (re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), {16}),  # Mastercard
    (re.compile("3[47]"), {15}),  # American Express
    (re.compile("6011|64[4-9]|65"), {16, 19}),  # Discover
    (re.compile("30[0-5]|3[689]"), {14, 16}),  # Diners Club
    (re.compile("35(?:2[89]|[3-8])"), {16}),  # JCB
    (re.compile("62"), {16, 17, 18, 19}),  # UnionPay
)
_IBAN_LENGTHS = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28
EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26
IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28
NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25
SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_IBANS = {each[:2]: int(each[2:]) for each in _IBAN_LENGTHS.split()}
_CONTEXT = 16
_BEFORE = 32
_MOST_GROUPS = 12  # of digits, with spaces between: three cards; more are the row of a table


def cards(text: str) -> Iterator[Span]:
    """Finds numbers of payment cards: an issuer's beginning and length, a right last digit.

    Of the numbers in the row of a table one in ten groups of four would have a right last digit.
    """
    for run in _RUN.finditer(text):
        if run.end() - run.start() < 13:
            continue
        table = len(run.group().split()) > _MOST_GROUPS
        for form in _CARD_FORMS:
            for found in form.finditer(text, *run.span()):
                if table and " " in found[1]:
                    continue
                if is_card(found[1]) and _alone(text, *found.span(1)):
                    yield found.span(1)


def is_card(written: str) -> bool:
    """Checks issuer and Luhn's sum (ISO/IEC 7812-1)."""
    digits = "".join(filter(str.isdigit, written))
    known = any(begin.match(digits) and len(digits) in lengths for begin, lengths in _CARDS)
    return known and luhn(digits)


def luhn(digits: str) -> bool:
    """Tells whether the last digit is right."""
    total = sum(map(int, digits[-1::-2]))
    return (total + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])) % 10 == 0


def phones(text: str) -> Iterator[Span]:
    """Finds telephone numbers: international ones (`+`), and North American ones with separators.

    Where these are spaces alone, a word before says that it is one (`call 212 555 0187`). National
    numbers of other countries are not told from other numbers.
    """
    for run in _RUN.finditer(text):
        start, end = run.span()
        if text[start - 1 : start] == "+" and (found := _INTERNATIONAL.match(text, start, end)):
            is_one = text[start - 2 : start - 1] != "+" and is_international(found.group())
            if is_one and _alone(text, start - 1, found.end(), ".-"):
                yield start - 1, found.end()
            start = found.end()
        start -= text[start - 1 : start] == "("
        for found in _NORTH_AMERICAN.finditer(text, start, end):
            if _alone(text, *found.span(), ".-") and _is_told(text, found):
                yield found.span()


def _is_told(text: str, found: re.Match[str]) -> bool:
    """Tells whether groups that spaces alone divide are a telephone: `256 512 1024` are sizes."""
    before = text[max(0, found.start() - _BEFORE) : found.start()]
    return not _SPACED.fullmatch(found.group()) or bool(_TELLS_OF_ONE.search(before))


def is_international(written: str) -> bool:
    """Checks the number of digits (E.164: at most 15), and what divides few of them.

    `+12345678` and `+12 345 678` may be arithmetic; from ten digits on it hardly is. `+1.50 2.25
    3.75` is the row of a table.
    """
    if _DECIMALS.fullmatch(written):
        return False
    n_digits = sum(map(str.isdigit, written))
    return 8 <= n_digits <= 15 and (n_digits >= 10 or any(sign in "().-" for sign in written))


def ipv4(text: str) -> Iterator[Span]:
    """Finds public IPv4 addresses; not where the text says that it is a version or a section."""
    for run in _RUN.finditer(text):
        for found in _IPV4.finditer(text, *run.span()):
            start, end = found.span()
            if _alone(text, start, end) and _is_public(found.group(), 4):
                before = text[max(0, start - _CONTEXT) : start]
                if not _VERSION.search(before):
                    yield start, end


def ipv6(text: str) -> Iterator[Span]:
    """Finds public IPv6 addresses (2000::/3)."""
    if text.count(":") < 2:
        return
    for found in _IPV6.finditer(text):
        start, end = found.start(), found.start() + len(found.group().rstrip(":"))
        if found.group().endswith("::"):
            end += 2
        if _alone(text, start, end) and _is_public(text[start:end], 6):
            yield start, end


def _is_public(written: str, version: int) -> bool:
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    return address.version == version and address.is_global and not address.is_multicast


def ibans(text: str) -> Iterator[Span]:
    """Finds bank accounts: a country, its length, and a right check number (ISO 13616, mod 97).

    People write them in small letters too.
    """
    for found in _IBAN.finditer(text):
        length = _IBANS.get(found.group()[:2].upper())
        if length is None or not _free(text[found.start() - 1 : found.start()]):
            continue
        written = _take(text, found.start(), length)
        if written and mod_97("".join(filter(str.isalnum, written)).upper()):
            yield found.start(), found.start() + len(written)


def _take(text: str, start: int, length: int) -> str:
    """Takes `length` letters and digits, groups of four perhaps divided by a space or a hyphen."""
    n, at = 0, start
    while n < length and at < len(text):
        sign = text[at]
        if sign.isascii() and sign.isalnum():
            n += 1
        elif sign not in " -" or n % 4:
            return ""
        at += 1
    return text[start:at] if n == length and _free(text[at : at + 1]) else ""


def mod_97(iban: str) -> bool:
    """Tells whether the check number of an IBAN without spaces is right."""
    return iban.isupper() and int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def _alone(text: str, start: int, end: int, joints: str = ".") -> bool:
    """Tells whether a number is not a part of a longer number or of a word.

    Args:
        text: Holds it.
        start: Where it begins.
        end: Where it ends.
        joints: What joins it to a digit beyond; a comma does not, because tables have it between
            their columns.
    """
    before, after = text[start - 1 : start] if start else "", text[end : end + 1]
    if not _free(before) or not _free(after):
        return False
    longer_before = start > 1 and before in joints and text[start - 2].isdigit()
    return not longer_before and not (after in joints and text[end + 1 : end + 2].isdigit())


def _free(neighbour: str) -> bool:
    return not (neighbour.isalnum() or neighbour == "_")
