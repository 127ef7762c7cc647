"""A run file names no machine: `~` and `${VARIABLE}` in the places of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import roots
from roots.data import Augment
from roots.errors import ConfigError, DataError
from roots.fit import compose
from roots.shards import ShardFolder, Streamed
from roots.tokenizer.chat_template import template_text
from roots.tokenizer.fetching import tokenizer_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> Path:
    """A home folder with the shards of the tiny run, and the variable SCRATCH for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCRATCH", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "shards").symlink_to(config["data"]["init_args"]["shards"])
    config["trainer"]["max_steps"] = 1
    config["model"]["init_args"]["schedule"] = {"class_path": "roots.optim.Constant"}
    return tmp_path / "home"


@pytest.mark.parametrize("root", ["~", "${SCRATCH}", "$SCRATCH"])
def test_runs_shards_and_networks_are_found_where_the_variable_says(
    config: dict[str, Any], home: Path, root: str
) -> None:
    config["data"]["init_args"]["shards"] = f"{root}/shards"
    run = compose(config, {"trainer.runs_dir": f"{root}/runs"}).fit()
    assert run.path == home / "runs/tiny/0001"
    assert [path.name for path in home.parent.iterdir()] == ["home"]
    assert f"shards: {root}/shards" in run.config_file.read_text()
    network = {"class_path": "roots.networks.Pretrained"}
    network["init_args"] = {"path": f"{root}/runs/tiny/0001"}
    config["model"]["init_args"]["network"] = network
    second = compose(config, {"trainer.runs_dir": f"{root}/runs"}).fit()
    assert second.path == home / "runs/tiny/0002"
    again = roots.resume(f"{root}/runs/tiny/0002", {"trainer.max_steps": 2})
    assert again.fit().last().step == 2


def test_a_variable_that_is_not_set_is_refused_by_name(config: dict[str, Any], home: Path) -> None:
    for name in ("trainer.runs_dir", "data.shards"):
        with pytest.raises(ConfigError, match=r"needs the variable NOT_SET.*export NOT_SET="):
            compose(config, {name: "${NOT_SET}/x"}).fit()
    ShardFolder.open(home / "shards")


def test_a_network_that_is_not_there_is_told_by_its_whole_path(
    config: dict[str, Any], home: Path
) -> None:
    network = {"class_path": "roots.networks.Pretrained"}
    network["init_args"] = {"path": "${SCRATCH}/none"}
    config["model"]["init_args"]["network"] = network
    with pytest.raises(DataError, match=f"There is no folder {home}/none"):
        compose(config).fit()


def test_files_that_settings_name_are_found_there_too(home: Path) -> None:
    (home / "synonyms.txt").write_text("cat, dog\n")
    (home / "chat.jinja").write_text("{{ messages[0].content }}")
    augment = Augment(replace=0.1, synonyms="${SCRATCH}/synonyms.txt")
    assert augment.groups == {"cat": ["dog"], "dog": ["cat"]}
    assert template_text("${SCRATCH}/chat.jinja", {}) == "{{ messages[0].content }}"
    for name in ("synonyms.txt", "chat.jinja"):  # an editor's mark of UTF-8 is no part of them
        (home / name).write_bytes(b"\xef\xbb\xbf" + (home / name).read_bytes())
    assert Augment(replace=0.1, synonyms="${SCRATCH}/synonyms.txt").groups == augment.groups
    assert template_text("${SCRATCH}/chat.jinja", {}) == "{{ messages[0].content }}"
    assert tokenizer_folder("${SCRATCH}") == home
    streamed = Streamed(url="memory://corpus", cache_dir="~")
    assert streamed.cache().folder == home / "roots-blocks"
    with pytest.raises(DataError, match="~nosuchuser/x"):
        Augment(replace=0.1, synonyms="~nosuchuser/x").check()
