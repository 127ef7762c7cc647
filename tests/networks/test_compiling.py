"""Compilation in place: the same numbers and names; what goes wrong is said."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from lightning import Callback
from pairs import NETWORKS
from ranks import run_ranks
from test_tiled import network
from tiny import LLAMA

from roots.batch import PairBatch, TokenBatch
from roots.errors import ConfigError
from roots.fit import compose
from roots.networks import (
    CAUSAL_LM,
    SEQ2SEQ,
    Scratch,
    Seq2SeqTrainable,
    Trainable,
    compile_network,
    compiled_so_far,
    is_compiled,
    uncompiled,
)
from roots.networks.blocks import blocks_of
from roots.networks.compiling import cache_folder, check_compile, check_compiler
from roots.networks.freezing import freeze
from roots.objectives import NextToken
from roots.records import Vocabulary

CPU = torch.device("cpu")
pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")]


@pytest.fixture
def quick():
    """Graphs and gradients are made by torch's compiler, and run without generated code."""
    torch.compiler.reset()
    with torch.compiler.set_stance("default", force_backend="aot_eager"):
        yield
    torch.compiler.reset()


def losses_of(config: dict, **overrides) -> list[float]:
    composed = compose(config, {k.replace("__", "."): v for k, v in overrides.items()})
    run = composed.fit()
    with run.metrics_file.open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("family", "mode"),
    [
        ("llama", "blocks"),
        ("gpt2", "network"),
        *(
            pytest.param(family, mode, marks=pytest.mark.slow)
            for family, mode in (
                ("llama", "network"),
                ("gpt2", "blocks"),
                ("qwen3", "blocks"),
                ("qwen3", "network"),
            )
        ),
    ],
)
def test_names_and_values_stay(quick: None, mode: str, family: str) -> None:
    tokens = torch.randint(0, 96, (2, 24), generator=torch.Generator().manual_seed(1))
    plain, compiled = network(family, "tiled"), network(family, "tiled")
    compile_network(compiled, mode, CPU)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert is_compiled(compiled)
    logits = [n(input_ids=tokens, use_cache=False).logits for n in (plain, compiled)]
    torch.testing.assert_close(logits[0], logits[1])


@pytest.mark.parametrize(
    ("attention", "mode"),
    [
        ("tiled", "blocks"),
        pytest.param("tiled", "network", marks=pytest.mark.slow),
        pytest.param("sdpa", "blocks", marks=pytest.mark.slow),
        ("sdpa", "network"),
    ],
)
def test_a_compiled_run_learns_as_a_plain_one(
    quick: None, config: dict, mode: str, attention: str
) -> None:
    named = {"model__network__init_args__attention": attention}
    plain = losses_of(config, **named)
    compiled = losses_of(config, model__compile=mode, **named)
    assert compiled == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(("n_shapes", "compiled"), [(1, 8), (10, 10)])
def test_each_of_many_lengths_is_compiled_where_they_are_announced(
    quick: None, n_shapes: int, compiled: int
) -> None:
    from torch._dynamo import config as limits

    made = network("llama", "sdpa")
    with limits.patch(recompile_limit=8), torch.no_grad():
        compile_network(made, "blocks", CPU, n_shapes=n_shapes)
        before = compiled_so_far().graphs
        for length in range(2, 12):
            made(torch.zeros(1, length, dtype=torch.long), use_cache=False)
        assert compiled_so_far().graphs - before == compiled


def test_steps_that_grow_and_rows_that_lengthen_are_announced_to_the_compiler(
    quick: None, config: dict
) -> None:
    """Behind its limit the last of them, whole micro-batches of whole rows, run as plain code."""
    from torch._dynamo import config as limits

    grows = {"data.first_sequences_per_step": 2, "data.growing_steps": 3}  # 2, 4, 6, 8
    lengthens = {"data.first_seq_len": 8, "data.lengthening_steps": 3}  # 8, 16
    brief = {"model.compile": "blocks", "trainer.max_steps": 3, "trainer.val_every_steps": 0}
    with limits.patch(recompile_limit=8):
        compose(config, {**brief, **grows, **lengthens}).fit()
        assert limits.recompile_limit == 8 * 4 * 2


def test_blocks_that_are_kept_as_they_are_leave_room_for_the_others_graphs(quick: None) -> None:
    """Three kinds of blocks, each of two sizes of micro-batches, and two kinds in a validation."""
    from torch._dynamo import config as limits

    config = {**LLAMA, "num_hidden_layers": 3, "tie_word_embeddings": False}
    made = Scratch(config=config).build(PADDED, seed=1, device=CPU, head=CAUSAL_LM)
    freeze(made, 1)
    with limits.patch(recompile_limit=8):
        compile_network(made, "blocks", CPU)
        before = compiled_so_far().graphs
        for learns in (True, False):
            for n_rows in (3, 2):
                with torch.set_grad_enabled(learns):
                    made(torch.zeros(n_rows, 8, dtype=torch.long), use_cache=False)
        assert compiled_so_far().graphs - before == 3 * 2 + 2 * 2


OPT = {
    "model_type": "opt",
    "hidden_size": 32,
    "ffn_dim": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "word_embed_proj_dim": 32,
}
BART = {"decoder_layers": 1, "decoder_ffn_dim": 48, "decoder_attention_heads": 2}
PADDED = Vocabulary(size=64, eos_id=3, bos_id=2, pad_id=1)


@pytest.mark.parametrize(
    ("config", "n_bodies"),
    [
        (OPT, 1),
        ({"model_type": "bart", "d_model": 32, **BART}, 1),
        (NETWORKS["bart"], 2),
        (NETWORKS["t5"], 2),
    ],
    ids=["opt", "bart, as a decoder", "bart", "t5"],
)
def test_of_a_network_what_is_called_is_compiled(quick: None, config: dict, n_bodies: int) -> None:
    pair = "encoder_layers" in config or config["model_type"] == "t5"
    head = SEQ2SEQ if pair else CAUSAL_LM
    made = Scratch(config=config).build(PADDED, seed=1, device=CPU, head=head).eval()
    trainable = (Seq2SeqTrainable if pair else Trainable)(made, NextToken())
    trainable.check()
    compile_network(made, "network", CPU)
    ids = torch.arange(16).view(2, 8) + 5
    lengths = torch.tensor([8, 8])
    rows = {"labels": ids, "samples": torch.arange(2), "step": 0}
    if pair:
        sizes = {"lengths": lengths, "target_lengths": lengths}
        batch = PairBatch(inputs={"input_ids": ids}, **sizes, **rows)
    else:
        batch = TokenBatch(input_ids=ids, n_bytes=lengths, **rows)
    before = compiled_so_far().graphs
    with torch.no_grad():
        compiled = trainable(batch).loss
        assert compiled_so_far().graphs - before == n_bodies
        with uncompiled(made):
            torch.testing.assert_close(compiled, trainable(batch).loss)


@pytest.mark.slow  # the C++ compiler takes a minute
@pytest.mark.parametrize("mode", ["blocks", "network"])
def test_generated_code_learns_as_plain_code(config: dict, mode: str) -> None:
    torch.compiler.reset()
    plain = losses_of(config)
    compiled = losses_of(config, model__compile=mode, model__network__init_args__attention="tiled")
    assert compiled == pytest.approx(plain, rel=1e-5)
    assert any((cache_folder() / "compiled").iterdir())


def losses_of_a_rank(config: dict) -> list[float]:
    with torch.compiler.set_stance("default", force_backend="aot_eager"):
        overrides = {"model.compile": "blocks", "trainer.strategy": "ddp"}
        overrides["model.network.init_args.attention"] = "tiled"
        composed = compose(config, overrides)
        run = composed.fit()
    with run.metrics_file.open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file)]


def test_two_ranks_learn_as_one(quick: None, config: dict, tmp_path: Path) -> None:
    alone = losses_of(config, model__compile="blocks", model__network__init_args__attention="tiled")

    for losses in run_ranks(losses_of_a_rank, config):
        assert losses == pytest.approx(alone, rel=1e-5)


def test_a_checkpoint_of_a_compiled_run_goes_on_plain(quick: None, config: dict) -> None:
    from roots.fit.compose import resumed

    named = {"model.network.init_args.attention": "sdpa"}
    whole = losses_of(config, **{k.replace(".", "__"): v for k, v in named.items()})
    run = compose(config, {**named, "model.compile": "blocks", "trainer.max_steps": 3}).fit()
    flags = ["--model.compile=none", "--trainer.max_steps=6"]
    composed, changes = resumed(str(run.path), {}, flags)
    assert any("compile" in change for change in changes)
    composed.fit()
    with run.metrics_file.open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file)]
    schedule_is_of_six = losses[3:]
    assert len(schedule_is_of_six) == 3
    assert losses[0] == pytest.approx(whole[0], rel=1e-5)


# -- what is said -------------------------------------------------------------------------------


class Ragged(Callback):
    """Asks the compiled blocks for another number of rows in the fifth step."""

    def on_train_batch_end(self, trainer, module, *_) -> None:
        if trainer.global_step == 4:
            with torch.no_grad():
                module.trainable.network(torch.zeros(3, 5, dtype=torch.long), use_cache=False)


def test_what_is_compiled_after_warm_up_is_counted_and_told(
    quick: None, config: dict, capsys: pytest.CaptureFixture
) -> None:
    composed = compose(config, {"model.compile": "blocks", "trainer.progress": True})
    composed.trainer.callbacks.insert(0, Ragged())
    run = composed.fit()
    told = [line for line in capsys.readouterr().err.splitlines() if "compiled again" in line]
    assert len(told) == 1
    assert "at step 4" in told[0]
    with run.metrics_file.open() as file:
        counts = [row["compile/recompilations"] for row in csv.DictReader(file)]
    assert [float(count) for count in counts if count] == [0.0, 0.0, 1.0]


def test_a_steady_run_compiles_nothing_after_warm_up(
    quick: None, config: dict, capsys: pytest.CaptureFixture
) -> None:
    run = compose(config, {"model.compile": "network", "trainer.progress": True}).fit()
    assert "compiled again" not in capsys.readouterr().err
    with run.metrics_file.open() as file:
        counts = [row["compile/recompilations"] for row in csv.DictReader(file)]
    assert {float(count) for count in counts if count} == {0.0}


def test_a_graph_break_is_named(
    quick: None, config: dict, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaMLP

    forward = LlamaMLP.forward

    def breaking(self, x):
        torch._dynamo.graph_break(msg="planted")
        return forward(self, x)

    monkeypatch.setattr(LlamaMLP, "forward", breaking)
    compose(config, {"model.compile": "network", "trainer.progress": True}).fit()
    told = [line for line in capsys.readouterr().err.splitlines() if "breaks its graph" in line]
    assert any("planted" in line for line in told)


def test_samples_are_written_without_compiling_for_their_lengths(
    quick: None, config: dict, capsys: pytest.CaptureFixture
) -> None:
    samples = {"class_path": "roots.callbacks.Samples"}
    samples["init_args"] = {"prompts": ["the cat"], "every_steps": 2, "max_tokens": 8}
    config["trainer"]["callbacks"] = [samples]
    compose(config, {"model.compile": "network", "trainer.progress": True}).fit()
    assert "compiled again" not in capsys.readouterr().err


def test_uncompiled_leaves_plain_networks_alone() -> None:
    with uncompiled(network("llama", "sdpa")):
        assert not is_compiled(network("llama", "sdpa"))


# -- what is refused ------------------------------------------------------------------------------


def test_an_unknown_mode_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"compile: block\b.*blocks.*none, blocks, network"):
        check_compile("block")
    check_compile("blocks")


def test_the_blocks_are_the_layers() -> None:
    assert len(blocks_of(network("llama", "sdpa"))) == 2
    assert len(blocks_of(network("gpt2", "sdpa"))) == 2


def test_where_no_blocks_are_named_they_are_the_largest_list() -> None:
    net = network("llama", "sdpa")
    net._no_split_modules = None
    assert blocks_of(net) == list(net.model.layers)


def test_a_network_without_blocks_is_told_what_to_set() -> None:
    net = network("llama", "sdpa")
    net.model.layers = torch.nn.Sequential(*net.model.layers)
    with pytest.raises(ConfigError, match=r"LlamaForCausalLM.*compile to network"):
        compile_network(net, "blocks", CPU)
    compile_network(net, "network", CPU)


def test_a_machine_without_a_compiler_is_told_which_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._inductor import cpp_builder, exc

    def none() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    with pytest.raises(ConfigError, match=r"C\+\+ compiler.*g\+\+.*compile to none"):
        check_compiler(CPU)


def test_a_python_without_headers_is_told_which_package_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"Python\.h does not exist.*python3-dev"):
        check_compiler(CPU)


@pytest.mark.parametrize("named", ["", "torch's own", "the user's"])
def test_compiled_code_outlives_the_temporary_folder_unless_the_user_names_one(
    named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    theirs = {"torch's own": default_cache_dir(), "the user's": str(tmp_path / "theirs")}
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", theirs.get(named, ""))
    if not named:
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    compile_network(network("llama", "sdpa"), "blocks", CPU)
    ours = tmp_path / "roots" / "compiled"
    assert cache_dir() == (theirs[named] if named == "the user's" else str(ours))


def test_compiled_code_is_kept_where_the_user_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "roots"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "roots"
