"""`roots fit` starts itself with settings of glibc's allocator, unless the user has set some."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from roots import allocation
from roots.allocation import SETTINGS, TUNABLES, start_anew, tuned

pytestmark = pytest.mark.heavy

ALL = ":".join(SETTINGS)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system on which the settings do something."""
    monkeypatch.setattr(allocation, "_is_offered", lambda: True)


def test_the_settings_are_added_to_what_is_there(offered: None) -> None:
    assert tuned({"A": "1"}) == {"A": "1", TUNABLES: ALL}
    other = "glibc.rtld.nns=4"
    assert tuned({TUNABLES: other}) == {TUNABLES: f"{other}:{ALL}"}


@pytest.mark.parametrize(
    "theirs",
    [
        {TUNABLES: ""},
        {TUNABLES: "glibc.malloc.arena_max=1"},
        {"LD_PRELOAD": "libjemalloc.so"},
        {TUNABLES: ALL},
    ],
)
def test_what_the_user_set_stays(offered: None, theirs: dict[str, str]) -> None:
    assert tuned(theirs) == theirs


@pytest.mark.parametrize(
    ("libc", "pages"),
    [
        (("musl", "1.2"), "always [madvise] never"),
        (("glibc", "2.34"), "always [madvise] never"),
        (("glibc", "2.36"), "always madvise [never]"),
        (("glibc", "2.36"), None),
    ],
)
def test_nothing_is_set_where_it_does_nothing(
    libc: tuple[str, str], pages: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "enabled"
    if pages is not None:
        file.write_text(pages)
    monkeypatch.setattr(allocation, "_PAGES", file)
    monkeypatch.setattr("platform.libc_ver", lambda: libc)
    assert tuned({}) == {}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["export"], ["fit", "--help"]])
def test_only_long_work_starts_anew(
    offered: None, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "execve", None)  # it would be called in vain
    start_anew(arguments)
    monkeypatch.delenv(TUNABLES, raising=False)
    with pytest.raises(TypeError):
        start_anew(["fit"])


@pytest.mark.skipif(not allocation._is_offered(), reason="no glibc 2.35 with large pages")
def test_a_fit_of_the_command_line_runs_with_them(config: dict, tmp_path: Path) -> None:
    """A callback of the run sees the environment that its process was started with."""
    (tmp_path / "spying.py").write_text(
        "import os, lightning\n"
        "class Spy(lightning.Callback):\n"
        "    def on_train_start(self, *_):\n"
        "        print('SEEN', os.getpid(), os.environ.get('GLIBC_TUNABLES'))\n"
    )
    config["trainer"] |= {"callbacks": [{"class_path": "spying.Spy"}], "max_steps": 3}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    environment = {k: v for k, v in os.environ.items() if k != TUNABLES}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(tmp_path), str(Path(allocation.__file__).parents[1])]
    )
    command = [sys.executable, "-m", "roots", "fit", "--config", str(tmp_path / "run.yaml")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert f"SEEN {process.pid} {ALL}" in out  # the same process, so that signals reach it
