"""A mistake that can be told without the data is told before hours are spent on making them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny import tiny_config

from roots.cli import run as roots
from roots.errors import ConfigError


@pytest.fixture
def run_file(tmp_path: Path) -> str:
    """A run whose corpus is not made yet."""
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"the cat sat on the mat {n} times" for n in range(60)))
    arguments = {
        "source": {"class_path": "roots.sources.Text", "init_args": {"paths": str(text)}},
        "tokenizer": {"class_path": "roots.corpus.BytePairs", "init_args": {"vocab_size": 280}},
        "out": str(tmp_path / "made"),
        "workers": 1,
    }
    config = tiny_config(tmp_path, tmp_path / "runs", max_steps=6)
    shards = {"class_path": "roots.corpus.Corpus", "init_args": arguments}
    config["data"]["init_args"]["shards"] = shards
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    return str(file)


@pytest.mark.parametrize(
    ("flag", "said", "cure"),
    [
        ("--model.schedule.warmup_steps=99", r"warmup_steps=99 .* at most 5", 5),
        ("--data.seq_len=99", r"seq_len=99 .*64 positions.*data\.seq_len to at most 64", 64),
    ],
)
def test_no_corpus_is_made_for_a_run_that_cannot_be(
    run_file: str, tmp_path: Path, flag: str, said: str, cure: int
) -> None:
    with pytest.raises(ConfigError, match=said):
        roots(["fit", "--config", run_file, flag])
    assert not (tmp_path / "made").exists()
    mended = f"{flag.partition('=')[0]}={cure}"
    assert roots(["fit", "--config", run_file, mended, "--dry-run"]) == 0
