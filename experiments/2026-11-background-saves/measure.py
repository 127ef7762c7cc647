"""What a save costs a run on a CPU, within the step and behind it: seconds and memory.

    python experiments/2026-11-background-saves/measure.py

Trains a Llama of 92 M parameters for 20 steps in each way, each in a process of its own, with
checkpoints after 6, 12 and 18 steps, and prints a table of the first two of them.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEPS, EVERY, FIRST, LAST = 20, 6, 3, 17
WAYS = {"within the step": False, "behind the steps": True}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 768,
    "intermediate_size": 2304,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}


def config(folder: Path, *, background: bool) -> dict[str, Any]:
    """The run file: 2 sequences of 32 tokens a step, so that it is short."""
    network = {"class_path": "roots.networks.Scratch", "init_args": {"config": LLAMA}}
    optimizer = {"class_path": "roots.optim.AdamW", "init_args": {"learning_rate": 1e-4}}
    schedule = {"class_path": "roots.optim.WarmupCosine", "init_args": {"warmup_steps": 2}}
    module = {"network": network, "optimizer": optimizer, "schedule": schedule}
    return {
        "name": "saves",
        "model": {
            "class_path": "roots.modules.CausalLM",
            "init_args": {**module, "micro_batch_size": 2},
        },
        "data": {
            "class_path": "roots.data.TokenCorpus",
            "init_args": {"shards": str(folder / "shards"), "seq_len": 32, "sequences_per_step": 2},
        },
        "trainer": {
            "max_steps": STEPS,
            "checkpoint_every_steps": EVERY,
            "keep_best": 0,
            "precision": "32",
            "accelerator": "cpu",
            "runs_dir": str(folder),
            "progress": False,
            "save_in_background": background,
        },
    }


def prepare(folder: Path) -> None:
    """Encodes the sources of roots: the numbers do not depend on the text."""
    from roots.corpus import BytePairs, Corpus
    from roots.sources import Text

    source = Text(paths=[str(Path(__file__).parents[2] / "roots" / "callbacks" / "*.py")])
    out, tokenizer = str(folder / "shards"), BytePairs(vocab_size=512)
    corpus = Corpus(source=source, out=out, tokenizer=tokenizer, val_fraction=0.0, workers=1)
    corpus.prepare(progress=False)


def trained(folder: Path, *, background: bool) -> dict[str, float]:
    """Trains in this process, and looks at the clock when each step begins."""
    import lightning as L

    from roots.fit import compose

    class Watch(L.Callback):
        def __init__(self) -> None:
            self.began: list[float] = []
            self.writes: list[bool] = []
            self.in_step: list[float] = []
            self.behind: list[float] = []

        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            flight = trainer.checkpoints._flight
            self.began.append(time.perf_counter())
            self.writes.append(flight is not None and not flight.is_done)

    watch = Watch()
    composed = compose(config(folder, background=background))
    composed.trainer.callbacks.append(watch)
    told = composed.trainer.checkpoints._tell

    def noted(trainer: Any, flight: Any) -> None:
        if flight.saving.step in (EVERY, 2 * EVERY):
            watch.in_step.append(flight.step_seconds)
            watch.behind.append(flight.write_seconds if background else 0.0)
        told(trainer, flight)

    composed.trainer.checkpoints._tell = noted
    composed.fit()
    steps = range(FIRST, LAST)  # from the beginning of one to that of the next
    took = {n: watch.began[n + 1] - watch.began[n] for n in steps}
    saves = {EVERY - 1, 2 * EVERY - 1}
    quiet = [s for n, s in took.items() if n not in saves and not watch.writes[n]]
    median = statistics.median(quiet)
    return {
        "seconds per step": median,
        "seconds in the step of a save": statistics.mean(watch.in_step),
        "seconds of writing behind it": statistics.mean(watch.behind),
        "seconds lost per save": (sum(took.values()) - len(took) * median) / len(saves),
        "peak memory, GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main() -> None:
    if len(sys.argv) == 3:  # one way, in a process of its own
        print(json.dumps(trained(Path(sys.argv[1]), background=WAYS[sys.argv[2]])))
        return
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        prepare(Path(folder))
        found = {}
        for way in WAYS:
            command = [sys.executable, __file__, folder, way]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[way] = json.loads(done.stdout.splitlines()[-1])
    for name in next(iter(found.values())):
        print(f"{name:<32}" + "".join(f"{found[way][name]:>20.2f}" for way in WAYS))


if __name__ == "__main__":
    main()
