"""What no storage of a sweep can be, told without its password."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from servers import SECRET, Server
from small_sweeps import FOUR, write

from roots.cli import run as roots
from roots.errors import ConfigError, MissingExtra
from roots.sweeps.storage import Storage


def test_a_wrong_password_host_or_database_is_told_before_a_folder_is_made(
    sweep_file: Path, postgresql: Server, capfd: pytest.CaptureFixture, tmp_path: Path
) -> None:
    mistakes = {
        postgresql.url("postgres", password="pa:ss-wrong"): "password authentication failed",
        postgresql.url("postgres", port=1): "Connection refused",
        postgresql.url("postgres", host="nowhere.invalid"): "resolve host 'nowhere.invalid'",
        postgresql.url("nowhere"): 'database "nowhere" does not exist',
    }
    for url, words in mistakes.items():
        with pytest.raises(ConfigError) as refused:
            roots(["sweep", str(sweep_file), f"--storage={url}", f"--sweeps-dir={tmp_path / 'x'}"])
        assert words in str(refused.value)
        assert "The storage (postgresql at" in str(refused.value)
        assert refused.value.exit_code == 2
        assert refused.value.__cause__ is None, "a traceback would show it"
        assert not SECRET.search(str(refused.value) + "".join(capfd.readouterr()))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql://me:pa:ss{w}@/d%@db/sweeps", "a password, write @ as %40"),
        ("mysql://me:pa@ss@db/sweeps", "a password, write @ as %40"),
        ("postgresql://me:pass@db:54z/sweeps", "is no URL of a database"),
        ("postgresql:/me:pass@db/sweeps", "begins with postgresql: and is neither a URL"),
        ("sqlite:////nowhere/at/all/x.db", "(sqlite, /nowhere/at/all/x.db) cannot be opened: una"),
        ("/dev/null/x", "(/dev/null/x) cannot be opened: File exists. Give the path of a file"),
    ],
)
def test_what_is_no_address_is_refused_without_its_password(address: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)) as refused:
        Storage(address).open()
    assert "pa:ss" not in str(refused.value)
    assert "pass" not in str(refused.value).replace("password", "").replace("PASSWORD", "")


@pytest.mark.parametrize(
    ("address", "url", "name"),
    [
        ("postgres://u:p@db/x", "postgresql+psycopg://u:p@db/x", "postgresql at db, database x"),
        ("mysql://u@db:3/x", "mysql+pymysql://u@db:3/x", "mysql at db:3, database x"),
        ("mariadb://u@db/x", "mariadb+pymysql://u@db/x", "mariadb at db, database x"),
        (
            "postgresql:///x?host=/run/pg",
            "postgresql+psycopg:///x?host=%2Frun%2Fpg",
            "postgresql at /run/pg, database x",
        ),
    ],
)
def test_an_address_without_a_driver_gets_ours(address: str, url: str, name: str) -> None:
    pytest.importorskip("psycopg")
    pytest.importorskip("pymysql")
    assert (Storage(address).url, Storage(address).name) == (url, name)


@pytest.mark.parametrize("package", ["psycopg", "pymysql"])
def test_a_missing_driver_is_told_with_its_install_line(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = {"psycopg": "postgresql", "pymysql": "mysql"}[package]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra) as missing:
        Storage(f"{kind}://u:secret@db/x").open()
    assert f"needs the package {package}" in str(missing.value)
    assert "pip install 'roots-lm[databases]'" in str(missing.value)
    assert "secret" not in str(missing.value)


@pytest.mark.parametrize("key", ["password", "passwd"])
def test_a_password_in_the_query_is_in_no_message(key: str) -> None:
    kept = Storage(f"mysql://u@db/x?{key}=open%20sesame%21")
    for error in (ValueError("open sesame! is wrong"), ValueError("?p=open+sesame%21")):
        assert "sesame" not in str(kept.refused(error)) + str(kept.lost(error))
        assert "<secret>" in str(kept.refused(error))
    assert "sesame" not in kept.name


def test_a_driver_that_the_address_names_is_the_users_to_install() -> None:
    with pytest.raises(MissingExtra, match=r"oracledb.*or name no driver in the address"):
        Storage("oracle+oracledb://u:p@db/x").open()


@pytest.mark.slow
def test_the_command_ends_with_2_and_without_the_password_where_it_is_wrong(
    server: Server, config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    file = write(tmp_path / "tiny.yaml", parameters=FOUR)
    url = server.url("sweeps", password="pa:ss-wrong")
    command = [sys.executable, "-m", "roots", "sweep", str(file), f"--storage={url}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"roots: The storage ({server.kind} at 127.0.0.1")
    assert "Traceback" not in done.stderr
    assert not SECRET.search(done.stdout + done.stderr)
