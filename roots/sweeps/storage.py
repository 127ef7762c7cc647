"""Where Optuna keeps the trials: its address, and patience; the only file that imports Optuna."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from roots.errors import ConfigError, MissingExtra, TrainingError, UserError
from roots.records import expanded

try:
    import optuna
except ModuleNotFoundError as error:
    raise MissingExtra(
        "A sweep on this machine needs the package optuna, which is not installed. Install it"
        " (pip install 'roots-lm[sweep]', or pip install -e '.[sweep]' in a clone)."
    ) from error
import sqlalchemy  # what Optuna speaks with databases by

__all__ = ["Storage", "StorageLost", "optuna"]

optuna.logging.set_verbosity(optuna.logging.WARNING)

DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
"""What speaks with a server whose address names no driver."""
OUTAGE_SECONDS = 600.0
"""How long a server may be away while a sweep runs: a restart, a network that is mended."""
ASK_AGAIN_SECONDS = 1.0
_QUIET = {  # a network that is cut, without a word from the other side, is noticed in a minute
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_SLOW = {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}
PATIENCE = {"psycopg": _QUIET, "psycopg2": _QUIET, "pymysql": _SLOW, "mysqldb": _SLOW}
"""How long each driver waits for a silent server, in seconds (but `tcp_user_timeout`)."""
PASSWORDS = ("password", "passwd", "sslpassword", "ssl_key_password")
"""The keys of a URL's query that hold one."""
OPENINGS = 8
"""How often an empty database is asked: machines that begin at once make its tables at once."""

_FORMS = (
    " Give a database as postgresql://USER:PASSWORD@HOST/NAME, mysql://… or sqlite:///FILE, or the"
    " path of a journal file on a disk that all machines see."
)


class StorageLost(TrainingError):
    """The storage broke off while a sweep ran."""


class Storage:
    """The address of a storage. Its password comes into no message.

    Args:
        address: A database's URL, or the path of a journal file, in which `~` and `${VARIABLE}` are
            expanded; a `Path` is a file of SQLite.

    Raises:
        ConfigError: It is no address, or needs a variable that is not set.
    """

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self.is_database = isinstance(address, Path) or "://" in address
        self.gives_up: Callable[[], bool] = lambda: False
        """Asked while a server is away: whether to wait no longer."""
        self.say: Callable[[str], None] = print
        """Shows that a server is away, and that it is back."""
        self._url: sqlalchemy.URL | None = None
        if isinstance(address, Path):
            self._url = sqlalchemy.URL.create("sqlite", database=self.address)
        elif self.is_database:
            self._url = _url(address)
        elif kind := re.match(r"[a-z][a-z0-9+]+:", address):
            raise ConfigError(
                f"The storage begins with {kind[0]} and is neither a URL, which goes on with //,"
                f" nor a path.{_FORMS}"
            )
        else:
            self.address = expanded(address)

    @property
    def url(self) -> str:
        """The URL with its driver, every sign in its parts escaped."""
        assert self._url is not None
        return self._url.render_as_string(hide_password=False)

    @property
    def name(self) -> str:
        """Names it without user and password: `postgresql at db.example:5432, database sweeps`."""
        if self._url is None:
            return self.address
        kind, url = self._url.get_backend_name(), self._url
        if kind == "sqlite":
            return f"{kind}, {url.database}"
        host = url.host or url.query.get("host") or url.query.get("unix_socket") or "this machine"
        port = f":{url.port}" if url.port else ""
        return f"{kind} at {host}{port}, database {url.database or '(none named)'}"

    @property
    def engine_settings(self) -> dict[str, Any]:
        """What its connections are made with."""
        assert self._url is not None
        if self._url.get_backend_name() == "sqlite":
            return {"connect_args": {"timeout": 60}}  # it waits while another process writes
        # Each use has a connection of its own: between two of them lie minutes, in which a server
        # may restart and a firewall forget.
        settings: dict[str, Any] = {"poolclass": sqlalchemy.NullPool, "pool_pre_ping": False}
        driver, told = self._url.get_driver_name(), self._url.query
        own: dict[str, Any] = {k: v for k, v in PATIENCE.get(driver, {}).items() if k not in told}
        if driver == "pymysql" and self._url.password:  # it would write a text as Latin-1
            own["password"] = str(self._url.password).encode()
        return {**settings, "connect_args": own}

    def open(self) -> Any:
        """Opens it as Optuna's; what cannot be is refused at once, what breaks off later waits.

        Raises:
            ConfigError: It cannot be opened.
            MissingExtra: The package that speaks with it is not installed.
        """
        try:
            if not self.is_database:
                Path(self.address).parent.mkdir(parents=True, exist_ok=True)
                backend = optuna.storages.journal.JournalFileBackend(self.address)
                return optuna.storages.JournalStorage(backend)
            sqlalchemy.create_engine(self.url, **self.engine_settings).connect().close()
            opened = self._with_tables()
        except Exception as error:
            raise self.refused(error) from None  # the cause's own words may hold the password
        sqlalchemy.event.listen(opened.engine, "do_connect", self._patient)
        return opened

    def _with_tables(self) -> Any:
        """Opens a database, and makes its tables; another machine may be at it too."""
        for _ in range(OPENINGS - 1):
            try:
                return optuna.storages.RDBStorage(self.url, engine_kwargs=self.engine_settings)
            except (sqlalchemy.exc.DBAPIError, optuna.exceptions.StorageInternalError):
                time.sleep(random.uniform(0.1, 0.5))
        return optuna.storages.RDBStorage(self.url, engine_kwargs=self.engine_settings)

    def _patient(self, dialect: Any, _record: Any, args: Any, settings: Any) -> Any:
        """Connects, and waits while the server is away."""
        began = time.monotonic()
        is_told = False
        while True:
            try:
                connection = dialect.connect(*args, **settings)
            except dialect.loaded_dbapi.OperationalError as error:
                if time.monotonic() - began > OUTAGE_SECONDS or self.gives_up():
                    raise self.lost(error) from None
                if not is_told:
                    self.say(
                        f"the storage ({self.name}) is away and waited for: {self._said(error)}"
                    )
                    is_told = True
            else:
                if is_told:
                    self.say(f"the storage ({self.name}) is back")
                return connection
            time.sleep(ASK_AGAIN_SECONDS)

    def refused(self, error: BaseException) -> UserError:
        """Words why it cannot be opened."""
        missing = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        if isinstance(missing, ImportError) and getattr(missing, "name", None):
            return MissingExtra(_to_install(str(missing.name), self.name))
        cure = (
            "Check its address, the user and the password, and that it runs."
            if self.is_database
            else "Give the path of a file that can be written, or the URL of a database."
        )
        return ConfigError(
            f"The storage ({self.name}) cannot be opened: {self._said(error)} {cure}"
        )

    def lost(self, error: BaseException) -> StorageLost:
        """Words that it broke off while it was used."""
        return StorageLost(
            f"The storage ({self.name}) broke off: {self._said(error.__cause__ or error)} No trial"
            " is lost: go on from their checkpoints (roots sweep --resume) once it is back."
        )

    @property
    def _passwords(self) -> list[str]:
        """What its URL holds of them; drivers take one in the query too."""
        if self._url is None:
            return []
        query = self._url.normalized_query
        found = [self._url.password, *(p for key in PASSWORDS for p in query.get(key, ()))]
        return [str(password) for password in found if password]

    def _said(self, error: BaseException) -> str:
        """What a driver said, on one line, without the password and the statement."""
        cause = getattr(error, "orig", None) or error
        text = " ".join(str(cause.args[-1] if cause.args else "").split())
        for password in self._passwords:
            for secret in (password, quote(password, safe=""), quote_plus(password)):
                text = text.replace(secret, "<secret>")
        text = (text or type(error).__name__)[:400]
        return text if text.endswith((".", "?")) else f"{text}."


def _url(address: str) -> sqlalchemy.URL:
    """Reads a URL, and names the driver where it names none.

    Raises:
        ConfigError: It is none, or of a kind that nobody knows.
    """
    kind = address.split("://", maxsplit=1)[0]
    try:
        url = sqlalchemy.make_url(address)
        if kind == "postgres":  # as hosts of databases write it
            url = url.set(drivername="postgresql")
        if url.drivername in DRIVERS:
            url = url.set(drivername=f"{url.drivername}+{DRIVERS[url.drivername]}")
        url.get_dialect()
        if url.get_backend_name() != "sqlite" and "@" in f"{url.host}{url.database}":
            raise ValueError
    except ImportError as error:
        if not error.name:
            raise
        raise MissingExtra(_to_install(error.name, kind)) from None
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigError(
            f"The storage ({kind}) cannot be opened: it is no URL of a database. In a user's name"
            f" or a password, write @ as %40, : as %3A, / as %2F and % as %25.{_FORMS}"
        ) from None
    return url


def _to_install(package: str, name: str) -> str:
    cure = (
        "Install it (pip install 'roots-lm[databases]', or pip install -e '.[databases]' in a"
        " clone)."
        if package in DRIVERS.values()
        else "Install it, or name no driver in the address."
    )
    return f"The storage ({name}) needs the package {package}, which is not installed. {cure}"
