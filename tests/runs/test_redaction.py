"""What stands in an address, or in an escaped or folded string, is hidden too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from roots.runs import hidden_names, redact, redact_values, write_record


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://user:t0ken@host/x", "https://<secret>@host/x"),
        ("https://ghp_0123456789abcdef@host/x", "https://<secret>@host/x"),
        ("postgresql://me:pw@db:5432/optuna", "postgresql://<secret>@db:5432/optuna"),
        ("s3://b/f?X-Amz-Signature=ab12&part=3", "s3://b/f?X-Amz-Signature=<secret>&part=3"),
        ("https://h/f?sig=ab%2F12&sv=1", "https://h/f?sig=<secret>&sv=1"),
        ("https://h/f?access_token=ab", "https://h/f?access_token=<secret>"),
        (
            "https://h/f?X-Amz-Date=2&X-Amz-Expires=3&X-Amz-Signature=ab",
            "https://h/f?X-Amz-Date=<secret>&X-Amz-Expires=<secret>&X-Amz-Signature=<secret>",
        ),
        (
            "https://h/f?sv=1&st=2&se=3&sig=ab",
            "https://h/f?sv=1&st=<secret>&se=<secret>&sig=<secret>",
        ),
        ("https://h/f?user=me&pwd=ab", "https://h/f?user=me&pwd=<secret>"),
        ("sftp://data-team:pw@host/x", "sftp://data-team:<secret>@host/x"),
    ],
)
def test_the_secret_part_of_an_address_is_hidden(address: str, told: str) -> None:
    assert redact(address, {}) == told
    assert redact(f"see '{address}' and {address}", {}) == f"see '{told}' and {told}"


@pytest.mark.parametrize(
    "address",
    [
        "https://host:8080/a@b",
        "ssh://git@host/x",
        "abfs://training-corpora-2024@account.dfs.core.windows.net/x",
        "sftp://data-engineering-team@host/x",
        "github://organization:repository@main/x",
        "https://host/x?page=2&monkey_business",
        "https://host/x?se=2&expires=never",
        "https://host/x?tokenizer=bert-base-chinese",
        "user:token@host",
        "file:///data/a:b/c@d",
    ],
)
def test_an_address_without_a_secret_stays(address: str) -> None:
    assert redact(address, {}) == address


def test_a_secret_that_a_format_would_fold_or_escape_is_hidden_before() -> None:
    secret = 'correct "horse" battery \\ ' + "staple " * 20
    told = redact_values(
        {"a": [f"x {secret} y", 3, None], secret: (1.5, secret)}, {"MY_KEY": secret}
    )
    assert told == {"a": ["x <MY_KEY> y", 3, None], "<MY_KEY>": (1.5, "<MY_KEY>")}
    for text in (json.dumps(told), yaml.safe_dump({"a": told["a"]})):
        assert "horse" not in text


def test_hidden_settings_are_named() -> None:
    config = {"a": {"path": "https://<secret>@h/x"}, "b": ["in <HF_TOKEN>", "<MASK>", "<token>", 3]}
    assert hidden_names(config) == ["a.path", "b.0"]


SECRETS = (
    *("API_KEY", "APIKEY", "api_key", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY_2", "GPG_KEY"),
    *("HF_TOKEN", "HFTOKEN", "GITHUBTOKEN", "TOKEN", "TOKENS", "TOKEN2", "CI_JOB_TOKEN_NEW"),
    *("MY_SECRET", "SECRETS", "CLIENTSECRET", "DB_PASS", "SSHPASS", "API_PWD", "MYSQL_PWD"),
    *("PASSWORD", "PGPASSWORD", "SMTP_PASSWD", "SSH_PASSPHRASE", "MY_AUTH", "AUTH_HEADER"),
    *("HTTP_AUTHORIZATION", "CREDENTIAL", "GOOGLE_APPLICATION_CREDENTIALS", "TOKENIZER_KEY"),
)
NO_SECRETS = (
    *("TOKENIZER", "TOKENIZERS", "TOKENIZERS_PARALLELISM", "TOKENIZER_NAME", "MY_TOKENIZER"),
    *("PWD", "OLDPWD", "SSH_AUTH_SOCK", "GIT_ASKPASS", "KEYBOARD_LAYOUT", "MONKEY", "XAUTHORITY"),
    *("COMPASS_HOME", "BYPASS", "PASSAGE", "AUTHOR", "SECRETARY", "HOME", "PATH"),
)


@pytest.mark.parametrize("name", SECRETS)
def test_a_variable_of_this_name_is_a_secret(name: str) -> None:
    told = redact_values({"path": "in hunter2hunter2"}, {name: "hunter2hunter2"})
    assert told == {"path": f"in <{name}>"}
    assert hidden_names(told) == (["path"] if name.isupper() else [])


@pytest.mark.parametrize("name", NO_SECRETS)
def test_a_variable_of_this_name_is_none(name: str) -> None:
    assert redact("in bert-base-chinese", {name: "bert-base-chinese"}) == "in bert-base-chinese"
    assert hidden_names({"path": f"in <{name}>"}) == []


def test_a_record_of_a_run_is_json_for_every_reader(tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", {"val/loss": float("nan"), "names": ["é"]})
    assert (tmp_path / "a.json").read_text() == (
        '{\n  "val/loss": null,\n  "names": [\n    "é"\n  ]\n}\n'
    )
