"""Weights of few bits under adapters: what they compute, what they take, and that they learn."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_chat import chat_config, conversations, write_chat_network
from tiny_tasks import classes, task_config, write_jsonl
from transformers import AutoConfig, AutoModelForSeq2SeqLM

import roots
from roots.errors import ConfigError, MissingExtra
from roots.fit import compose
from roots.fit.compose import resumed
from roots.inference import load
from roots.networks import CAUSAL_LM, NF4, SEQ2SEQ, Int8, LoRA, Pretrained, Quantisation
from roots.networks.quantising import weight_bytes
from roots.runs import Run
from roots.strategies import SingleDevice

pytestmark = pytest.mark.filterwarnings(  # peft 0.21's PeftModel with transformers 5.23
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)
NAMES = ("step", "train/loss", "optim/grad_norm", "val/loss")
IDS = torch.arange(3, 15)[None]


def build(path: Path, quantise: Quantisation | None) -> Any:
    builder = Pretrained(path=str(path), quantise=quantise, adapter=LoRA(rank=4))
    return builder.build(None, seed=0, device=torch.device("cpu"), head=CAUSAL_LM)


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks") / "tiny-chat"
    return write_chat_network(folder, hidden_size=64, intermediate_size=128)


def spec(kind: str, **settings: Any) -> dict[str, Any]:
    return {"class_path": f"roots.networks.{kind}", "init_args": settings}


@pytest.fixture(params=["NF4", "Int8"])
def config(network: Path, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    config = chat_config(network, tmp_path, conversations(49, 0))
    arguments = config["model"]["init_args"]["network"]["init_args"]
    arguments["adapter"] = spec("LoRA", rank=4)
    exact = {"compute_dtype": "float32"} if request.param == "NF4" else {"outliers": 0.0}
    arguments["quantise"] = spec(request.param, **exact)
    return config


@pytest.mark.parametrize("double", [False, True])
def test_four_bits_compute_what_their_values_compute(network: Path, double: bool) -> None:
    from bitsandbytes.functional import dequantize_4bit

    found = build(network, NF4(compute_dtype="float32", double=double))
    plain = Pretrained(path=str(network)).build(
        None, seed=0, device=torch.device("cpu"), head=CAUSAL_LM
    )
    whole, n_layers = plain(IDS).logits.detach(), 0
    with torch.no_grad():
        found.eval()(IDS)
    for name, module in found.named_modules():
        if type(module).__name__ == "Linear4bit" and name.endswith("base_layer"):
            weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
            plain.get_submodule(name.removesuffix(".base_layer")).weight.data = weight
            n_layers += 1
    assert n_layers == 14
    for mode in (True, False):  # an evaluation must not repack the weights
        ours = found.train(mode)(IDS).logits.detach()
        torch.testing.assert_close(ours, plain(IDS).logits.detach(), rtol=1e-4, atol=1e-5)
    found.train()(IDS).logits.sum().backward()
    apart = float((ours - whole).abs().max() / whole.abs().max())
    assert 1e-3 < apart < 0.5  # rounded, and still near the same network


def test_eight_bits_are_near_the_whole_weights(network: Path) -> None:
    plain = Pretrained(path=str(network)).build(
        None, seed=0, device=torch.device("cpu"), head=CAUSAL_LM
    )
    whole = plain(IDS).logits
    for outliers in (0.0, 6.0):
        apart = (build(network, Int8(outliers=outliers))(IDS).logits - whole).abs().max()
        assert 0 < apart < 0.05 * whole.abs().max()


@pytest.mark.parametrize(
    ("quantise", "bits"),
    [
        (NF4(double=False), 4 + 32 / 64),
        (NF4(double=True), 4 + 8 / 64 + 32 / (64 * 256)),
        (Int8(), 8),
    ],
    ids=["nf4", "nf4 double", "int8"],
)
def test_the_weights_take_what_arithmetic_says(
    network: Path, quantise: Quantisation, bits: float
) -> None:
    found = build(network, quantise)
    layers = [m for n, m in found.named_modules() if n.endswith("base_layer")]
    n_quantised = sum(m.in_features * m.out_features for m in layers)
    rows = sum(m.out_features for m in layers) * 4 if bits == 8 else 0
    others = sum(p.nbytes for p in found.parameters() if p.is_floating_point())
    buffers = sum(b.nbytes for b in found.buffers())
    expected = n_quantised * bits / 8 + rows + others + buffers
    assert weight_bytes(found) == pytest.approx(expected, rel=2e-3)
    assert n_quantised == 2 * (4 * 64 * 64 + 3 * 64 * 128)


def test_it_learns_resumes_bitwise_and_saves_the_adapters_alone(
    config: dict[str, Any], network: Path
) -> None:
    settings = {"trainer.checkpoint_every_steps": 3, "model.optimizer.learning_rate": 0.03}
    config["data"]["init_args"] |= {"val_fraction": 0.0, "sequences_per_step": 40, "val": ""}
    composed = compose(config, settings)
    run = composed.fit()
    whole = rows_of(run)
    losses = [float(row["train/loss"]) for row in whole]
    assert losses[-1] < 0.9 * losses[0]  # nearly the same forty rows in each step
    saved = torch.load(run.last().trainer_file, weights_only=True)["state_dict"]
    assert saved
    assert all(".lora_" in name for name in saved)
    assert any("14 linear layers in" in remark for remark in composed.model.remarks)
    half = compose(config, settings)

    class Killed(Exception):
        pass

    def stop(*_: Any) -> None:
        if half.trainer.global_step == 4:
            raise Killed

    half.model.on_train_batch_start = stop
    with pytest.raises(Killed):
        half.fit()
    rows = rows_of(resumed(str(half.trainer.run.path), {}, [])[0].fit())
    names = NAMES[:3]
    assert [[row[n] for n in names] for row in rows] == [[row[n] for n in names] for row in whole]
    loaded = load(run.path, checkpoint="last", device="cpu")  # merged into the whole weights
    before = Pretrained(path=str(network)).build(
        None, seed=0, device=torch.device("cpu"), head=CAUSAL_LM
    )
    assert (loaded.network(IDS).logits - before(IDS).logits).abs().max() > 0.01
    assert not hasattr(loaded.network.config, "quantization_config")


def test_bfloat16_rounds_the_other_weights_alone(network: Path, tmp_path: Path) -> None:
    config = chat_config(network, tmp_path, conversations(49, 0))
    arguments = config["model"]["init_args"]["network"]["init_args"]
    arguments |= {"adapter": spec("LoRA", rank=4), "quantise": spec("NF4")}
    composed = compose(config, {"trainer.precision": "bf16-true"})
    run = composed.fit()
    kinds = {p.dtype for p in composed.model.trainable.network.parameters()}
    assert kinds == {torch.uint8, torch.bfloat16}
    assert float(rows_of(run)[-1]["train/loss"]) > 0


def test_a_new_head_stays_whole_and_is_trained(encoder: Path, tmp_path: Path) -> None:
    rows = classes(72, 0)
    files = {"train": rows[:-12], "val": rows[-12:]}
    data = {name: str(write_jsonl(tmp_path / f"{name}.jsonl", r)) for name, r in files.items()}
    arguments = {**data, "sequences_per_step": 8, "seq_len": 48}
    rows_spec = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    config = task_config("SequenceClassifier", rows_spec, encoder, tmp_path / "runs")
    arguments = config["model"]["init_args"]["network"]["init_args"]
    arguments |= {"adapter": spec("LoRA"), "quantise": spec("NF4", compute_dtype="float32")}
    composed = compose(config)
    run = composed.fit()
    trained = {n for n, p in composed.model.named_parameters() if p.requires_grad}
    assert any("classifier" in name for name in trained)
    assert roots.load(run.path, "last").predict(["the cat"])


@pytest.mark.parametrize("quantise", [NF4(compute_dtype="float32"), Int8()], ids=["nf4", "int8"])
@pytest.mark.parametrize("kind", ["t5", "longt5"])
def test_a_t5_whose_body_is_itself_keeps_its_projection_whole(
    tmp_path: Path, kind: str, quantise: Quantisation
) -> None:
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
    config = AutoConfig.for_model(kind, **sizes, vocab_size=64, pad_token_id=0)
    torch.manual_seed(0)
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(tmp_path)
    builder = Pretrained(path=str(tmp_path), quantise=quantise, adapter=LoRA(rank=4))
    found = builder.build(None, seed=0, device=torch.device("cpu"), head=SEQ2SEQ)
    assert "28 linear layers in" in builder.remarks[0]
    assert type(found.get_output_embeddings()) is torch.nn.Linear
    found.train()(input_ids=IDS, decoder_input_ids=IDS).logits.sum().backward()
    trained = [p for p in found.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)


# -- mistakes ------------------------------------------------------------------------------------


def test_a_network_in_which_nothing_is_held_in_few_bits_is_refused() -> None:
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"NF4 found no linear layer .*Sequential.*Leave out"):
        NF4().remark(plain)


def test_few_bits_without_an_adapter_are_refused(network: Path) -> None:
    with pytest.raises(ConfigError, match=r"quantise: NF4 without an adapter.*network\.adapter"):
        Pretrained(path=str(network), quantise=NF4())
    Pretrained(path=str(network), quantise=NF4(), adapter=LoRA())


def test_a_device_without_bitsandbytes_is_refused(network: Path) -> None:
    builder = Pretrained(path=str(network), quantise=NF4(), adapter=LoRA())
    with pytest.raises(ConfigError, match=r"cpu, cuda, xpu, and this run on mps.*accelerator"):
        builder.build(None, seed=0, device=torch.device("mps"), head=CAUSAL_LM)


def test_a_strategy_that_cuts_the_weights_is_refused(network: Path, tmp_path: Path) -> None:
    class Cuts(SingleDevice):
        builds_whole = False

        def shard(self, network: torch.nn.Module) -> torch.nn.Module:
            return network

    config = chat_config(network, tmp_path, conversations(49, 0))
    arguments = config["model"]["init_args"]["network"]["init_args"]
    arguments |= {"adapter": spec("LoRA", rank=4), "quantise": spec("NF4")}
    composed = compose(config)
    composed.trainer.strategy.__class__ = Cuts
    with pytest.raises(ConfigError, match=r"Cuts cuts the weights.*quantise: NF4.*strategy to ddp"):
        composed.fit()


def test_an_adapter_alone_is_refused_there_too(network: Path, tmp_path: Path) -> None:
    class Cuts(SingleDevice):
        builds_whole = False

    config = chat_config(network, tmp_path, conversations(49, 0))
    config["model"]["init_args"]["network"]["init_args"]["adapter"] = spec("LoRA", rank=4)
    composed = compose(config)
    composed.trainer.strategy.__class__ = Cuts
    with pytest.raises(ConfigError, match=r"Cuts cuts the weights.*adapter: LoRA.*strategy to ddp"):
        composed.fit()


def test_compiling_is_refused_and_from_scratch_there_is_nothing_to_hold(
    network: Path, tmp_path: Path, shards: Path
) -> None:
    from tiny import tiny_config

    config = chat_config(network, tmp_path, conversations(49, 0))
    arguments = config["model"]["init_args"]["network"]["init_args"]
    arguments |= {"adapter": spec("LoRA", rank=4), "quantise": spec("NF4")}
    config["data"] = tiny_config(shards, tmp_path)["data"]
    with pytest.raises(ConfigError, match=r"compile: blocks does not see into bitsandbytes"):
        compose(config, {"model.compile": "blocks"}).fit()
    scratch = tiny_config(shards, tmp_path)
    scratch["model"]["init_args"]["network"]["init_args"]["quantise"] = spec("NF4")
    with pytest.raises(ConfigError, match="quantise"):
        compose(scratch)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NF4(compute_dtype="int4"), r"no compute_dtype 'int4'.*float32, bfloat16"),
        (lambda: Int8(outliers=-1.0), r"outliers=-1 is negative.*or 0 for none"),
    ],
)
def test_settings_that_cannot_work_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def test_without_bitsandbytes_the_install_line_is_told(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roots.networks import quantising

    monkeypatch.setattr(quantising, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'roots-lm\[bitsandbytes,peft\]'"):
        build(network, NF4())
