"""One configuration in Python and on the command line: the same run, the same refusals."""

from __future__ import annotations

import copy
import csv
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import yaml
from lightning.pytorch import callbacks as lightnings

from roots.cli import run as roots
from roots.errors import ConfigError
from roots.fit import Trainer, compose
from roots.optim import AdamW, Constant
from roots.runs import Run


def changed(config: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """A copy of `config` with one setting changed, by its full path."""
    config = copy.deepcopy(config)
    *parents, last = dotted.split(".")
    at = config
    for parent in parents:
        at = at[parent]
    at[last] = value
    return config


def without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


@pytest.fixture
def run_file(config: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


# -- what it takes --------------------------------------------------------------------------------


def test_a_file_and_what_it_says_compose_to_the_same(config: dict, run_file: Path) -> None:
    assert compose(run_file).config == compose(str(run_file)).config == compose(config).config


def test_a_precision_may_be_written_as_a_number(config: dict) -> None:
    """Of `precision: 32` YAML makes a number, where nobody thinks of quotes."""
    composed = compose(changed(config, "trainer.precision", 32))
    assert type(composed.trainer.precision_plugin) is type(
        compose(changed(config, "trainer.precision", "32")).trainer.precision_plugin
    )
    with pytest.raises(ConfigError, match="There is no precision '31'"):
        compose(changed(config, "trainer.precision", 31))


def test_several_files_merge_and_overrides_win(run_file: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text("trainer: {max_steps: 9, keep_best: 3}")
    composed = compose([run_file, more], {"trainer.keep_best": 4})
    assert composed.trainer.max_steps == 9
    assert composed.trainer.checkpoints.keep_best == 4


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("model.micro_batch_size", 2, lambda c: c.model.micro_batch_size),
        ("model.init_args.micro_batch_size", 2, lambda c: c.model.micro_batch_size),
        (
            "model.optimizer.learning_rate",
            1e-5,
            lambda c: c.model.optimizer_builder.learning_rate,
        ),
        (
            "model.init_args.optimizer.init_args.learning_rate",
            0.5,
            lambda c: c.model.optimizer_builder.learning_rate,
        ),
        ("model.network.config.hidden_size", 64, lambda c: c.model.builder.config["hidden_size"]),
        ("model.clip_norm", math.inf, lambda c: c.model.clip_norm),
        ("data.seq_len", 8, lambda c: c.data.seq_len),
        ("trainer.max_steps", 7, lambda c: c.trainer.max_steps),
        ("trainer.progress", True, lambda c: c.config["trainer"]["progress"]),
        ("trainer.runs_dir", Path("a") / "b", lambda c: Path(c.trainer.runs_dir)),
        ("seed", 3, lambda c: c.trainer.seed),
        ("name", "other", lambda c: c.trainer.name),
    ],
)
def test_an_override_reaches_what_it_names(config: dict, name: str, value: Any, found: Any) -> None:
    assert found(compose(config, {name: value})) == value


def test_an_override_can_be_a_class_or_a_list(config: dict) -> None:
    sampling = {"class_path": "roots.callbacks.Samples", "init_args": {"prompts": ["a: b\n", "c"]}}
    constant = {"class_path": "roots.optim.Constant"}
    composed = compose(config, {"trainer.callbacks": [sampling], "model.schedule": constant})
    assert isinstance(composed.model.schedule, Constant)
    prompts = composed.config["trainer"]["callbacks"][0]["init_args"]["prompts"]
    assert prompts == ["a: b\n", "c"]


def test_a_dictionary_may_hold_paths_and_objects_and_is_left_alone(
    config: dict, tmp_path: Path
) -> None:
    config["trainer"]["runs_dir"] = tmp_path
    config["model"]["init_args"]["optimizer"] = AdamW(learning_rate=0.25)
    before = copy.copy(config["trainer"])
    composed = compose(config, {"trainer.max_steps": 3})
    assert composed.model.optimizer_builder.learning_rate == 0.25
    assert composed.trainer.runs_dir == str(tmp_path)
    assert config["trainer"] == before


def test_a_number_in_scientific_notation_without_a_point_is_a_number(
    run_file: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more.yaml"
    more.write_text("model: {init_args: {optimizer: {init_args: {learning_rate: 2e-3}}}}")
    assert compose([run_file, more]).model.optimizer_builder.learning_rate == 0.002


# -- what it refuses ------------------------------------------------------------------------------

TYPOS = [
    ("nmae", "nmae"),
    ("trainer.max_stepz", "max_stepz"),
    ("model.init_args.clip_nrom", "clip_nrom"),
    ("data.init_args.seq_length", "seq_length"),
    ("model.init_args.network.init_args.attn", "attn"),
    ("model.init_args.network.init_args.config.hidden_sice", "hidden_sice"),
    ("model.init_args.optimizer.init_args.lr", "lr"),
    ("model.init_args.schedule.init_args.warmup", "warmup"),
    ("model.clip_norm", r"model\.clip_norm stands beside class_path.*model\.init_args\.clip_norm"),
]


@pytest.mark.parametrize(("dotted", "named"), TYPOS)
def test_an_unknown_key_of_a_file_is_refused_by_name_and_briefly(
    config: dict, dotted: str, named: str
) -> None:
    with pytest.raises(ConfigError, match=named) as refused:
        compose(changed(config, dotted, 3))
    message = str(refused.value)
    assert len(message) < 400
    assert "usage:" not in message
    assert "Given value" not in message
    assert "NoneType" not in message


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("modle.x", "--modle.x"),
        ("trainer.max_stepz", "--trainer.max_stepz"),
        ("model.clip_nrom", "clip_nrom"),
        ("model.optimizer.lr", "'lr'"),
        ("model.network.config.hidden_sice", "did you mean 'hidden_size'"),
        ("data.seq_length", "seq_length"),
    ],
)
def test_an_unknown_override_is_refused_as_an_unknown_flag_is(
    config: dict, run_file: Path, name: str, named: str
) -> None:
    with pytest.raises(ConfigError) as in_python:
        compose(config, {name: 9})
    with pytest.raises(ConfigError) as as_flag:
        roots(["fit", "--config", str(run_file), f"--{name}=9", "--dry-run"])
    assert str(in_python.value) == str(as_flag.value)
    assert named in str(in_python.value)
    assert len(str(in_python.value)) < 400


def test_a_deep_mistake_is_told_with_the_way_to_it(config: dict) -> None:
    with pytest.raises(ConfigError, match=r"^model: roots\.modules\.CausalLM: optimizer: roots\."):
        compose(changed(config, "model.init_args.optimizer.init_args.lr", 1))


def test_a_value_of_another_type_is_told_with_the_value(config: dict) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.max_steps: .*int.*many"):
        compose(config, {"trainer.max_steps": "many"})
    with pytest.raises(ConfigError, match=r"clip_norm: .*float.*narrow"):
        compose(config, {"model.clip_norm": "narrow"})


@pytest.mark.parametrize("part", ["model", "data"])
def test_a_missing_part_is_named_with_where_to_get_one(config: dict, part: str) -> None:
    with pytest.raises(ConfigError, match=f"lacks {part}. Give a run file .*quickstart.yaml"):
        compose(without(config, part))


def test_no_configuration_at_all_is_told_as_such() -> None:
    with pytest.raises(ConfigError, match=r"lacks data, model. Give a run file"):
        roots(["fit"])


def test_a_class_without_what_it_needs_is_refused_by_name(config: dict) -> None:
    del config["model"]["init_args"]["network"]
    with pytest.raises(ConfigError, match=r"roots\.modules\.CausalLM: .*required: network\."):
        compose(config)


def test_a_class_that_does_not_exist_is_refused_by_name(config: dict) -> None:
    with pytest.raises(ConfigError, match=r"roots\.optim\.Adam\b"):
        compose(changed(config, "model.init_args.optimizer.class_path", "roots.optim.Adam"))


LIGHTNINGS_OWN = {
    "accumulate_grad_batches": r"set model\.micro_batch_size",
    "gradient_clip_val": r"set model\.clip_norm",
    "gradient_clip_algorithm": r"set model\.clip_norm",
    "val_check_interval": r"set trainer\.val_every_steps, in optimizer steps",
    "log_every_n_steps": r"set trainer\.log_every_steps",
    "fast_dev_run": r"roots fit --dry-run",
    "overfit_batches": r"set trainer\.max_steps, and data on few",
    "limit_train_batches": r"set trainer\.max_steps",
    "limit_val_batches": r"set data\.max_val_sequences",
    "profiler": r"roots profile",
    "default_root_dir": r"set trainer\.runs_dir",
    "logger": r"metrics\.csv has every number; set trainer\.wandb",
    "enable_progress_bar": r"set trainer\.progress",
    "enable_checkpointing": r"set trainer\.checkpoint_every_steps",
    "check_val_every_n_epoch": r"set trainer\.val_every_epochs",
    "min_epochs": r"trainer\.early_stopping",
    "min_steps": r"trainer\.early_stopping",
    "max_time": r"lightning\.pytorch\.callbacks\.Timer",
    "detect_anomaly": r"torch\.autograd\.set_detect_anomaly",
    "ckpt_path": r"roots fit --resume RUN",
}


@pytest.mark.parametrize(("name", "instead"), LIGHTNINGS_OWN.items())
def test_what_lightning_would_count_otherwise_is_refused_with_what_to_set(
    config: dict, run_file: Path, name: str, instead: str
) -> None:
    expected = rf"^trainer\.{name} is not used: .*{instead}"
    with pytest.raises(ConfigError, match=expected):
        compose(changed(config, f"trainer.{name}", 1))
    with pytest.raises(ConfigError, match=expected):
        compose(config, {f"trainer.{name}": 1})
    for flags in ([f"--trainer.{name}", "1"], [f"--trainer.{name}=1"]):
        with pytest.raises(ConfigError, match=expected):
            roots(["fit", "--config", str(run_file), *flags])
    with pytest.raises(ConfigError, match=expected):
        Trainer(max_steps=1, **{name: 1})


def test_what_lightning_would_take_beside_the_trainer_is_refused_as_well(run_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"ckpt_path is not used: `roots fit --resume RUN`"):
        roots(["fit", "--config", str(run_file), "--ckpt_path", "last"])


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("trainer.max_step", "(did you mean '--trainer.max_steps'?)"),
        ("max_steps", "(did you mean '--trainer.max_steps'?)"),
        ("trainer.log_evry_steps", "(did you mean '--trainer.log_every_steps'?)"),
        ("trainer.fast_dev", "--trainer.fast_dev. Run"),
        ("optimizer", "--optimizer. Run"),
    ],
)
def test_a_flag_that_is_not_there_is_told_by_its_own_word(
    config: dict, flag: str, meant: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        compose(config, {flag: 1})
    assert meant in str(refused.value)


def test_an_optimizer_of_torch_in_the_place_of_a_builder_is_told_who_runs_it(config: dict) -> None:
    told = r"torch\.optim\.SGD is no OptimizerBuilder.*TorchOptimizer and init_args\.name to torch"
    with pytest.raises(ConfigError, match=told):
        compose(config, {"model.optimizer": {"class_path": "torch.optim.SGD"}})


CALLBACKS = {
    "EMAWeightAveraging": ({"decay": 0.9}, r"take roots\.callbacks\.WeightAverage"),
    "StochasticWeightAveraging": ({"swa_lrs": 0.1}, r"take roots\.callbacks\.WeightAverage"),
    "TQDMProgressBar": ({}, r"set trainer\.progress"),
    "ModelCheckpoint": ({"monitor": "val/loss"}, r"set trainer\.checkpoint_every_steps"),
    "OnExceptionCheckpoint": ({"dirpath": "x"}, r"set trainer\.checkpoint_every_steps"),
    "GradientAccumulationScheduler": (
        {"scheduling": {0: 2}},
        r"data\.first_sequences_per_step.*model\.micro_batch_size",
    ),
    "BatchSizeFinder": ({}, r"set model\.micro_batch_size to auto"),
    "LearningRateFinder": ({}, r"roots sweep"),
}


@pytest.mark.filterwarnings("ignore:.*Unable to serialize instance.*")
@pytest.mark.parametrize(("name", "case"), CALLBACKS.items())
def test_a_callback_that_would_do_something_else_here_is_refused_with_what_to_take(
    config: dict, name: str, case: tuple[dict, str]
) -> None:
    arguments, instead = case
    named = {"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": arguments}
    expected = rf"^trainer\.callbacks: {name} is not used: .*{instead}"
    with pytest.raises(ConfigError, match=expected):
        compose(config, {"trainer.callbacks": [named]})
    composed = compose(config)
    composed.trainer.callbacks.append(getattr(lightnings, name)(**arguments))
    with pytest.raises(ConfigError, match=expected):
        composed.fit()


def test_a_default_that_is_an_enum_is_written_by_its_value_and_read_again(config: dict) -> None:
    timer = {"class_path": "lightning.pytorch.callbacks.Timer"}
    timer["init_args"] = {"duration": "00:00:00:00"}
    config["trainer"]["callbacks"] = [timer]
    composed = compose(config)
    (written,) = composed.config["trainer"]["callbacks"]
    assert written["init_args"]["interval"] == "step"
    run = composed.fit()
    assert composed.trainer.global_step < 6  # its time was over
    assert compose(run.config_file).config == composed.config


def test_an_object_that_does_not_keep_its_arguments_is_refused_with_its_cure(config: dict) -> None:
    class Renames(L.Callback):
        def __init__(self, every: int = 5) -> None:
            self.n = every

    with pytest.raises(ConfigError, match=r"Renames does not keep its argument 'every'.*__init__"):
        compose(config, {"trainer.callbacks": [Renames()]})
    config["trainer"]["callbacks"] = [Renames()]
    with pytest.raises(ConfigError, match=r"'every'.*class_path"):
        compose(config)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_steps", 0, r"max_steps=0, max_epochs=0: set one of trainer\.max_steps and trainer"),
        ("log_every_steps", 0, r"log_every_steps=0 .*to 1 or more"),
        ("val_every_steps", -1, r"val_every_steps=-1 .*to 0 or more"),
        ("checkpoint_every_steps", -2, r"checkpoint_every_steps=-2 .*to 0 or more"),
        ("keep_best", -1, r"keep_best=-1 .*to 0 or more"),
        ("precision", "16-true", r"16-true would keep .*trainer\.precision to 16-mixed"),
        ("precision", "half", r"no precision 'half'\. Set trainer\.precision to auto, 32, bf16"),
        ("strategy", "fsdpp", r"no strategy 'fsdpp'\. Set trainer\.strategy to one of auto"),
        ("accelerator", "tpu", r"no accelerator 'tpu'\. Set trainer\.accelerator to auto, cpu"),
        ("devices", "none", r"devices='none' is no number of devices"),
        ("devices", [], r"devices=\[\] names no device\. Set trainer\.devices to auto"),
        ("num_nodes", 0, r"num_nodes=0 .*to 1 or more"),
        ("num_nodes", -1, r"num_nodes=-1 .*to 1 or more"),
        ("val_every_epochs", math.inf, r"val_every_epochs=inf: set one of .* to a number above 0"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_its_value_and_cure(
    config: dict, name: str, value: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        compose(config, {f"trainer.{name}": value})


@pytest.mark.parametrize(
    ("rows", "size", "epochs", "every", "steps"),
    [
        (3394, 32, 5, 1, [107, 214, 321, 428, 531]),  # 106.06 steps an epoch: not 530 and 531
        (60614, 32, 1, 0.25, [474, 948, 1422, 1895]),
        (10, 1, 0.7, 0.1, [1, 2, 3, 4, 5, 6, 7]),  # 0.7 * 10 is 7.000000000000001
    ],
)
def test_there_are_as_many_validations_as_they_fit_into_the_epochs(
    rows: int, size: int, epochs: float, every: float, steps: list[int]
) -> None:
    trainer = Trainer(max_epochs=epochs, val_every_epochs=every, accelerator="cpu", precision="32")
    data = SimpleNamespace(is_ready=True, n_train=rows, sequences_per_step=size)
    data.steps_for = lambda wanted: math.ceil(wanted / size)
    trainer.settle(data)
    end, interval = trainer.max_steps, trainer.val_every_steps
    assert [s for s in range(1, end + 1) if s % interval == 0 or s == end] == steps


@pytest.mark.parametrize("seed", [-1, 2**32, 2**70])
def test_a_seed_that_some_generator_does_not_take_is_refused(config: dict, seed: int) -> None:
    with pytest.raises(ConfigError, match=rf"seed={seed} is outside of 0 to 4,294,967,295"):
        compose(config, {"seed": seed})
    assert compose(config, {"seed": 2**32 - 1}).trainer.seed == 2**32 - 1


@pytest.mark.parametrize("epochs", [math.inf, math.nan, -1.0])
def test_a_run_of_no_number_of_epochs_is_refused(config: dict, epochs: float) -> None:
    with pytest.raises(ConfigError, match=rf"max_steps=0, max_epochs={epochs:g}: set one of"):
        compose(config, {"trainer.max_steps": 0, "trainer.max_epochs": epochs})


def test_a_part_whose_lines_are_all_comments_says_nothing(config: dict, tmp_path: Path) -> None:
    config["trainer"]["max_steps"] = 7
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(config))
    over = tmp_path / "over.yaml"
    over.write_text("extends: base.yaml\ntrainer:\n#  max_steps: 9\nmodel:\ndata:\n")
    assert compose(over).config == compose(tmp_path / "base.yaml").config
    with pytest.raises(ConfigError, match="max_steps=0, max_epochs=0: set one of"):
        compose({**config, "trainer": None})
    with pytest.raises(ConfigError, match=r"lacks data\. Give a run file"):
        compose({**config, "data": None})


@pytest.mark.parametrize("part", ["trainer", "model", "data"])
@pytest.mark.parametrize("value", [5, True, [1], 0.5])
def test_a_part_that_is_no_block_is_refused(
    config: dict, tmp_path: Path, part: str, value: Any
) -> None:
    words = rf"has {part}: .*, which is no block of .*settings below `{part}:`, or leave it out"
    with pytest.raises(ConfigError, match=words):
        compose({**config, part: value})
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump({part: value}))
    with pytest.raises(ConfigError, match=rf"odd\.yaml {words}"):
        compose([tmp_path / "odd.yaml"])


def test_a_strategy_of_lightning_is_refused_for_the_one_of_roots() -> None:
    from lightning.pytorch.strategies import DDPStrategy

    with pytest.raises(ConfigError, match=r"DDPStrategy is a strategy of Lightning.*roots\.strat"):
        Trainer(max_steps=1, strategy=DDPStrategy())


# -- the same run ---------------------------------------------------------------------------------


def test_python_and_the_command_line_give_bitwise_the_same_losses(
    config: dict, run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = ["--model.micro_batch_size", "2", "--trainer.max_steps=4"]
    assert roots(["fit", "--config", str(run_file), *flags]) == 0
    run = compose(config, {"model.micro_batch_size": 2, "trainer.max_steps": 4}).fit()
    by_flag, in_python = (numbers(Run(run.path.parent / name)) for name in ("0001", "0002"))
    assert run.path.name == "0002"
    assert len(by_flag) == 4
    assert by_flag == in_python


def numbers(run: Run) -> list[dict[str, str]]:
    """The metrics as they are written, without those that measure time."""
    with run.metrics_file.open() as file:
        rows = list(csv.DictReader(file))
    of_time = ("per_second", "fraction_of_matmul_peak")
    return [{k: v for k, v in row.items() if not any(t in k for t in of_time)} for row in rows]
