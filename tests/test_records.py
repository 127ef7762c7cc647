"""The plain form of configured objects, there and back."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from roots.callbacks import LossSpikes, Samples, WeightAverage
from roots.corpus import BytePairs, Corpus, Existing, TokenizerPlan
from roots.data import Mixture, TokenCorpus
from roots.errors import CheckpointError, ConfigError
from roots.modules import CausalLM
from roots.networks import NetworkBuilder, Pretrained, Scratch
from roots.optim import AdamW, Constant, OptimizerBuilder, Schedule, WarmupCosine, WarmupLinear
from roots.precision import BF16Mixed, BF16True, Float32, FP16Mixed
from roots.records import as_json, class_path, plain, rebuild
from roots.runs import CHECKPOINT_FILE, read_checkpoint
from roots.shards import ShardMaker, Streamed
from roots.sources import Folder, Jsonl, Source, StandardLibrary, Text
from roots.strategies import DDP, SingleDevice, StepStrategy

LLAMA = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "rope_theta": 5e5}


def a_corpus() -> Corpus:
    return Corpus(
        source=Text(paths=["a.txt", "b.txt"], document="line"),
        out="corpora/x",
        tokenizer=BytePairs(vocab_size=300, extra_tokens=("<mask>",)),
        val_fraction=0.25,
        seed=7,
    )


def a_module() -> CausalLM:
    return CausalLM(
        network=Scratch(config=LLAMA, attention="eager"),
        optimizer=AdamW(learning_rate=1e-3, beta2=0.99),
        schedule=WarmupLinear(warmup_steps=5, floor=0.25),
        micro_batch_size=3,
        clip_norm=math.inf,
        z_loss=1e-4,
    )


CONFIGURED: dict[str, tuple[Callable[[], Any], type]] = {
    "roots.optim.AdamW": (lambda: AdamW(weight_decay=0.25, eps=1e-5), OptimizerBuilder),
    "roots.optim.Constant": (lambda: Constant(warmup_steps=3), Schedule),
    "roots.optim.WarmupCosine": (lambda: WarmupCosine(floor=0.5, decay_steps=9), Schedule),
    "roots.optim.WarmupLinear": (lambda: WarmupLinear(warmup_steps=2), Schedule),
    "roots.networks.Scratch": (lambda: Scratch(config=LLAMA), NetworkBuilder),
    "roots.networks.Pretrained": (lambda: Pretrained(path="x/y", revision="1a"), NetworkBuilder),
    "roots.sources.Text": (lambda: Text(paths="a.txt", strict=True), Source),
    "roots.sources.Jsonl": (lambda: Jsonl(paths=["a.jsonl"], id_field="id"), Source),
    "roots.sources.Folder": (lambda: Folder(path="src", suffixes=(".py", ".md")), Source),
    "roots.sources.StandardLibrary": (StandardLibrary, Source),
    "roots.shards.Streamed": (lambda: Streamed(url="s3://a/b", cache_gib=2.5), Streamed),
    "roots.corpus.BytePairs": (lambda: BytePairs(extra_tokens=("<a>", "<b>")), TokenizerPlan),
    "roots.corpus.Existing": (lambda: Existing(path="tokenizer"), TokenizerPlan),
    "roots.corpus.Corpus": (a_corpus, ShardMaker),
    "roots.data.TokenCorpus": (lambda: TokenCorpus(shards=a_corpus(), seq_len=33), TokenCorpus),
    "roots.modules.CausalLM": (a_module, CausalLM),
    "roots.callbacks.Samples": (lambda: Samples(prompts=["a", "b"], top_p=0.5), Samples),
    "roots.callbacks.LossSpikes": (lambda: LossSpikes(window=9, action="count"), LossSpikes),
    "roots.callbacks.WeightAverage": (lambda: WeightAverage(decay=0.9, use=False), WeightAverage),
    "roots.strategies.DDP": (
        lambda: DDP(timeout_minutes=2.5, find_unused_parameters=True),
        StepStrategy,
    ),
    "roots.strategies.SingleDevice": (lambda: SingleDevice(device="cpu"), StepStrategy),
    "roots.precision.Float32": (Float32, Float32),
    "roots.precision.BF16Mixed": (BF16Mixed, BF16Mixed),
    "roots.precision.FP16Mixed": (lambda: FP16Mixed(growth_interval=50), FP16Mixed),
    "roots.precision.BF16True": (BF16True, BF16True),
}


def without_private(value: Any) -> Any:
    """The settings of an object, to the bottom, types included."""
    if isinstance(value, (list, tuple)):
        return type(value), [without_private(v) for v in value]
    if isinstance(value, dict):
        return {k: without_private(v) for k, v in value.items()}
    if type(value).__module__.startswith("roots.") and not hasattr(value, "spec"):
        public = {k: v for k, v in vars(value).items() if not k.startswith("_")}
        return type(value), {k: without_private(v) for k, v in public.items()}
    return value


@pytest.mark.parametrize("path", CONFIGURED)
def test_what_is_rebuilt_from_the_plain_form_has_the_same_plain_form(path: str) -> None:
    make, base = CONFIGURED[path]
    spec = plain(make())
    assert spec["class_path"] == path
    again = rebuild(spec, base)
    assert type(again) is type(make())
    assert plain(again) == spec


@pytest.mark.parametrize(
    "path", [p for p in CONFIGURED if p.split(".")[1] in ("optim", "networks", "sources", "corpus")]
)
def test_what_is_rebuilt_has_the_same_settings(path: str) -> None:
    make, base = CONFIGURED[path]
    assert without_private(rebuild(plain(make()), base)) == without_private(make())


@pytest.mark.parametrize("path", CONFIGURED)
def test_the_plain_form_survives_json_and_yaml(path: str) -> None:
    spec = plain(CONFIGURED[path][0]())
    assert json.loads(json.dumps(spec)) == spec
    assert yaml.safe_load(yaml.safe_dump(spec)) == spec


def test_what_is_nested_is_rebuilt_too() -> None:
    corpus = rebuild(plain(a_corpus()), ShardMaker)  # type: ignore[type-abstract]
    assert isinstance(corpus.source, Text)  # type: ignore[attr-defined]
    assert isinstance(corpus.tokenizer, BytePairs)  # type: ignore[attr-defined]
    assert corpus.tokenizer.extra_tokens == ("<mask>",)  # type: ignore[attr-defined]
    data = rebuild(plain(TokenCorpus(shards=a_corpus())), TokenCorpus)
    assert isinstance(data.shards, Corpus)
    assert isinstance(data.shards.source, Text)
    module = rebuild(plain(a_module()), CausalLM)
    assert isinstance(module.builder, Scratch)
    assert module.builder.config == LLAMA
    assert (module.clip_norm, module.schedule.floor) == (math.inf, 0.25)  # type: ignore[attr-defined]


STREAMED = Streamed(url="s3://a/b", cache_gib=2.5)


@pytest.mark.parametrize("shards", [STREAMED, Mixture(corpora={"a": STREAMED, "b": "corpora/b"})])
def test_of_a_union_the_class_that_the_record_names_is_made(shards: Any) -> None:
    again = rebuild(plain(TokenCorpus(shards=shards)), TokenCorpus).shards
    assert without_private(again) == without_private(shards)


class Holds:
    """Every way in which an argument may hold objects beside other values."""

    def __init__(
        self,
        *,
        many: str | list[AdamW | Constant] = "",
        named: dict[str, Constant] | None = None,
        pair: int | tuple[AdamW, ...] | None = None,
    ) -> None:
        self.many = many
        self.named = named
        self.pair = pair


def test_within_a_union_containers_hold_objects() -> None:
    held = Holds(many=[AdamW(), Constant()], named={"x": Constant()}, pair=(AdamW(), AdamW()))
    again = rebuild(plain(held), Holds)
    assert plain(again) == plain(held)
    kinds = [*map(type, again.many), type(again.named["x"]), type(again.pair), type(again.pair[1])]
    assert kinds == [AdamW, Constant, Constant, tuple, AdamW]
    none = rebuild(plain(Holds(many="x", pair=3)), Holds)
    assert (none.many, none.named, none.pair) == ("x", None, 3)


def test_an_object_is_given_back_as_it_is() -> None:
    optimizer = AdamW()
    assert rebuild(optimizer, OptimizerBuilder) is optimizer  # type: ignore[type-abstract]


def test_plain_values_stay_and_containers_become_lists_and_dictionaries() -> None:
    value = {"a": (1, 2.5, None), 3: [True, "x"], "p": Path("a/b"), "o": {"s": Constant()}}
    assert plain(value) == {
        "a": [1, 2.5, None],
        "3": [True, "x"],
        "p": "a/b",
        "o": {
            "s": {
                "class_path": "roots.optim.Constant",
                "init_args": {"warmup_steps": 0, "warmup_fraction": 0.0},
            }
        },
    }


@pytest.mark.parametrize("path", CONFIGURED)
def test_a_class_is_named_by_the_package_that_exports_it(path: str) -> None:
    kind = type(CONFIGURED[path][0]())
    assert class_path(kind) == path
    assert kind.__module__ != path.rpartition(".")[0]


def test_a_class_that_no_package_exports_is_named_by_its_file() -> None:
    assert class_path(subprocess.Popen) == "subprocess.Popen"


class _Forgetful:
    def __init__(self, *, size: int) -> None:
        self.width = size


class _Mindful(_Forgetful):
    def __init__(self, *, size: int) -> None:
        super().__init__(size=size)
        self.size = size


def test_an_argument_that_is_not_kept_is_told() -> None:
    with pytest.raises(
        ConfigError, match=r"_Forgetful does not keep its argument 'size'.* same name"
    ):
        plain(_Forgetful(size=3))
    assert plain(_Mindful(size=3))["init_args"] == {"size": 3}


# -- what is refused --------------------------------------------------------------------------


@pytest.fixture
def _popen_is_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: Any, **__: Any) -> None:
        raise AssertionError("a foreign class was called")

    monkeypatch.setattr(subprocess.Popen, "__init__", explode)


POPEN = {"class_path": "subprocess.Popen", "init_args": {"args": ["true"]}}


@pytest.mark.usefixtures("_popen_is_a_bomb")
def test_a_foreign_class_is_refused_before_it_is_called() -> None:
    with pytest.raises(CheckpointError, match=r"subprocess\.Popen is no OptimizerBuilder"):
        rebuild(POPEN, OptimizerBuilder)  # type: ignore[type-abstract]
    rebuild(plain(AdamW()), OptimizerBuilder)  # type: ignore[type-abstract]


@pytest.mark.usefixtures("_popen_is_a_bomb")
@pytest.mark.parametrize("name", ["network", "optimizer", "schedule"])
def test_a_foreign_class_inside_is_refused_too(name: str) -> None:
    spec = plain(a_module())
    spec["init_args"][name] = POPEN
    with pytest.raises(CheckpointError, match=r"subprocess\.Popen is no "):
        rebuild(spec, CausalLM)
    corpus = plain(a_corpus())
    corpus["init_args"]["source"] = POPEN
    with pytest.raises(CheckpointError, match=r"subprocess\.Popen is no Source"):
        rebuild(corpus, ShardMaker)  # type: ignore[type-abstract]


@pytest.mark.usefixtures("_popen_is_a_bomb")
def test_a_foreign_class_is_refused_where_a_union_allows_several() -> None:
    spec = plain(TokenCorpus(shards=STREAMED))
    spec["init_args"]["shards"] = POPEN
    with pytest.raises(CheckpointError, match="Popen is no ShardMaker or Streamed or Mixture, so"):
        rebuild(spec, TokenCorpus)


def test_a_foreign_function_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"os\.system is no Schedule, .* Name a class"):
        rebuild({"class_path": "os.system", "init_args": {"command": "false"}}, Schedule)  # type: ignore[type-abstract]


@pytest.mark.parametrize(
    "path", ["roots.optim.AdamWWW", "roots.optimum.AdamW", "AdamW", "", ".AdamW", "roots."]
)
def test_a_class_that_does_not_exist_is_refused(path: str) -> None:
    with pytest.raises(CheckpointError, match=rf"no class {path}: .* or correct the name"):
        rebuild({"class_path": path, "init_args": {}}, OptimizerBuilder)  # type: ignore[type-abstract]


def test_a_configuration_that_names_no_class_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"There is no class None: "):
        rebuild({"init_args": {}}, OptimizerBuilder)  # type: ignore[type-abstract]


# -- JSON ----------------------------------------------------------------------------------------


def test_json_has_null_for_numbers_that_are_not_finite_and_every_reader_takes_it() -> None:
    value = {"a": math.nan, "b": [1.5, -math.inf, {"c": (math.inf, True)}], "d": "NaN", "é": 3}
    text = as_json(value, sort_keys=True)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    expected = {"a": None, "b": [1.5, None, {"c": [None, True]}], "d": "NaN", "é": 3}
    assert json.loads(text, parse_constant=refuse) == expected
    assert text == json.dumps(expected, sort_keys=True, ensure_ascii=False)


def test_a_checkpoints_null_is_read_as_not_a_number(tmp_path: Path) -> None:
    told = {"step": 3, "metrics": {"val/loss": math.inf, "val/f1": 0.5}, "tokens": 96}
    (tmp_path / CHECKPOINT_FILE).write_text(as_json(told))
    found = read_checkpoint(tmp_path)
    assert math.isnan(found.metrics["val/loss"])
    assert (found.step, found.metrics["val/f1"], found.tokens) == (3, 0.5, 96)
    (tmp_path / CHECKPOINT_FILE).write_text('{"step": 3, "metrics": [1]}')
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(tmp_path)
