"""Every block of configs/own.md is run, in the order of the page, in one folder."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from tiny import without_pages
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

import roots
from roots.cli import run as command
from roots.errors import RootsError
from roots.runs import load_metrics, open_run

PAGE = Path(__file__).parent.parent.parent / "configs" / "own.md"
MODULES = ("nets", "losses", "windows", "norms", "signs", "rates")


class Block(NamedTuple):
    language: str
    text: str


def sections() -> dict[str, list[Block]]:
    """The blocks of the page by the heading above them."""
    found: dict[str, list[Block]] = {}
    for part in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M):
        heading, _, rest = part.partition("\n")
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", rest, flags=re.M | re.S)
        found[heading] = [Block(*block) for block in blocks]
    return found


SECTIONS = sections()


def run_line(line: str) -> None:
    """Runs a line of a console block as its shell would, in this process."""
    assert line.startswith("$ "), line
    program, *words = shlex.split(line[2:])
    if program == "roots":
        assert command(words) == 0, line
    else:
        assert program == "python", line
        runpy.run_path(words[0])


def run_block(block: Block) -> None:
    """Writes a file, or runs what a console shows."""
    if block.language == "console":
        for line in block.text.splitlines():
            run_line(line)
        return
    ending = {"python": ".py", "yaml": ".yaml"}[block.language]
    name = block.text.partition("\n")[0].removeprefix("# ")
    assert re.fullmatch(r"\w+", name.removesuffix(ending)), name
    Path(name).write_text(block.text)
    if block.language == "yaml":
        assert yaml.safe_load(block.text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the reader of the page works, after its first blocks."""
    place = tmp_path_factory.mktemp("own_page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(place))
        without_pages(patch)
        for block in next(iter(SECTIONS.values())):
            run_block(block)
        yield place
    for name in MODULES:
        sys.modules.pop(name, None)
    family = CONFIG_MAPPING._extra_content.pop("my_gru", None)
    AutoModelForCausalLM._model_mapping._extra_content.pop(family, None)


def numbers(run: str) -> dict[int, dict[str, float]]:
    return load_metrics(open_run(f"runs/{run}/0001").metrics_file).rows


def check_network(_folder: Path) -> None:
    assert numbers("gru")[8]["val/loss"] < numbers("gru")[4]["val/loss"]
    runpy.run_path("open_gru.py")
    assert AutoModelForCausalLM.from_pretrained("exported/gru").config.hidden_size == 48


def check_loss(folder: Path) -> None:
    """The loss is the cross-entropy and the penalty, per label, whatever the micro-batches."""
    row = numbers("small")[8]
    assert row["val/loss"] == pytest.approx(row["val/nats_per_token"] + 0.2 * row["val/squares"])
    assert row["val/squares"] > 0.1
    other_cuts = {"model.penalty": 0.2, "model.micro_batch_size": 8, "name": "whole-steps"}
    roots.compose("small.yaml", other_cuts).fit()
    for step, other in numbers("whole-steps").items():
        for name in ("train/loss", "train/squares"):
            assert numbers("small")[step][name] == pytest.approx(other[name], rel=1e-5)
    assert roots.load(folder / "runs/small/0001").penalty == 0.2


def check_data(folder: Path) -> None:
    """A run that was resumed made, bit for bit, the steps of one that was not."""
    steady = {"model.schedule": {"class_path": "roots.optim.Constant"}}
    for name, steps in (("whole", 12), ("half", 8)):
        roots.compose("windows.yaml", {**steady, "name": name, "trainer.max_steps": steps}).fit()
    run_line("$ roots fit --resume runs/half/0001 --trainer.max_steps 12")
    whole, half = (
        [row["train/loss"] for row in numbers(name).values()] for name in ("whole", "half")
    )
    assert half == whole
    assert len(set(whole)) == 12
    assert numbers("windows")[12]["train/loss"] < numbers("windows")[1]["train/loss"]
    (measured,) = (folder / "runs/base/0001").glob("validate-*.json")
    assert json.loads(measured.read_text())["data"]["path"] == "corpora/dataset"
    config = yaml.safe_load((folder / "runs/ids/0001/config.yaml").read_text())
    assert config["data"]["init_args"]["shards"] == "corpora/ids"


def check_callback(_folder: Path) -> None:
    assert set(numbers("norms")[8]) >= {"val/embedding_norm", "val/loss", "train/loss"}


def check_optimizer(folder: Path) -> None:
    assert numbers("sgd")[8]["train/loss"] < numbers("sgd")[1]["train/loss"]
    assert numbers("signs")[12]["train/loss"] < numbers("signs")[1]["train/loss"]
    config = yaml.safe_load((folder / "runs/sgd/0001/config.yaml").read_text())
    optimizer = config["model"]["init_args"]["optimizer"]["init_args"]
    assert optimizer["arguments"] == {"momentum": 0.8, "nesterov": True}


def check_schedule(_folder: Path) -> None:
    rates = [row["optim/learning_rate"] for _, row in sorted(numbers("triangle").items())]
    by_definition = [3e-3 * min(n / 9 / 0.25, (1 - n / 9) / 0.75) for n in range(1, 9)]
    assert rates == pytest.approx(by_definition)
    with pytest.raises(RootsError, match="peak_at=2 is no share"):
        roots.compose("triangle.yaml", {"model.schedule.peak_at": 2.0})
    theirs = {"class_path": "torch.optim.lr_scheduler.ExponentialLR", "init_args": {"gamma": 0.9}}
    with pytest.raises(RootsError, match=r"model.*schedule"):
        roots.compose("base.yaml", {"model.schedule": theirs})


CHECKS: dict[str, Any] = {
    "Network": check_network,
    "Loss": check_loss,
    "Data": check_data,
    "Callback": check_callback,
    "Optimizer": check_optimizer,
    "Schedule": check_schedule,
}


@pytest.mark.heavy
@pytest.mark.parametrize("section", CHECKS)
def test_a_section_of_the_page_runs_as_it_stands(folder: Path, section: str) -> None:
    for block in SECTIONS[section]:
        run_block(block)
    CHECKS[section](folder)


def test_no_section_is_left_out_and_each_has_all_that_is_needed() -> None:
    _start, *others = SECTIONS
    assert others == list(CHECKS)
    for name, blocks in SECTIONS.items():
        assert {block.language for block in blocks} == {"python", "yaml", "console"}, name
    assert PAGE.read_text().count("```") == 2 * sum(len(blocks) for blocks in SECTIONS.values())
