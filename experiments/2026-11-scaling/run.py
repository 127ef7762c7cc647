"""How does the loss fall with the size of the network, at equal tokens?

    python experiments/2026-11-scaling/run.py --work scaling            # an hour of one core
    python experiments/2026-11-scaling/run.py --work scaling --rates    # which rates; one seed
    python experiments/2026-11-scaling/run.py --work scaling --dry-run  # tokens and FLOPs

Four Llamas with the corpus, tokenizer and settings of the quickstart, stepped by Muon, three seeds
each. What is in `--work` already is not trained again. At the end results.json and scaling.png are
written beside this script, and the table is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
QUICKSTART = HERE.parents[1] / "configs" / "run" / "quickstart.yaml"
SEEDS = (1, 2, 3)
SIZES = {  # width, width inside the feed-forward, layers, heads
    "0.3M": (64, 172, 4, 2),
    "1M": (128, 344, 5, 2),
    "3M": (192, 512, 7, 3),
    "8M": (288, 768, 8, 4),
}
RATE, RATE_WIDTH = 1.6e-2, 128
"""The best rate of 2026-11-muon, and the width of the network that it was found for."""


def parameters(size: str) -> int:
    """Counts the weights of the layers: not the embeddings, which are the head as well."""
    width, inner, layers, _ = SIZES[size]
    return layers * (4 * width**2 + 3 * width * inner + 2 * width) + width


def rate(size: str) -> float:
    """Gives the peak rate: it falls with the root of the width."""
    return RATE * math.sqrt(RATE_WIDTH / SIZES[size][0])


def settings(size: str, seed: int, learning_rate: float, given: argparse.Namespace) -> dict:
    width, inner, layers, heads = SIZES[size]
    config = {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }
    return {
        **{f"model.network.config.{key}": value for key, value in config.items()},
        "model.optimizer": {
            "class_path": "roots.optim.Muon",
            "init_args": {"learning_rate": learning_rate},
        },
        "model.schedule.init_args": {"warmup_steps": 0, "warmup_fraction": 0.1},
        "model.micro_batch_size": 8,
        "data.sequences_per_step": 16,
        "trainer.max_steps": given.steps,
        "trainer.val_every_steps": given.steps,
        "trainer.callbacks": [],
        "trainer.runs_dir": str(given.work),
        "seed": seed,
        "name": f"{size}-{learning_rate:.4f}-seed-{seed}",
    }


def trained(size: str, seed: int, learning_rate: float, given: argparse.Namespace) -> float:
    """Trains a network, unless that was done; gives its bits per byte on the validation split."""
    from roots.fit import compose

    asked = settings(size, seed, learning_rate, given)
    kept = given.work / f"{asked['name']}.json"
    if not kept.exists():
        run = compose(QUICKSTART, asked).fit()
        value = run.last().metrics["val/bits_per_byte"]
        kept.write_text(json.dumps({"val/bits_per_byte": value}))
    return float(json.loads(kept.read_text())["val/bits_per_byte"])


def fitted(points: list[tuple[int, float]]) -> dict[str, float]:
    """Fits log(bits) = log(a) - exponent · log(parameters); gives the exponent's 95 % interval."""
    import numpy as np
    from scipy import stats

    x, y = np.log([n for n, _ in points]), np.log([bits for _, bits in points])
    line = stats.linregress(x, y)
    reach = stats.t.ppf(0.975, len(points) - 2) * line.stderr
    return {
        "exponent": -line.slope,
        "low": -line.slope - reach,
        "high": -line.slope + reach,
        "factor": math.exp(line.intercept),
    }


def draw(found: dict[str, list[float]], line: dict[str, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    sizes = [parameters(size) for size in found]
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for size, bits in found.items():
        axes.plot([parameters(size)] * len(bits), bits, "o", color="black", fillstyle="none")
    ends = [min(sizes) / 1.3, max(sizes) * 1.3]
    law = [line["factor"] * n ** -line["exponent"] for n in ends]
    label = f"exponent {line['exponent']:.3f} ({line['low']:.3f} to {line['high']:.3f})"
    axes.plot(ends, law, "-", color="0.5", label=label)
    axes.set(xscale="log", yscale="log", xlabel="parameters of the layers", ylabel="bits per byte")
    axes.yaxis.set_major_formatter("{x:.2f}")
    axes.yaxis.set_minor_formatter("{x:.2f}")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def choose_rates(given: argparse.Namespace) -> None:
    for size in list(SIZES)[:3]:
        for factor in (0.5, 1.0, 2.0):
            bits = trained(size, SEEDS[0], rate(size) * factor, given)
            print(f"{size:5}  {rate(size) * factor:.4f}  {bits:.4f}", flush=True)


def law(given: argparse.Namespace) -> None:
    found: dict[str, list[float]] = {}
    for size in SIZES:
        found[size] = [trained(size, seed, rate(size), given) for seed in SEEDS]
        mean, spread = statistics.mean(found[size]), statistics.stdev(found[size])
        print(
            f"{size:5} {parameters(size):10,} {rate(size):.4f}  {mean:.4f} ± {spread:.4f}",
            flush=True,
        )
    line = fitted(
        [(parameters(size), bits) for size, all_bits in found.items() for bits in all_bits]
    )
    record: dict[str, Any] = {"steps": given.steps, "bits_per_byte": found, "fit": line}
    (HERE / "results.json").write_text(json.dumps(record, indent=2) + "\n")
    draw(found, line, HERE / "scaling.png")
    print(f"exponent {line['exponent']:.4f}, 95 % interval {line['low']:.4f} to {line['high']:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--steps", type=int, default=125, help="optimizer steps of 4,096 tokens")
    parser.add_argument("--rates", action="store_true", help="compare learning rates, one seed")
    parser.add_argument("--dry-run", action="store_true", help="train nothing")
    given = parser.parse_args()
    if given.dry_run:
        for size in SIZES:
            flops = 6 * parameters(size) * given.steps * 4096
            words = f"{parameters(size):10,} parameters, rate {rate(size):.4f}"
            print(f"{size:5} {words}, {flops:.1e} FLOPs")
        return
    given.work.mkdir(parents=True, exist_ok=True)
    choose_rates(given) if given.rates else law(given)


if __name__ == "__main__":
    main()
