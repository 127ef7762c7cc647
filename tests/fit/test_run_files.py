"""Run files extend each other, merge deeply, and are refused with what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_tasks import classes, task_config, write_jsonl

from roots.errors import ConfigError
from roots.fit import compose, merge, read_run_files
from roots.modules import SequenceClassifier
from roots.networks import NetworkBuilder
from roots.optim import AdamW, Constant


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_suffix(".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_extends_is_relative_to_the_file_and_not_to_the_present_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, run__a="extends: [../model/small.yaml]\nname: a", model__small="model: {x: 1}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read_run_files(["../run/a.yaml"]) == {"name": "a", "model": {"x": 1}}


def test_one_base_needs_no_list(tmp_path: Path) -> None:
    write(tmp_path, a="extends: b.yaml\nx: 1", b="y: 2")
    assert read_run_files([tmp_path / "a.yaml"]) == {"x": 1, "y": 2}


def test_files_merge_deeply_and_later_ones_win(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="extends: [b.yaml, c.yaml]\ntrainer: {max_steps: 1}",
        b="trainer: {max_steps: 2, precision: b, wandb: true}\nextends: d.yaml",
        c="trainer: {max_steps: 3, precision: c}",
        d="trainer: {seed: 4, wandb: false}",
        e="trainer: {max_steps: 5}",
    )
    merged = {"max_steps": 1, "precision": "c", "wandb": True, "seed": 4}
    assert read_run_files([tmp_path / "a.yaml"]) == {"trainer": merged}
    both = read_run_files([tmp_path / "a.yaml", tmp_path / "e.yaml"])
    assert both == {"trainer": {**merged, "max_steps": 5}}


def test_lists_are_replaced_whole() -> None:
    assert merge({"a": [1, 2, 3]}, {"a": [4]}) == {"a": [4]}


def test_another_class_drops_the_arguments_of_the_one_below() -> None:
    below = {"optimizer": {"class_path": "A", "init_args": {"only_of_a": 1}}}
    above = {"optimizer": {"class_path": "B", "init_args": {"of_b": 2}}}
    assert merge(below, above) == above
    same = {"optimizer": {"class_path": "A", "init_args": {"more": 2}}}
    assert merge(below, same)["optimizer"]["init_args"] == {"only_of_a": 1, "more": 2}
    unnamed = {"optimizer": {"init_args": {"more": 2}}}
    assert merge(below, unnamed)["optimizer"]["init_args"] == {"only_of_a": 1, "more": 2}


NAMES = ("AdamW", "roots.optim.AdamW", "roots.optim.adamw.AdamW")


@pytest.mark.parametrize("over", NAMES)
@pytest.mark.parametrize("under", NAMES)
def test_another_name_of_a_class_keeps_its_arguments(under: str, over: str) -> None:
    below = {"class_path": under, "init_args": {"learning_rate": 7e-3}}
    merged = merge(below, {"class_path": over, "init_args": {"weight_decay": 0.0}})
    assert merged["init_args"] == {"learning_rate": 7e-3, "weight_decay": 0.0}


@pytest.mark.parametrize(
    ("under", "over"),
    [
        ("roots.optim.AdamW", "torch.optim.AdamW"),
        ("torch.optim.AdamW", "AdamW"),
        ("roots.optim.AdamW", "nowhere.AdamW"),
        ("nowhere.AdamW", "nobody.AdamW"),
        ("AdamW", "Muon"),
    ],
)
def test_another_class_of_the_same_name_drops_them_too(under: str, over: str) -> None:
    above = {"class_path": over, "init_args": {}}
    assert merge({"class_path": under, "init_args": {"learning_rate": 7e-3}}, above) == above


def test_merging_leaves_its_arguments_as_they_are() -> None:
    below, above = {"a": {"b": 1}}, {"a": {"c": 2}}
    merge(below, above)
    assert (below, above) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_a_circle_is_refused_and_shown_and_cured_by_removing_one(tmp_path: Path) -> None:
    write(tmp_path, a="extends: b.yaml\nx: 1", b="extends: c.yaml", c="extends: b.yaml")
    with pytest.raises(ConfigError, match=r"b\.yaml → c\.yaml → b\.yaml.*Remove one of these"):
        read_run_files([tmp_path / "a.yaml"])
    write(tmp_path, c="y: 2")
    assert read_run_files([tmp_path / "a.yaml"]) == {"x": 1, "y": 2}


def test_a_base_that_two_files_extend_is_no_circle(tmp_path: Path) -> None:
    write(
        tmp_path, a="extends: [b.yaml, c.yaml]", b="extends: d.yaml", c="extends: d.yaml", d="x: 1"
    )
    assert read_run_files([tmp_path / "a.yaml"]) == {"x": 1}


def test_a_missing_base_is_named_with_who_extends_it(tmp_path: Path) -> None:
    write(tmp_path, a="extends: ../nowhere/small.yaml")
    with pytest.raises(ConfigError, match=r"no file .*nowhere/small\.yaml, which .*/a\.yaml ext"):
        read_run_files([tmp_path / "a.yaml"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file .*/nowhere\.yaml\. Correct the path"):
        read_run_files([tmp_path / "nowhere.yaml"])


@pytest.mark.parametrize("content", [b"a: [1, 2", b"\xff\xfe\x00"])
def test_what_is_no_yaml_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.yaml is no YAML: "):
        read_run_files([tmp_path / "a.yaml"])


def test_what_is_no_mapping_is_refused_with_what_it_is(tmp_path: Path) -> None:
    write(tmp_path, a="- 1\n- 2")
    with pytest.raises(ConfigError, match=r"a\.yaml holds a list, not `key: value` lines"):
        read_run_files([tmp_path / "a.yaml"])


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, a="", b="x: 1")
    assert read_run_files([tmp_path / "b.yaml", tmp_path / "a.yaml"]) == {"x": 1}


def test_yaml_cannot_call_python(tmp_path: Path) -> None:
    write(tmp_path, a="x: !!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="is no YAML"):
        read_run_files([tmp_path / "a.yaml"])


def test_the_path_of_a_data_file_stays_a_path(tmp_path: Path) -> None:
    """An argument that may also be a class: its value must not be read as the class's settings."""
    from roots.fit.command_line import CommandLine

    table = tmp_path / "rows.tsv"
    table.write_text("text\tlabel\nGood.\t1\n")
    head = {"class_path": "roots.networks.Scratch", "init_args": {"config": {"model_type": "bert"}}}
    config = {
        "model": {
            "class_path": "roots.modules.SequenceClassifier",
            "init_args": {
                "network": head,
                "optimizer": {"class_path": "roots.optim.AdamW"},
                "schedule": {"class_path": "roots.optim.Constant"},
            },
        },
        "data": {"class_path": "roots.data.LabelledTexts", "init_args": {"train": str(table)}},
        "trainer": {"max_steps": 1, "accelerator": "cpu"},
    }
    parsed = CommandLine(config, [f"--data.val={table}"])
    assert parsed.datamodule.train == parsed.datamodule.val == str(table)


@pytest.fixture
def config(encoder: Path, tmp_path: Path) -> dict[str, Any]:
    """The run file of a classifier."""
    train = write_jsonl(tmp_path / "train.jsonl", classes(40, 1))
    data = {"class_path": "roots.data.LabelledTexts", "init_args": {"train": str(train)}}
    return task_config("SequenceClassifier", data, encoder, tmp_path / "runs", max_steps=50)


def test_a_task_has_the_optimizer_and_schedule_of_berts_authors_where_none_are_named(
    config: dict[str, Any],
) -> None:
    arguments = config["model"]["init_args"]
    given = {name: arguments.pop(name) for name in ("optimizer", "schedule")}
    config["model"]["class_path"] = "SequenceClassifier"
    composed = compose(config, {"model.optimizer.eps": 1e-7})
    optimizer, schedule = composed.model.optimizer_builder, composed.model.schedule
    found = {name: getattr(optimizer, name) for name in ("learning_rate", "weight_decay", "eps")}
    assert found == {"learning_rate": 5e-5, "weight_decay": 0.01, "eps": 1e-7}
    assert schedule.warmup(50) == 3
    told = composed.config["model"]["init_args"]
    assert told["optimizer"]["init_args"]["beta2"] == 0.999
    assert told["schedule"]["init_args"]["warmup_fraction"] == 0.06
    arguments["optimizer"] = {"init_args": {"learning_rate": 2e-5}}
    optimizer = compose(config).model.optimizer_builder
    assert (optimizer.learning_rate, optimizer.weight_decay) == (2e-5, 0.01)
    arguments["optimizer"] = {"learning_rate": 3e-5}
    assert compose(config).model.optimizer_builder.learning_rate == 3e-5
    arguments |= given  # what is named has its own defaults
    assert compose(config).model.optimizer_builder.beta2 == AdamW().beta2 != 0.999


def test_a_class_or_a_length_that_is_given_is_not_mixed_with_what_is_usual(
    config: dict[str, Any],
) -> None:
    arguments = config["model"]["init_args"]
    for name in ("optimizer", "schedule"):
        del arguments[name]
    schedule = compose(config, {"model.schedule": "roots.optim.WarmupCosine"}).model.schedule
    assert schedule.warmup(50) == 0
    with pytest.raises(ConfigError, match="are required: name"):
        compose(config, {"model.optimizer": "roots.optim.TorchOptimizer"})
    assert compose(config, {"model.schedule.warmup_steps": 2}).model.schedule.warmup(50) == 2
    arguments["schedule"] = {"init_args": {"warmup_steps": 4}}
    assert compose(config).model.schedule.warmup(50) == 4


class WithItsOwnRate(SequenceClassifier):
    """A task of a user's own, which fixes optimizer and schedule."""

    def __init__(self, *, network: NetworkBuilder, micro_batch_size: int = 4) -> None:
        super().__init__(
            network=network,
            optimizer=AdamW(learning_rate=1e-3),
            schedule=Constant(),
            micro_batch_size=micro_batch_size,
        )


def test_a_class_that_takes_no_optimizer_is_given_none(config: dict[str, Any]) -> None:
    network = config["model"]["init_args"]["network"]
    own = f"{__name__}.WithItsOwnRate"
    config["model"] = {"class_path": own, "init_args": {"network": network}}
    assert compose(config).model.optimizer_builder.learning_rate == 1e-3
