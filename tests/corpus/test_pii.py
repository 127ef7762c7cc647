"""Pii: every planted kind is found, near misses stay, and the rest of a text is not touched."""

from __future__ import annotations

import random
import string
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.corpus import Normalise, Pii, Pipeline
from roots.corpus.stages.pii import FINDERS
from roots.corpus.stages.pii_numbers import luhn, mod_97
from roots.corpus.stages.pii_secrets import is_random
from roots.errors import ConfigError
from roots.records import KEEP, Document, Edit

BODY = "MIIEpAIBAAKCAQEA7bq2K1ZpV0Nq3xkYw0qk3l8mZJt1s5yF4hT9w2V8uG6rXcQd"
PRIVATE = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n{BODY}\n-----END RSA PRIVATE KEY-----"
B62 = "aB3dE6gH9jK2mN5pQ8rS1tU4vW7xY0zA2bC5"  # 36 characters

PLANTED = {
    "private_key": [
        PRIVATE,
        f"-----BEGIN PRIVATE KEY-----\n{BODY}\n{BODY}",
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{BODY}\n-----END PGP PRIVATE KEY BLOCK-----",
    ],
    "token": [
        "AKIAIOSFODNN7QWERTYZ",
        f"ghp_{B62}",
        f"github_pat_{B62}",
        f"xoxb-123456789012-{B62}",
        f"glpat-{B62[:20]}",
        f"hooks.slack.com/services/T00000000/B00000000/{B62[:24]}",
        f"sk_live_{B62[:24]}",
        f"sk-proj-{B62}",
        f"AIza{B62[:35]}",
        f"hf_{B62[:34]}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{B62}",
    ],
    "email": [
        "jane.doe+news@mail.firm.co.uk",
        "x_1%y@sub-domain.firm.museum",
        "A@b.io",
        "müller@firma.de",
        "mu\u0308ller@firma.de",
        "john@münchen.de",
        "john@xn--mnchen-3ya.xn--p1ai",
        "иван.петров@пример.рф",
        "νίκος@εταιρεία.ελ",
    ],
    "iban": [
        "GB82WEST12345698765432",
        "DE89 3704 0044 0532 0130 00",
        "FR14-2004-1010-0505-0001-3M02-606",
        "NO9386011117947",
        "de89370400440532013000",
        "gb82 west 1234 5698 7654 32",
        "BI4210000100010000332045181",
        "DJ2100010000000154000100186",
        "FK88SC123456789012",
        "HN88CABF00000000000250005469",
        "MN890005005678901234",
        "NI45BAPR00000013000003558124",
        "OM810180000001299123456",
        "RU0304452522540817810538091310419",
        "SO211000001001000100141",
        "YE15CBYE0001018861234567891234",
    ],
    "card": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "5555-5555-5555-4444",
        "3782 822463 10005",
        "6011000990139424",
        "2223003122003222",
    ],
    "ipv4": ["8.8.4.4", "193.99.144.80"],
    "ipv6": ["2606:4700:4700::1111", "2a00:1450:4001:0831:0000:0000:0000:200e"],
    "phone": [
        "+49 30 123456-78",
        "+1 (212) 555-0187",
        "+442071838750",
        "(212) 555-0187",
        "212-555-0187",
        "1-800-555-0199",
        "212.555.0187",
    ],
}
SECRETS = [
    (f'password = "{B62[:20]}"', 'password = "<SECRET>"'),
    (f"API_KEY: {B62}", "API_KEY: <SECRET>"),
    (f'"access_key_id" => "{B62}"', '"access_key_id" => "<SECRET>"'),
    (f"secretKey:={'0123456789abcdef' * 2}", "secretKey:=<SECRET>"),
]
STAYS = [
    "4111111111111112",  # Luhn
    "1234567812345670",  # Luhn is right, no issuer
    "41111111111111111111",  # too long for a card
    "0.4111111111111111",  # a decimal number
    "GB82WEST12345698765433",  # mod 97
    "GB82WEST1234569876543",  # too short for its country
    "ZZ82WEST12345698765432",  # no country
    "xGB82WEST12345698765432",
    "de89370400440532013001, gb82 west 1234 5698 7654 33",
    "10.0.0.1 192.168.1.1 127.0.0.1 172.16.3.4 0.0.0.0 255.255.255.0 224.0.0.1",  # not public
    "v1.2.3.4, version 1.2.3.4, ==1.2.3.4, 1.2.3.4.5, see section 8.2.4.44, 999.1.1.1",
    "::1 fe80::1 2001:db8::1 std::vector a[::2] 12:30:45 00:1b:44:11:3a:b7",
    "a@b, @property, x @ y, x@np.linalg.inv(y), git@github.com:a/b.git, pkg@1.2.3",
    "someone@example.com, a@b.test",  # of nobody, by RFC 2606
    "2024-01-02 10:11:12, 1234-5678, 123-456, +12345678, x+12345.6789, 030 1234567, 112-555-0187",
    "layers of 256 512 1024 units, 128 256 512 768 1024 2048, rows 250 300 1200",
    "1,200,300 400 5000",
    "C++11/14/17/20, rose +12 345 678 EUR, textile 250 300 1200",
    "logo@2x.png logo@3x.jpg vue@next.js getty@tty1.service pkg@1.2.3.tgz",
    "+1.2345678 -2.34 +12.345678 3.5 +1.4540 2.345 +1.50 2.25 3.75 4.75 5.5",  # rows of a table
    "password = os.environ['SOME_PASSWORD_NAME'], token: authentication_token_value_1",
    "secret = aaaaaaaaaaaaaaaa1111111A, api_key=short1A, keyboard = Abcdefgh12345678",
    "ghp_tooshort, AKIA12, sk-learn, skip-list-of-things, hf_model, eyJhbGciOi.x",
    'if line == "-----BEGIN PRIVATE KEY-----": read()',
    "-----BEGIN PUBLIC KEY-----",
]


def replaced(text: str, **settings) -> str:
    verdict = Pii(**settings)(Document(text, "1"))
    return verdict.document.text if isinstance(verdict, Edit) else text


@pytest.mark.parametrize(
    ("kind", "planted"), [(kind, each) for kind, every in PLANTED.items() for each in every]
)
def test_a_planted_kind_is_replaced_and_counted(kind, planted) -> None:
    for around in ("{}", "see {} here", "({})", "«{}».", "\t{}\n", "x: {}, and"):
        verdict = Pii()(Document(around.format(planted), "1"))
        assert isinstance(verdict, Edit)
        placeholder = f"<{kind.upper()}>"
        assert verdict.document.text.split() == around.format(placeholder).split()
        assert verdict.counts == {kind: 1}


@pytest.mark.parametrize(("text", "after"), SECRETS)
def test_a_random_value_under_a_telling_name_is_replaced(text, after) -> None:
    assert replaced(text) == after


@pytest.mark.parametrize("text", STAYS)
def test_a_near_miss_stays(text) -> None:
    assert Pii()(Document(text, "1")) is KEEP
    assert replaced(f"({text})") == f"({text})"


def test_many_kinds_in_one_text_are_all_found_and_the_rest_stays() -> None:
    rng = random.Random(1)
    planted = [(kind, each) for kind, every in PLANTED.items() for each in every] * 5
    rng.shuffle(planted)
    text = " and then ".join(each for _, each in planted)
    expected = " and then ".join(f"<{kind.upper()}>" for kind, _ in planted)
    verdict = Pii()(Document(text, "1"))
    assert isinstance(verdict, Edit)
    assert verdict.document.text == expected
    assert sum(verdict.counts.values()) == len(planted)


def test_an_address_in_a_sentence_without_spaces_is_found_alone() -> None:
    assert replaced("请联系john@firma.com谢谢") == "请联系<EMAIL>谢谢"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("4111111111111111,123,12/27", "<CARD>,123,12/27"),
        ("7,4111111111111111,x", "7,<CARD>,x"),
        ("[4111111111111111,5555555555554444]", "[<CARD>,<CARD>]"),
        ("8.8.8.8,8.8.4.4", "<IPV4>,<IPV4>"),
        ("2024-01-02,8.8.8.8,200", "2024-01-02,<IPV4>,200"),
        ("203.1.114.5-203.1.114.9", "<IPV4>-<IPV4>"),
        ("212-555-0123,415-555-0199", "<PHONE>,<PHONE>"),
        ("7,+442071838750,9", "7,<PHONE>,9"),
        ("2606:4700:4700::1111,8080", "<IPV6>,8080"),
        ("7,DE89 3704 0044 0532 0130 00,9", "7,<IBAN>,9"),
    ],
)
def test_what_stands_in_a_column_of_a_table_is_found(text, after) -> None:
    assert replaced(text) == after


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("In 2023 4111 1111 1111 1111 was used", "In 2023 <CARD> was used"),
        ("4000 3782 822463 10005", "4000 <CARD>"),
        ("4111 1111 1111 1111 5555 5555 5555 4444", "<CARD> <CARD>"),
        ("No12 DE89 3704 0044 0532 0130 00", "No12 <IBAN>"),
        ("4.33 +1 212-555-0123  6.164 1.09", "4.33 <PHONE>  6.164 1.09"),
        ("+49 30 63098359 1.22083953", "<PHONE> 1.22083953"),
        ("Call us at 212 555 0187 or fax: 212 555 0188.", "Call us at <PHONE> or fax: <PHONE>."),
        ("+47 22 34 56 78, +1 212 555 0187", "<PHONE>, <PHONE>"),
        ("ann@2x-labs.de, bob@firma.md", "<EMAIL>, <EMAIL>"),
    ],
)
def test_what_begins_within_a_form_that_failed_is_found(text, after) -> None:
    assert replaced(text) == after


def test_a_row_of_numbers_is_no_row_of_cards() -> None:
    row = "2023 2024 4111 1111 1111 1111 7700 7701 7702 7703 7704 7705 7706"
    assert replaced(row) == row
    assert replaced(row.removesuffix(" 7706")) == row.replace("4111 1111 1111 1111", "<CARD>")[:-5]


@pytest.mark.parametrize("text", ["fd12:3456:789a:1::1", "fe80:2345::1", "x:12:2345:6789::1"])
def test_a_part_of_a_local_address_is_no_public_one(text) -> None:
    assert replaced(text) == text


def test_of_two_kinds_in_one_place_the_more_telling_wins() -> None:
    assert replaced(f"password: ghp_{B62}") == "password: <TOKEN>"
    assert replaced(f"key = '{PRIVATE}'") == "key = '<PRIVATE_KEY>'"


def test_kinds_and_placeholder_can_be_chosen() -> None:
    text = "A@b.io on 8.8.4.4"
    assert replaced(text, kinds=["ipv4"]) == "A@b.io on <IPV4>"
    assert replaced(text, placeholder="[{kind}]") == "[EMAIL] on [IPV4]"
    with pytest.raises(ConfigError, match=r"no kind 'mail' \(did you mean 'email'\?\)"):
        Pii(kinds=["mail"])
    with pytest.raises(ConfigError, match=r"gives 'nobody@firm\.com', which is itself a email"):
        Pii(placeholder="nobody@firm.com")
    assert replaced(text, kinds=["email"], placeholder="nobody@example.com").startswith("nobody@ex")


PIECES = st.sampled_from(
    [each for every in PLANTED.values() for each in every]
    + STAYS
    + list(" .@:+-(1a\n/\"'=_")
    + [""]
)


@settings(deadline=None, max_examples=400)
@given(st.lists(PIECES, max_size=12).map(" and ".join))
def test_twice_is_once(text) -> None:
    once = replaced(text)
    assert replaced(once) == once
    assert not any(any(find(once)) for find in FINDERS.values())


@settings(deadline=None, max_examples=200)
@given(st.lists(PIECES, max_size=8).map("".join))
def test_what_is_outside_of_the_places_is_not_touched(text) -> None:
    places = Pii()._places(text)
    for (_, end, _), (start, _, _) in pairwise(places):
        assert end <= start
    kept = "".join(
        text[end:start]
        for (_, end, _), (start, _, _) in zip(
            [(0, 0, ""), *places], [*places, (len(text), 0, "")], strict=True
        )
    )
    assert kept == Pii(placeholder="").replaced(text)[0]


@given(st.text("0123456789", min_size=12, max_size=18))
def test_one_last_digit_of_ten_is_right_by_luhn(digits) -> None:
    assert sum(luhn(digits + last) for last in string.digits) == 1


@given(st.text("0123456789ABZ", min_size=11, max_size=20))
def test_one_check_number_is_right_by_mod_97(account) -> None:
    """ISO 13616: 98 minus the remainder with 00 in the place of the check number."""
    rest = int("".join(str(int(c, 36)) for c in f"{account}DE00")) % 97
    assert mod_97(f"DE{98 - rest:02}{account}")
    assert sum(mod_97(f"DE{n:02}{account}") for n in range(2, 99)) == 1


def test_random_values_are_told_from_words() -> None:
    rng = random.Random(1)
    signs = string.ascii_letters + string.digits
    drawn = ["".join(rng.choices(signs, k=32)) for _ in range(500)]
    assert sum(map(is_random, drawn)) > 480
    assert not any(
        map(is_random, ["configuration_value_of_this", "SomeClassNameInCamelCase", "A" * 40])
    )


def test_the_books_count_places_and_examples_of_drops_are_anonymous() -> None:
    from corpus_parts import Even

    texts = ["Write to A@b.io or B@c.io.", "odd A@b.io!"]
    assert [len(text) % 2 for text in texts] == [0, 1]
    run = Pipeline([Normalise(), Even(), Pii()]).run(
        [Document(text, str(i)) for i, text in enumerate(texts)]
    )
    assert [each.text for each in run] == ["Write to <EMAIL> or <EMAIL>"]
    assert run.books.of(3).counted == {"email": 2}
    assert [each.text for each in run.examples] == ["odd <EMAIL>!"]
