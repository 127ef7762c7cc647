"""Adapters: only they change, only they are saved; merged they are the same network."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_config
from tiny_chat import chat_config, conversations, turns, write_chat_network
from tiny_tasks import classes, task_config, write_jsonl

import roots
from roots.cli import run as command
from roots.errors import CheckpointError, ConfigError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.inference import chat, load
from roots.networks import CAUSAL_LM, LoRA, NetworkBuilder, Pretrained, count_flops
from roots.plan import plan_run
from roots.runs import Run

pytestmark = pytest.mark.filterwarnings(  # peft 0.21's PeftModel with transformers 5.23
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)
NAMES = ("step", "train/loss", "optim/grad_norm", "val/loss")
IDS = torch.arange(3, 15)[None]


def adapter(**settings: Any) -> dict[str, Any]:
    return {"class_path": "roots.networks.LoRA", "init_args": {"rank": 4, **settings}}


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def build(builder: NetworkBuilder) -> Any:
    return builder.build(None, seed=0, device=torch.device("cpu"), head=CAUSAL_LM)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chat_network(tmp_path_factory.mktemp("networks") / "tiny-chat")


@pytest.fixture
def config(network: Path, tmp_path: Path) -> dict[str, Any]:
    config = chat_config(network, tmp_path, conversations(49, 0))
    config["model"]["init_args"]["network"]["init_args"]["adapter"] = adapter(dropout=0.1)
    return config


def test_only_the_adapters_change_and_only_they_are_saved(
    config: dict[str, Any], network: Path
) -> None:
    composed = compose(config)
    run = composed.fit()
    found = composed.model.trainable.network.state_dict()
    before = load_file(network / "model.safetensors")
    for name, tensor in before.items():
        now = found.get(name, found.get(name.replace(".weight", ".base_layer.weight")))
        assert torch.equal(now, tensor), name
    saved = torch.load(run.last().trainer_file, weights_only=True)
    assert saved["state_dict"]
    assert all(".lora_" in name for name in saved["state_dict"])
    assert any(t.abs().max() > 0 for n, t in saved["state_dict"].items() if ".lora_B." in n)
    assert saved["base"]["path"] == str(network)
    states = saved["optimizer_states"][0]["state"]
    assert len(states) == len(saved["state_dict"])
    files = {path.name for path in run.last().path.iterdir()}
    assert "model.safetensors" not in files
    remark = next(r for r in composed.model.remarks if "adapters of rank 4" in r)
    assert "on 14 linear layers" in remark


def test_a_network_with_new_adapters_is_the_network_that_it_was(network: Path) -> None:
    plain = build(Pretrained(path=str(network)))
    adapted = build(Pretrained(path=str(network), adapter=LoRA(rank=2)))
    assert torch.equal(plain(IDS).logits, adapted(IDS).logits)
    assert type(adapted) is type(plain)


def test_peft_opens_a_checkpoint_and_merged_it_is_the_same(
    config: dict[str, Any], network: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    composed = compose(config, {"model.optimizer.learning_rate": 0.05})
    run = composed.fit()
    folder = run.last().path
    base = AutoModelForCausalLM.from_pretrained(network)
    plain = base(IDS).logits.detach()
    theirs = PeftModel.from_pretrained(base, folder).eval()(IDS).logits.detach()
    ours = composed.model.trainable.network.eval()(IDS).logits.detach()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert (plain - theirs).abs().max() > 0.1
    assert AutoTokenizer.from_pretrained(folder).chat_template
    loaded = load(run.path, checkpoint="last", device="cpu")
    torch.testing.assert_close(loaded.network(IDS).logits, theirs, rtol=1e-5, atol=1e-5)
    assert isinstance(chat(loaded.network, loaded.tokenizer, turns("the"), max_tokens=2), str)
    args = ["export", "--run", str(run.path), "--checkpoint", "last"]
    assert command([*args, "--to", str(tmp_path / "merged"), "--merge"]) == 0
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    sums = json.loads((tmp_path / "merged" / "manifest.json").read_text())["input_sha256"]
    for name in ("model.safetensors", "config.json"):  # another base would be another network
        assert sums[f"base/{name}"] == hashlib.sha256((network / name).read_bytes()).hexdigest()
    torch.testing.assert_close(merged(IDS).logits, theirs, rtol=1e-5, atol=1e-5)
    again = build(Pretrained(path=str(folder)))  # to train on, of the merged weights
    torch.testing.assert_close(again(IDS).logits, theirs, rtol=1e-5, atol=1e-5)
    assert all(p.requires_grad for p in again.parameters())
    with pytest.raises(ConfigError, match=r"another one does not lie on it.*export --merge"):
        build(Pretrained(path=str(folder), adapter=LoRA()))
    build(Pretrained(path=str(tmp_path / "merged"), adapter=LoRA()))


def test_an_adapter_is_exported_as_it_is_unless_it_is_merged(
    config: dict[str, Any], network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run = compose(config).fit()
    to = tmp_path / "adapter"
    assert command(["export", "--run", str(run.path), "--to", str(to)]) == 0
    told = capsys.readouterr().out
    assert "PeftModel.from_pretrained" in told
    assert {"adapter_model.safetensors", "adapter_config.json", "manifest.json"} <= {
        path.name for path in to.iterdir()
    }
    manifest = json.loads((to / "manifest.json").read_text())
    n_trained = sum(
        tensor.numel() for tensor in load_file(to / "adapter_model.safetensors").values()
    )
    assert 0 < n_trained < load(network, device="cpu").network.num_parameters() / 4
    assert (manifest["parameters"], manifest["dtype"]) == (n_trained, "float32")
    assert f"- Adapter of a LlamaForCausalLM, {n_trained:,} p" in (to / "README.md").read_text()
    base = AutoModelForCausalLM.from_pretrained(network)
    theirs = PeftModel.from_pretrained(base, to).eval()(IDS).logits
    ours = load(run.path, device="cpu").network(IDS).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    args = ["export", "--model", str(network), "--to", str(tmp_path / "x"), "--merge"]
    with pytest.raises(ConfigError, match=r"has no adapter to merge.*Leave out --merge"):
        command(args)
    command(args[:-1])


def test_a_run_that_goes_on_is_the_run_that_was_not_interrupted(config: dict[str, Any]) -> None:
    settings = {"trainer.checkpoint_every_steps": 3}
    whole = rows_of(compose(config, settings).fit())
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
    assert [[row[n] for n in NAMES] for row in rows] == [[row[n] for n in NAMES] for row in whole]


def test_another_base_is_refused_at_resume_with_both_sums(tmp_path: Path) -> None:
    network = write_chat_network(tmp_path / "network")
    config = chat_config(network, tmp_path, conversations(49, 0))
    config["model"]["init_args"]["network"]["init_args"]["adapter"] = adapter()
    run = compose(config, {"trainer.val_every_steps": 0}).fit()
    weights = (network / "model.safetensors").read_bytes()
    write_chat_network(network, initializer_range=0.2)
    again, _ = resumed(str(run.path), {}, ["--trainer.max_steps=8"])
    saved = torch.load(run.last().trainer_file, weights_only=True)["base"]["sha256"]
    with pytest.raises(CheckpointError, match=rf"{saved[:12]}.*are others.*network\.path"):
        again.fit()
    (network / "model.safetensors").write_bytes(weights)
    again, _ = resumed(str(run.path), {}, ["--trainer.max_steps=8"])
    again.fit()


def test_a_new_head_is_trained_and_saved_beside_the_adapters(encoder: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    rows = classes(72, 0)
    files = {"train": rows[:-12], "val": rows[-12:]}
    data = {name: str(write_jsonl(tmp_path / f"{name}.jsonl", r)) for name, r in files.items()}
    spec = {
        "class_path": "roots.data.LabelledTexts",
        "init_args": {**data, "sequences_per_step": 8, "seq_len": 48},
    }
    config = task_config("SequenceClassifier", spec, encoder, tmp_path / "runs")
    arguments = config["model"]["init_args"]["network"]["init_args"]
    arguments["adapter"] = adapter(modules=["query", "value"])
    composed = compose(config, {"model.optimizer.learning_rate": 0.05})
    run = composed.fit()
    saved = torch.load(run.last().trainer_file, weights_only=True)["state_dict"]
    assert any("classifier" in name for name in saved)
    ours = composed.model.predict(["the cat", "a dog sat"])
    theirs = roots.load(run.path, "last").predict(["the cat", "a dog sat"])
    for a, b in zip(ours, theirs, strict=True):
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-5)
    base = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=3)
    model = PeftModel.from_pretrained(base, run.last().path).eval()
    batch = composed.model.batch_of(["the cat"])
    probabilities = model(**batch.inputs).logits.softmax(-1)[0].tolist()
    assert list(ours[0]["probabilities"].values()) == pytest.approx(probabilities, abs=1e-5)


def test_the_plan_tells_what_is_trained(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    assert command(["fit", "--config", str(file), "--dry-run"]) == 0
    network = build(
        Pretrained(
            path=config["model"]["init_args"]["network"]["init_args"]["path"], adapter=LoRA(rank=4)
        )
    )
    n = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert f"{n:,} (" in capsys.readouterr().out


@pytest.mark.parametrize("model_type", ["gpt2", "qwen3"])
def test_other_families_take_adapters_and_merge_them(tmp_path: Path, model_type: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    from roots.networks import merge_adapter, write_adapter

    keys = (
        {"n_embd": 32, "n_layer": 2, "n_head": 2}
        if model_type == "gpt2"
        else {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
        }
    )
    ids = {"eos_token_id": 1, "bos_token_id": 1}
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(
        AutoConfig.for_model(model_type, vocab_size=64, **ids, **keys)
    ).save_pretrained(tmp_path / "base")
    adapted = build(Pretrained(path=str(tmp_path / "base"), adapter=LoRA(rank=4)))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    write_adapter(adapted, tmp_path / "adapter")
    merged = merge_adapter(build(Pretrained(path=str(tmp_path / "base"))), tmp_path / "adapter")
    torch.testing.assert_close(merged(IDS).logits, adapted(IDS).logits, rtol=1e-5, atol=1e-5)


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rank": 0}, "rank=0 and alpha=16: .*Set adapter.rank to 1 or more"),
        ({"dropout": 1.0}, "dropout=1 is no share"),
        ({"modules": "q_proj"}, "modules='q_proj' are no modules.*to a list of names"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        LoRA(**settings)


def test_modules_that_are_not_there_are_refused_with_those_that_are(network: Path) -> None:
    with pytest.raises(ConfigError, match=r"takes no adapters on \['query'\].*q_proj, .*v_proj"):
        build(Pretrained(path=str(network), adapter=LoRA(modules=["query"])))
    build(Pretrained(path=str(network), adapter=LoRA(modules=["q_proj"])))
    with pytest.raises(ConfigError, match="names one of the two: merged, they would part"):
        build(Pretrained(path=str(network), adapter=LoRA(modules=["lm_head"])))
    with pytest.raises(ConfigError, match=r"frozen_layers=1 beside an adapter"):
        Pretrained(path=str(network), frozen_layers=1, adapter=LoRA())


def test_an_adapter_whose_base_is_gone_names_it(config: dict[str, Any]) -> None:
    run = compose(config).fit()
    file = run.last().path / "adapter_config.json"
    told = json.loads(file.read_text())
    right = told["base_model_name_or_path"]
    file.write_text(json.dumps({**told, "base_model_name_or_path": "/no/such/folder"}))
    with pytest.raises(CheckpointError, match=r"lies on the weights of /no/such/folder.*Bring it"):
        load(run.path, checkpoint="last", device="cpu")
    file.write_text(json.dumps({**told, "base_model_name_or_path": right}))
    load(run.path, checkpoint="last", device="cpu")


def test_without_peft_the_install_line_is_told(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from roots.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"pip install 'roots-lm\[peft\]'"):
        build(Pretrained(path=str(network), adapter=LoRA()))


# -- every head ----------------------------------------------------------------------------------

FAMILIES = {
    "sequence classifier": ("bert", {"num_labels": 3}),
    "token classifier": ("roberta", {"num_labels": 5}),
    "reader of questions": ("modernbert", {}),
    "masked language model": ("bert", {}),
    "sequence-to-sequence model": ("t5", {}),
}
SHAPES = {
    "bert": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    "roberta": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    "modernbert": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    "t5": {"d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 2, "d_kv": 16},
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_head_takes_adapters_and_is_opened_by_peft(tmp_path: Path, kind: str) -> None:
    from peft import PeftModel
    from transformers import AutoConfig

    from roots.networks import Head, merge_adapter, write_adapter

    model_type, keys = FAMILIES[kind]
    shape = {**SHAPES[model_type], "vocab_size": 64, "pad_token_id": 0}
    shape |= {} if model_type == "t5" else {"num_attention_heads": 2}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    ids |= {"decoder_start_token_id": 0} if model_type == "t5" else {}
    head = Head(kind, keys)
    body = Head("masked language model") if head.is_new else head
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **shape, **ids)
    body.auto.from_config(config).save_pretrained(tmp_path / "base")

    def made(adapter: LoRA | None) -> Any:
        builder = Pretrained(path=str(tmp_path / "base"), adapter=adapter)
        return builder.build(None, seed=3, device=torch.device("cpu"), head=head).eval()

    def said(network: Any) -> torch.Tensor:
        more = {"decoder_input_ids": IDS} if model_type == "t5" else {}
        out = network(input_ids=IDS, **more)
        return out.start_logits if kind == "reader of questions" else out.logits

    adapted = made(LoRA(rank=4))
    torch.testing.assert_close(said(adapted), said(made(None)))  # also what is drawn is the same
    trained = {n for n, p in adapted.named_parameters() if p.requires_grad}
    whole = {n for n in trained if ".lora_" not in n}
    assert bool(whole) == head.is_new
    with torch.no_grad():
        for name in trained:
            adapted.get_parameter(name).add_(0.05)
    write_adapter(adapted, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(made(None), tmp_path / "adapter").eval()
    torch.testing.assert_close(said(theirs), said(adapted), rtol=1e-5, atol=1e-5)
    merged = merge_adapter(made(None), tmp_path / "adapter").eval()
    torch.testing.assert_close(said(merged), said(adapted), rtol=1e-4, atol=1e-5)


# -- continued pretraining -----------------------------------------------------------------------


def on_a_corpus(network: Path, shards: Path, folder: Path) -> dict[str, Any]:
    config = tiny_config(shards, folder)
    arguments = {"path": str(network), "adapter": adapter()}
    spec = {"class_path": "roots.networks.Pretrained", "init_args": arguments}
    config["model"]["init_args"]["network"] = spec
    return config


def test_a_corpus_is_learned_with_adapters_and_the_work_is_counted(
    network: Path, shards: Path, tmp_path: Path
) -> None:
    composed = compose(on_a_corpus(network, shards, tmp_path))
    plan = str(plan_run(composed.trainer, composed.model, composed.data))
    assert "FLOPs" in plan
    assert "not counted" not in plan
    last = rows_of(composed.fit())[-1]
    assert float(last["train/fraction_of_matmul_peak"]) > 0
    whole = Pretrained(path=str(network)).build(
        None, seed=0, device=torch.device("cpu"), head=CAUSAL_LM
    )
    adapted, plain = (count_flops(n, seq_len=16) for n in (composed.model.trainable.network, whole))
    n = 2 * sum(p.numel() for p in composed.model.parameters() if p.requires_grad)
    assert sum(adapted.forward.values()) == sum(plain.forward.values()) + n
    assert adapted.per_trained_token < plain.per_trained_token + 3 * n  # no gradients of the base


@pytest.mark.slow
def test_compiled_layers_with_adapters_learn_the_same(
    network: Path, shards: Path, tmp_path: Path
) -> None:
    config = on_a_corpus(network, shards, tmp_path)
    found = {
        mode: rows_of(compose(config, {"model.compile": mode}).fit()) for mode in ("none", "blocks")
    }
    for name in ("train/loss", "optim/grad_norm"):
        ours, theirs = ([float(r[name]) for r in found[m]] for m in ("blocks", "none"))
        assert ours == pytest.approx(theirs, rel=1e-4)
