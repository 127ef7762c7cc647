"""Servers of databases that live as long as the tests, on a port of their own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

PASSWORD = "pa:ss{w}@/d%41 é"
"""Signs that mean something in a URL, in a format string and in a configuration file."""
SECRET = re.compile(rf"{re.escape(PASSWORD)}|{re.escape(quote(PASSWORD, safe=''))}|pa:ss|pa%3Ass")


def found(program: str) -> str:
    """Where a server's program is; Debian keeps those of PostgreSQL off the PATH."""
    places = [os.environ["PATH"], "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    path = shutil.which(program, path=os.pathsep.join(places))
    if path is None:
        pytest.skip(f"there is no {program} here")
    return path


class Server:
    """What two kinds have in common: a folder, an owner who is not root, a port."""

    kind, account, end = "", "", signal.SIGKILL

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="roots-server-"))
        self.port = free_port()
        self.owner = self.account if os.geteuid() == 0 else None
        if self.owner:
            shutil.chown(self.folder, self.owner)
        self.process: Any = None
        self.n_databases = 0

    def call(self, command: Sequence[str]) -> None:
        done = subprocess.run(
            command, capture_output=True, text=True, user=self.owner, cwd=self.folder, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, user=self.owner, cwd=self.folder
            )
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self.ask("SELECT 1")
            except Exception:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                assert time.monotonic() < end, "it did not come up"
                time.sleep(0.05)

    def stop(self) -> None:
        """At once, as when a machine fails; only that PostgreSQL takes its processes with it."""
        self.process.send_signal(self.end)
        self.process.wait()

    def url(self, database: str, password: str = PASSWORD, **other: Any) -> str:
        port, host = other.get("port", self.port), other.get("host", "127.0.0.1")
        return f"{self.kind}://roots:{quote(password, safe='')}@{host}:{port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty one."""
        self.n_databases += 1
        self.ask(f"CREATE DATABASE sweeps{self.n_databases}")
        return self.url(f"sweeps{self.n_databases}")

    def ask(self, statement: str) -> None:
        raise NotImplementedError

    @property
    def command(self) -> list[str]:
        raise NotImplementedError


class PostgreSql(Server):
    kind, account, end = "postgresql", "postgres", signal.SIGQUIT

    def __init__(self) -> None:
        initdb, self.program = found("initdb"), found("postgres")
        pytest.importorskip("psycopg")
        super().__init__()
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ["-U", "roots", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        self.call([initdb, "-D", "data", *options, "-E", "UTF8", "--locale=C"])
        self.start()

    @property
    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
        }
        told = [word for k, v in settings.items() for word in ("-c", f"{k}={v}")]
        return [self.program, "-D", "data", "-p", str(self.port), *told]

    def ask(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="roots",
            password=PASSWORD,
            dbname="postgres",
            autocommit=True,
        ) as connection:
            connection.execute(statement)


class MariaDb(Server):
    kind, account = "mysql", "mysql"

    def __init__(self) -> None:
        make, self.program = found("mariadb-install-db"), found("mariadbd")
        pytest.importorskip("pymysql")
        super().__init__()
        options = [
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]
        self.call([make, "--no-defaults", f"--datadir={self.folder}/data", *options])
        self.start()
        self.ask(f"CREATE USER roots@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
        self.ask("GRANT ALL ON *.* TO roots@'127.0.0.1'")

    @property
    def command(self) -> list[str]:
        settings = {
            "datadir": self.folder / "data",
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "innodb-flush-log-at-trx-commit": 2,  # what was committed outlives the process
        }
        told = [f"--{k}={v}" for k, v in settings.items()]
        return [self.program, "--no-defaults", "--skip-name-resolve", *told]

    def ask(self, statement: str) -> None:
        import pymysql

        with (
            pymysql.connect(unix_socket=str(self.folder / "socket"), user="root") as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
