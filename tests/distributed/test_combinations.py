"""Every strategy in every precision that it takes: two steps, and they follow one device."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from combinations import APART, PRECISIONS, STRATEGIES, TESTED, refusal, table, table_in_readme
from ranks import run_ranks
from tiny import tiny_config

from roots.errors import ConfigError, MissingExtra
from roots.fit import compose
from roots.strategies.select import STRATEGIES as OFFERED

pytestmark = pytest.mark.heavy

HSDP = {"class_path": "roots.strategies.FSDP", "init_args": {"replicas": 2}}
TOLERANCE = {"32": 1e-5, "bf16-mixed": 1e-3, "bf16-true": 3e-3, "16-mixed": 1e-3}
SHORT = {"trainer.max_steps": 2, "trainer.val_every_steps": 0, "model.schedule.warmup_steps": 1}
ON_TWO = [(strategy, precision) for strategy, precision in TESTED if strategy != "single_device"]


def second_loss(shards: Path, folder: Path, strategy: Any, precision: str) -> float:
    overrides = {**SHORT, "trainer.strategy": strategy, "trainer.precision": precision}
    composed = compose(tiny_config(shards, folder), overrides)
    composed.fit()
    return float(composed.model.last_step.loss)


def on_two_ranks(shards: Path, folder: Path) -> dict[tuple[str, str], float]:
    """Two ranks are two copies of the network: with `replicas=2` each is in one piece."""
    return {
        (name, precision): second_loss(shards, folder, HSDP if name == "hsdp" else name, precision)
        for name, precision in ON_TWO
    }


@pytest.fixture(scope="module")
def alone(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    folder = tmp_path_factory.mktemp("alone")
    return {p: second_loss(shards, folder, s, p) for s, p in TESTED if s == "single_device"}


@pytest.fixture(scope="module")
def together(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, float]:
    first, second = run_ranks(on_two_ranks, shards, tmp_path_factory.mktemp("two"), timeout=240)
    assert first == second
    return first


@pytest.mark.parametrize("precision", [p for s, p in TESTED if s == "single_device"])
def test_one_device_learns_in_each_precision(alone: dict[str, float], precision: str) -> None:
    assert alone[precision] == pytest.approx(alone["32"], rel=5e-3)
    assert alone[precision] < torch.log(torch.tensor(300.0)) * 1.05


@pytest.mark.parametrize(("strategy", "precision"), ON_TWO)
def test_two_processes_follow_one_device(
    together: dict[Any, float], alone: dict[str, float], strategy: str, precision: str
) -> None:
    tolerance = TOLERANCE[precision]
    assert together[strategy, precision] == pytest.approx(alone[precision], rel=tolerance)


def test_the_readme_has_the_table_of_what_is_tested() -> None:
    """`python tests/combinations.py` writes it anew."""
    assert table_in_readme() == table()


def test_no_strategy_and_no_precision_is_left_out() -> None:
    from roots.precision import PRECISIONS as PLUGINS

    assert set(STRATEGIES) == set(OFFERED) - {"auto"}
    assert set(PRECISIONS) == set(PLUGINS)


def test_what_is_refused_is_refused_when_a_run_is_composed(config: dict[str, Any]) -> None:
    """What is tested is not."""
    for strategy in STRATEGIES:
        for precision in PRECISIONS:
            overrides = {
                "trainer.strategy": strategy,
                "trainer.precision": precision,
                "trainer.devices": 1 if strategy == "single_device" else 2,
            }
            if precision == "fp8-mixed" and find_spec("torchao") is None:
                with pytest.raises(MissingExtra, match="torchao"):
                    compose(config, overrides)
            elif refusal(strategy, precision):
                assert (strategy, precision) not in TESTED + APART
                with pytest.raises(ConfigError, match=r"Set trainer\.precision to "):
                    compose(config, overrides)
            else:
                compose(config, overrides)
