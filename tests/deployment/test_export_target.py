"""Where an export is written: what cannot be replaced is told before the network is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from roots.deployment import export
from roots.deployment.command import main
from roots.errors import ConfigError

pytestmark = pytest.mark.parametrize("run_folder", ["llama"], indirect=True)


def refused(run: Path, to: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks for an export in words and by a dry run, and reads what both say."""
    with monkeypatch.context() as patch:
        patch.setattr(
            "roots.deployment.exporting.load_source", lambda *_, **__: pytest.fail("read")
        )
        for more in ([], ["--dry-run"]):
            with pytest.raises(ConfigError, match=words):
                main(["--run", str(run), "--to", to, *more])


def test_the_folder_that_one_works_in_is_not_replaced(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "link").symlink_to(here)
    monkeypatch.chdir(here)
    words = r"is the folder that you work in.*in it, such as .*network\."
    for to in (".", "", str(here), "../here", "gone/..", "../link"):
        refused(run_folder, to, words, monkeypatch)
    assert not any(here.iterdir())
    assert main(["--run", str(run_folder), "--to", "network"]) == 0  # the cure
    assert (here / "network" / "model.safetensors").is_file()


def test_where_a_disk_is_mounted_nothing_is_replaced(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda self: self == disk)
    words = r"disk is where a disk is mounted.*such as .*disk/network\."
    refused(run_folder, str(disk), words, monkeypatch)
    assert not any(disk.iterdir())
    assert export(run_folder, disk / "network").is_dir()  # the cure


def test_a_link_stays_and_what_it_leads_to_is_replaced(run_folder: Path, tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    export(run_folder, exported / "v1")
    latest = exported / "latest"
    latest.symlink_to("v1")
    with pytest.raises(ConfigError, match=r"holds an export already\. Add --overwrite"):
        export(run_folder, latest)
    args = ["--run", str(run_folder), "--checkpoint", "20", "--to", str(latest), "--overwrite"]
    assert main(args) == 0
    assert latest.readlink() == Path("v1")
    assert '"step": 20' in (exported / "v1" / "manifest.json").read_text()
    assert sorted(path.name for path in exported.iterdir()) == ["latest", "v1"]
    (exported / "next").symlink_to("v2")  # which is not there yet
    export(run_folder, exported / "next")
    assert sorted(path.name for path in exported.iterdir()) == ["latest", "next", "v1", "v2"]
    assert (exported / "v2" / "model.safetensors").is_file()


def test_the_home_of_nobody_and_a_variable_that_is_not_set_are_told(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = r"a user that this machine does not know.* or \./~nosuchuser/x"
    refused(run_folder, "~nosuchuser/x", words, monkeypatch)
    monkeypatch.delenv("NOWHERE", raising=False)
    refused(run_folder, "${NOWHERE}/x", "NOWHERE, which is not set", monkeypatch)
    monkeypatch.setenv("NOWHERE", str(tmp_path / "out"))
    assert export(run_folder, "${NOWHERE}/x") == tmp_path / "out" / "x"
    assert export(run_folder, "./~nosuchuser/x").is_dir()
