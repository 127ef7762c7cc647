"""Every configuration that is shipped can be read, and every run can be planned."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import yaml
from preferred import preferences
from quizzes import squad
from tiny_chat import conversations, write_chat_network
from tiny_tasks import sentence, tagged, write_conll, write_encoder, write_jsonl
from transformers import ModernBertConfig, ModernBertModel

from roots.cli import run as roots
from roots.fit import compose, read_run_files
from roots.plan import plan_run
from roots.sweeps import read_sweep
from roots.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
EVERY = sorted(CONFIGS.rglob("*.yaml"))
RUNS = sorted((CONFIGS / "run").glob("*.yaml"))
CORPORA = sorted((CONFIGS / "corpus").glob("*.yaml"))
SWEEPS = sorted((CONFIGS / "sweep").glob("*.yaml"))


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the data that a user has to fetch, with data of our own in it."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "tinyshakespeare.txt").write_text("First Citizen:\nSpeak, speak.\n" * 100)
    (folder / "web").mkdir()
    (folder / "web" / "a.jsonl").write_text('{"text": "Some text."}\n')
    for name, columns, n_classes in (
        ("sst2/train.tsv", "sentence\tlabel", 2),
        ("sst2/dev.tsv", "sentence\tlabel", 2),
        ("agnews/train.tsv", "text\tlabel", 4),
        ("thucnews/train.tsv", "sentence\tlabel", 10),
        ("thucnews/train_more.tsv", "sentence\tlabel", 10),
    ):
        rng = random.Random(name)
        lines = [f"{sentence(rng)}\t{number % n_classes}" for number in range(200)]
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("\n".join([columns, *lines]) + "\n")
    (folder / "chat").mkdir()
    write_jsonl(folder / "chat/train.jsonl", conversations(80, 0))
    (folder / "preferences").mkdir()
    write_jsonl(folder / "preferences/train.jsonl", preferences(160, 0))
    (folder / "thucnews/classes.txt").write_text("".join(f"class{n}\n" for n in range(10)))
    (folder / "multi30k").mkdir()
    for name in ("train.en", "train.de", "val.en", "val.de"):
        (folder / "multi30k" / name).write_text("A dog runs.\nTwo men sing.\n" * 1500)
    (folder / "wnut17").mkdir()
    for split in ("train", "dev"):
        write_conll(folder / "wnut17" / f"{split}.conll", tagged(40, 0))
    (folder / "squad2").mkdir()
    for name in ("train", "dev"):
        (folder / f"squad2/{name}.json").write_text(json.dumps(squad(6, seed=len(name))))
    return folder


@pytest.fixture(autouse=True)
def _data(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOTS_DATA", str(data_folder))


@pytest.fixture(scope="session")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Llama with a chat template."""
    folder = tmp_path_factory.mktemp("networks") / "tiny-llama"
    return write_chat_network(folder, max_position_embeddings=4096)


def write_modern(folder: Path, encoder: Path) -> Path:
    """Writes a tiny ModernBERT without a head, with the tokenizer of another encoder."""
    shutil.copytree(encoder, folder, dirs_exist_ok=True)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
    size = Tokenizer.load(encoder).vocab_size
    ids = dict.fromkeys(("pad_token_id", "bos_token_id", "cls_token_id", "eos_token_id"), 0)
    config = ModernBertConfig(vocab_size=size, num_attention_heads=2, **sizes, **ids)
    ModernBertModel(config).save_pretrained(folder)
    return folder


def without_hub(path: Path, encoder: Path, causal: Path) -> dict[str, str]:
    """Puts a tiny network in the place of one on the hub, which tests do not reach."""
    model = read_run_files([path])["model"]
    if "path" not in model["init_args"]["network"]["init_args"]:
        return {}
    is_causal = model["class_path"] in ("roots.modules.CausalLM", "roots.modules.PreferenceLM")
    instead = {"model.network.path": str(causal if is_causal else encoder)}
    if "classifier_pooling" in model["init_args"]["network"]["init_args"].get("config", {}):
        instead["model.network.path"] = str(write_modern(encoder.parent / "modern", encoder))
    if "distiller" in model["init_args"]:
        names = {"id2label": {0: "negative", 1: "positive"}}
        instead["model.distiller.teacher"] = str(write_encoder(encoder.parent / "teacher", **names))
    return instead


def named(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def test_there_is_something_to_read() -> None:
    assert RUNS
    assert CORPORA
    assert SWEEPS


@pytest.mark.parametrize("path", EVERY, ids=named)
def test_a_configuration_parses_and_opens_by_saying_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    first = text.splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20


@pytest.mark.parametrize("path", RUNS, ids=named)
def test_a_run_can_be_planned_on_a_cpu(
    path: Path, tmp_path: Path, encoder: Path, causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    instead = without_hub(path, encoder, causal)
    composed = compose(path, {"trainer.accelerator": "cpu", **instead})
    plan = str(plan_run(composed.trainer, composed.model, composed.data))
    assert " parameters (" in plan
    assert " steps = " in plan
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", RUNS, ids=named)
def test_a_run_is_called_like_its_file(path: Path) -> None:
    assert read_run_files([path])["name"] == path.stem


@pytest.mark.parametrize("path", RUNS, ids=named)
def test_a_run_tells_the_command_that_starts_it(path: Path) -> None:
    opening = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"--config configs/run/{path.name}" in line for line in opening)


@pytest.mark.parametrize("path", CORPORA, ids=named)
def test_a_corpus_can_be_previewed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_texts").mkdir()  # the folder that text.yaml names
    (tmp_path / "my_texts" / "a.txt").write_text("Some text.\n")
    (tmp_path / "my_texts" / "a.jsonl").write_text('{"text": "Some text."}\n')
    assert roots(["corpus", "--config", str(path), "--dry-run"]) == 0
    assert "nothing was written (--dry-run)" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["my_texts"]


@pytest.mark.parametrize("path", SWEEPS, ids=named)
def test_a_sweep_can_be_run_and_tells_the_command(path: Path) -> None:
    sweep = read_sweep(path)
    sweep.check(prepare=False)
    assert sweep.n_trials() > 1
    assert sweep.definition.name == path.stem
    assert f"# roots sweep configs/sweep/{path.name}" in path.read_text().splitlines()
