"""Tags of words: from a file to entities, beside transformers and seqeval."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from tiny_tasks import DROPPED, tagged, tagging_config, words_data, write_bert

import roots
from roots.cli import run as command
from roots.errors import ConfigError, DataError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.modules import TokenClassifier
from roots.runs import Run


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


def rows() -> list[dict[str, Any]]:
    """Sentences, the last ones of which hold words that are dropped and words that are cut off."""
    found = tagged(60, 0)
    found[-1] = {"words": [DROPPED, "cat", "ran"], "tags": ["B-animal", "I-animal", "O"]}
    found[-2] = {"words": ["it"] * 40 + ["dog"], "tags": ["O"] * 40 + ["B-animal"]}
    return found


@pytest.fixture
def config(bert: Path, tmp_path: Path) -> dict[str, Any]:
    return tagging_config(bert, tmp_path / "runs", words_data(tmp_path, rows()))


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


# -- against others --------------------------------------------------------------------------------


@pytest.mark.parametrize("label_tokens", ["first", "all"])
def test_loss_logits_and_gradient_are_those_of_transformers(
    config: dict[str, Any], label_tokens: str
) -> None:
    composed = compose(config, {"data.label_tokens": label_tokens})
    composed.data.trainer = composed.trainer
    composed.model.learn_of(composed.data)
    ours = composed.model.build(seed=3, device=torch.device("cpu")).eval()
    batch = next(iter(composed.data.train_dataloader()))
    assert len(set(batch.lengths.tolist())) > 1
    score = ours(batch)
    score.loss.backward()
    found = {name: p.grad.clone() for name, p in ours.network.named_parameters()}
    ours.zero_grad()
    theirs = ours.network(**batch.inputs, labels=batch.labels)
    (theirs.loss * score.n_labels).backward()
    assert int(score.n_labels) == int((batch.labels != -100).sum())
    torch.testing.assert_close(score.loss / score.n_labels, theirs.loss)
    torch.testing.assert_close(score.outputs, theirs.logits)
    for name, parameter in ours.network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-5, atol=1e-6)


def tags_by_transformers(folder: Path, sentences: list[dict[str, Any]], seq_len: int) -> Any:
    """Tags words one sentence at a time; words without a token are O."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    network = AutoModelForTokenClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for row in sentences:
        encoded = tokenizer(
            row["words"],
            is_split_into_words=True,
            truncation=True,
            max_length=seq_len,
            return_tensors="pt",
        )
        word_ids = encoded.word_ids()
        with torch.no_grad():
            numbers = network(**encoded).logits[0].argmax(-1).tolist()
        yield [
            network.config.id2label[numbers[word_ids.index(n)]] if n in word_ids else "O"
            for n in range(len(row["words"]))
        ]


@pytest.mark.parametrize("scheme", ["conll", "iob2"])
def test_a_validation_is_seqeval_on_every_word_of_the_file(
    config: dict[str, Any], scheme: str
) -> None:
    from seqeval.metrics import sequence_labeling, v1
    from seqeval.scheme import IOB2

    settings = {"trainer.max_steps": 30, "trainer.val_every_steps": 30, "model.scheme": scheme}
    run = compose(config, {**settings, "data.seq_len": 24}).fit()
    held = rows()[-12:]
    predicted = list(tags_by_transformers(run.best().path, held, 24))
    labelled = [row["tags"] for row in held]
    strict = {"scheme": IOB2} if scheme == "iob2" else {}
    seqeval = (v1 if strict else sequence_labeling).precision_recall_fscore_support
    expected = seqeval(labelled, predicted, average="micro", zero_division=0, **strict)
    measured = {name: float(value) for name, value in rows_of(run)[-1].items() if value}
    names = ("val/precision_micro", "val/recall_micro", "val/f1_micro")
    assert [measured[name] for name in names] == pytest.approx([float(v) for v in expected[:3]])
    assert 0.2 < measured["val/f1_micro"] < 1
    right = sum(
        a == b for x, y in zip(predicted, labelled, strict=True) for a, b in zip(x, y, strict=True)
    )
    assert measured["val/accuracy"] == pytest.approx(right / sum(map(len, labelled)))


def test_loss_is_measured_over_labelled_tokens(config: dict[str, Any]) -> None:
    composed = compose(config)
    run = composed.fit()
    split = composed.data.split("val")
    network = composed.model.trainable.network.eval()
    nats, count = 0.0, 0
    for row in range(len(split)):
        ids, labels = torch.tensor(split.input_ids[row])[None], torch.tensor(split.labels[row])
        with torch.no_grad():
            logits = network(input_ids=ids).logits[0].double()
        known = labels != -100
        nats += torch.nn.functional.cross_entropy(
            logits[known], labels[known].long(), reduction="sum"
        ).item()
        count += int(known.sum())
    assert float(rows_of(run)[-1]["val/loss"]) == pytest.approx(nats / count, rel=1e-5)


# -- learning --------------------------------------------------------------------------------------


@pytest.mark.parametrize("label_tokens", ["first", "all"])
def test_one_batch_can_be_learned_by_heart(bert: Path, tmp_path: Path, label_tokens: str) -> None:
    few = tagged(8, 4)
    data = words_data(tmp_path, [*few, *few, *few[:4]], label_tokens=label_tokens)  # 8, then 12
    settings = {"max_steps": 70, "val_every_steps": 70, "log_every_steps": 70}
    run = compose(tagging_config(bert, tmp_path / "runs", data, **settings)).fit()
    first, *_, last = rows_of(run)
    assert float(last["train/loss"]) < 0.05 < 1 < float(first["train/loss"])
    assert float(last["val/f1_micro"]) == float(last["val/accuracy"]) == 1


def test_every_micro_batch_size_makes_the_same_steps(config: dict[str, Any]) -> None:
    found = {}
    for size in (1, 3, 8):
        run = compose(config, {"model.micro_batch_size": size, "trainer.max_steps": 3}).fit()
        names = ("train/loss", "optim/grad_norm", "val/loss", "val/f1_micro")
        found[size] = [float(row[name]) for row in rows_of(run) for name in names if row[name]]
    assert len(found[8]) == 8
    for size in (1, 3):
        assert found[size] == pytest.approx(found[8], rel=1e-5)


def test_a_run_that_goes_on_is_bitwise_the_run_that_was_not_interrupted(
    config: dict[str, Any],
) -> None:
    class PowerCut(L.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 4:
                raise RuntimeError("power cut")

    config["model"]["init_args"]["network"]["init_args"]["config"] = {"hidden_dropout_prob": 0.3}
    config["data"]["init_args"]["label_tokens"] = "all"
    whole = rows_of(compose(config).fit())
    cut = compose(config)
    cut.trainer.callbacks.insert(0, PowerCut())
    with pytest.raises(RuntimeError, match="power cut"):
        cut.fit()
    composed, changes = resumed(str(cut.trainer.run.path), {}, [])
    assert not changes
    names = ("step", "train/loss", "optim/grad_norm", "val/loss", "val/f1_micro", "val/accuracy")
    again = [[row[name] for name in names] for row in rows_of(composed.fit())]
    assert again == [[row[name] for name in names] for row in whole]


def test_smoothing_and_weights_reach_the_loss(config: dict[str, Any]) -> None:
    composed = compose(config, {"model.label_smoothing": 0.1, "model.balance": True})
    composed.model.learn_of(composed.data)
    objective = composed.model.objective()
    assert objective.label_smoothing == 0.1
    assert objective.weights == pytest.approx(composed.data.balanced_weights())
    assert min(objective.weights) < 1 < max(objective.weights)
    composed.fit()


# -- predictions -----------------------------------------------------------------------------------


def test_a_run_file_leads_to_predictions(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tagging.yaml"
    file.write_text(yaml.safe_dump(config))
    assert command(["fit", "--config", str(file), "--data.seq_len", "24"]) == 0
    run = tmp_path / "runs" / "tagging" / "0001"
    remarks = json.loads((run / "environment.json").read_text())["remarks"]
    assert any("give no token and count as O" in remark for remark in remarks)
    assert any("lie behind seq_len=24" in remark for remark in remarks)
    assert command(["predict", "--run", str(run)]) == 0
    lines = (run / "predictions.jsonl").read_text().splitlines()
    held = rows()[-12:]
    said = {tuple(row["words"]): row for row in map(json.loads, lines)}
    assert set(said) == {tuple(row["words"]) for row in held}
    assert said[tuple(held[0]["words"])]["where"].endswith("val.conll:1")
    dropped = said[DROPPED, "cat", "ran"]
    assert (dropped["tags"][0], dropped["probabilities"][0]) == ("O", None)
    assert all(0 < p <= 1 for p in dropped["probabilities"][1:])
    cut = said[tuple(held[-2]["words"])]
    assert (cut["tags"][-1], cut["probabilities"][-1]) == ("O", None)
    predicted = list(tags_by_transformers(Run(run).best().path, held, 24))
    assert [said[tuple(row["words"])]["tags"] for row in held] == predicted


@pytest.fixture(scope="module")
def learned(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TokenClassifier, Path]:
    """A model that knows its few sentences by heart."""
    folder = tmp_path_factory.mktemp("learned")
    few = [
        {
            "words": ["the", "cat", "sat", "on", "a", "mat", "."],
            "tags": "B-animal I-animal O O O B-place O",
        },
        {"words": ["she", "was", "under", "the", "tree", "."], "tags": "O O O B-place I-place O"},
    ]
    few = [{**row, "tags": row["tags"].split()} for row in few]
    data = words_data(folder, few * 10)
    settings = {"max_steps": 60, "val_every_steps": 60, "log_every_steps": 60}
    composed = compose(tagging_config(bert, folder / "runs", data, **settings))
    run = composed.fit()
    return composed.model, run.path


def test_words_and_texts_are_tagged_in_a_notebook(learned: Any) -> None:
    model, _ = learned
    text = "she  was\nunder the tree."
    first, second = model.predict([["the", "cat", "sat", "on", "a", "mat", "."], text])
    assert first["tags"] == ["B-animal", "I-animal", "O", "O", "O", "B-place", "O"]
    assert [(e["type"], e["text"], e["start"], e["end"]) for e in first["entities"]] == [
        ("animal", "the cat", 0, 2),
        ("place", "mat", 5, 6),
    ]
    assert first["entities"][0]["probability"] == pytest.approx(
        math.prod(first["probabilities"][:2])
    )
    assert second["words"] == ["she", "was", "under", "the", "tree", "."]
    (entity,) = second["entities"]
    assert text[entity["start"] : entity["end"]] == entity["text"] == "the tree"


def test_predicting_changes_nothing(learned: Any) -> None:
    model, _ = learned
    texts = [["the", "cat"], "under the tree .", ["it"] * 30, [DROPPED, "mat"]]
    together = model.predict(texts)
    assert model.trainable.training
    assert model.predict([]) == []
    for text, row in zip(texts, together, strict=True):
        (alone,) = model.predict([text])
        assert alone["tags"] == row["tags"]
        known = [p for p in row["probabilities"] if p is not None]
        assert [p for p in alone["probabilities"] if p is not None] == pytest.approx(known)
    assert together[3]["probabilities"][0] is None


def test_a_checkpoint_brings_its_tags(learned: Any) -> None:
    model, path = learned
    file = Run(path).best().trainer_file
    again = TokenClassifier.load_from_checkpoint(file, weights_only=True)
    assert again.labels == model.labels
    assert again.trainable is not None
    opened = roots.load(path)
    texts = [["the", "cat", "sat"]]
    assert opened.predict(texts)[0]["tags"] == model.predict(texts)[0]["tags"]
    assert opened.predict(texts)[0]["entities"]
    config = json.loads((file.parent / "config.json").read_text())
    assert config["id2label"] == {str(n): name for n, name in enumerate(model.labels.names)}


# -- mistakes --------------------------------------------------------------------------------------


def test_tags_of_another_scheme_are_refused_before_the_run(bert: Path, tmp_path: Path) -> None:
    for row in (found := tagged(40, 0)):
        row["tags"] = [tag.replace("I-", "E-") for tag in row["tags"]]
    config = tagging_config(bert, tmp_path / "runs", words_data(tmp_path, found))
    with pytest.raises(ConfigError, match=r"'E-\w+' is no tag of the scheme iob2"):
        compose(config, {"model.scheme": "iob2"}).fit()
    assert not list((tmp_path / "runs").rglob("checkpoints"))
    compose(config, {"model.scheme": "iobes", "trainer.max_steps": 3}).fit()


def test_an_unknown_scheme_is_refused_with_those_there_are(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"no tag scheme 'iob' .*conll, iob2, iobes"):
        compose(config, {"model.scheme": "iob"})
    compose(config, {"model.scheme": "iobes"})


def test_weights_for_another_number_of_tags_are_refused(config: dict[str, Any]) -> None:
    composed = compose(config, {"model.class_weights": [1.0, 2.0]})
    with pytest.raises(ConfigError, match=r"2 weights and there are 5 classes: O, B-animal"):
        composed.model.learn_of(composed.data)
    fitting = compose(config, {"model.class_weights": [1.0, 2.0, 1.0, 1.0, 1.0]})
    fitting.model.learn_of(fitting.data)


def test_a_model_without_weights_and_a_text_without_words_are_refused(
    config: dict[str, Any], learned: Any
) -> None:
    with pytest.raises(ConfigError, match=r"has no weights yet\. Train it"):
        compose(config).model.predict(["the cat"])
    model, path = learned
    alone = TokenClassifier.load_from_checkpoint(Run(path).last().trainer_file, weights_only=True)
    with pytest.raises(ConfigError, match=r"has no tokenizer: .* Open the run: roots\.load\(RUN\)"):
        alone.predict(["the cat"])
    for empty in ("  ", []):
        with pytest.raises(DataError, match="has no word"):
            model.predict(["the cat", empty])
    assert len(model.predict(["the cat", "a"])) == 2
