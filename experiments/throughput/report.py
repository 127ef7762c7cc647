"""What is made of measurements: a summary, a table, a figure; and whether the work was equal."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from contenders import CONTENDERS, GOALS, Goal

LOSS_TOLERANCE = {"32": (2e-5, 2e-4), "bf16-mixed": (5e-4, 1e-2)}
"""How far losses of the first and of the last step may lie from everybody's median, in nats."""

UNITS = {
    "tokens_per_second": ("tokens/s", 1.0),
    "peak_bytes": ("peak MiB", 2**20),
    "first_step_seconds": ("seconds to the first step", 1.0),
}
SHADES = {
    "roots": ("#2b6196", ""),
    "ablation": ("#86aed3", ""),
    "floor": ("#ffffff", "///"),
    "peer": ("#d4d4d4", ""),
}
"""Fill and hatching by family: apart in lightness too, for print without colours."""


def summarise(
    runs: dict[str, list[dict[str, Any]]], *, cold: dict[str, float], precision: str
) -> dict[str, Any]:
    """Brings the rounds of all contenders together.

    Args:
        runs: By contender, one result per round.
        cold: Seconds to the first step with an empty compiler cache.
        precision: Decides how far losses may lie apart.
    """
    return {
        "versions": {name: rounds[0]["versions"] for name, rounds in runs.items()},
        "contenders": {
            name: {
                "title": CONTENDERS[name].title,
                **{what: spread([run[what] for run in rounds]) for what in UNITS},
                "median_tokens_per_second": spread(
                    [run["median_tokens_per_second"] for run in rounds]
                ),
                "cold_first_step_seconds": cold.get(name),
                "first_loss": rounds[0]["losses"][0],
                "last_loss": rounds[0]["losses"][-1],
                "attention": rounds[0]["attention"],
                "highest_load": max(run["load"] for run in rounds),
                "runs": rounds,
            }
            for name, rounds in runs.items()
        },
        "goals": [judged for goal in GOALS if (judged := judge(goal, runs))],
        "disagreements": disagreements(runs, precision),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Gives the smallest, the median and the largest."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def judge(goal: Goal, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
    """Compares round by round with the best of the others; None where one side is missing."""
    theirs = [name for name in goal.theirs if name in runs]
    if goal.ours not in runs or not theirs:
        return None
    more_is_better = goal.what == "tokens_per_second"
    ratios = []
    for number, run in enumerate(runs[goal.ours]):
        values = [runs[name][number][goal.what] for name in theirs if number < len(runs[name])]
        if values:
            ratios.append(
                run[goal.what] / max(values) if more_is_better else min(values) / run[goal.what]
            )
    ratio = spread(ratios)
    return {
        "what": goal.what,
        "ours": goal.ours,
        "theirs": theirs,
        "at_least": goal.at_least,
        "ratio": ratio,
        "reached": ratio["median"] >= goal.at_least,
    }


def disagreements(runs: dict[str, list[dict[str, Any]]], precision: str) -> list[str]:
    """Lists what shows that somebody did other work: losses, weights, threads."""
    first, last = LOSS_TOLERANCE[precision]
    return [
        *_far_from_median(runs, 0, first),
        *_far_from_median(runs, -1, last),
        *_unequal(runs, "parameters"),
        *_unequal(runs, "threads"),
    ]


def _far_from_median(
    runs: dict[str, list[dict[str, Any]]], step: int, tolerance: float
) -> list[str]:
    losses = {name: [run["losses"][step] for run in rounds] for name, rounds in runs.items()}
    middle = statistics.median(each[0] for each in losses.values())
    which = "first" if step == 0 else "last"
    return [
        f"the loss of {name} in the {which} step, {loss:.5f}, lies {abs(loss - middle):.5f} from"
        f" everybody's median {middle:.5f}, more than {tolerance:g}."
        for name, each in losses.items()
        for loss in each
        if not abs(loss - middle) <= tolerance  # a loss that is no number, too
    ]


def _unequal(runs: dict[str, list[dict[str, Any]]], what: str) -> list[str]:
    found = {name: rounds[0][what] for name, rounds in runs.items()}
    if len(set(found.values())) <= 1:
        return []
    return [f"{what} differ: {', '.join(f'{k} {v:,}' for k, v in found.items())}."]


# -- words --------------------------------------------------------------------------------------


def sentence(run: dict[str, Any]) -> str:
    """Words one run."""
    return (
        f"{run['tokens_per_second']:,.0f} tokens/s, {run['peak_bytes'] / 2**20:,.0f} MiB,"
        f" first step after {run['first_step_seconds']:.1f} s,"
        f" loss {run['losses'][0]:.4f} → {run['losses'][-1]:.4f}"
    )


def markdown(summary: dict[str, Any]) -> str:
    """Writes the tables of the README."""
    lines = [_setting(summary), ""]
    lines += [
        "| who | tokens/s | smallest to largest | peak MiB | first step, s | cold, s | loss, first"
        " → last |",
        "|---|---|---|---|---|---|---|",
        *(_row(each) for each in summary["contenders"].values()),
    ]
    if summary["goals"]:
        lines += [
            "",
            "| goal | asked | measured | in the rounds | |",
            "|---|---|---|---|---|",
            *(_goal_row(goal) for goal in summary["goals"]),
        ]
    for name, why in summary["failures"].items():
        lines += ["", f"Not measured: {name}. {why.splitlines()[0]}"]
    for problem in summary["disagreements"]:
        lines += ["", f"**Not the same work:** {problem}"]
    return "\n".join(lines)


def _setting(summary: dict[str, Any]) -> str:
    commit, *changes = summary["commit"].split(" ", 1)
    return (
        f"`{summary['preset']}`: {summary['parameters']:,} parameters, {summary['precision']},"
        f" {summary['sequences_per_step']} × {summary['seq_len']:,} tokens a step, micro-batches of"
        f" {summary['micro_batch_size']}; {summary['steps']} steps after {summary['warmup_steps']}"
        f" of warm-up, {summary['rounds']} rounds in turns; {summary['hardware']}; commit"
        f" {' '.join([commit[:12], *changes])}."
    )


def _row(each: dict[str, Any]) -> str:
    speed, start = each["tokens_per_second"], each["first_step_seconds"]["median"]
    cold = each["cold_first_step_seconds"]
    return (
        f"| {each['title']} | {speed['median']:,.0f} | {speed['min']:,.0f} to {speed['max']:,.0f}"
        f" | {each['peak_bytes']['median'] / 2**20:,.0f} | {start:.1f}"
        f" | {'' if cold is None else f'{cold:.1f}'}"
        f" | {each['first_loss']:.4f} → {each['last_loss']:.4f} |"
    )


def _goal_row(goal: dict[str, Any]) -> str:
    words = {"tokens_per_second": "speed", "peak_bytes": "memory", "first_step_seconds": "start"}
    ratio = goal["ratio"]
    theirs = (
        goal["theirs"][0] if len(goal["theirs"]) == 1 else f"best of {', '.join(goal['theirs'])}"
    )
    return (
        f"| {words[goal['what']]}: {goal['ours']} against {theirs} | ≥ {goal['at_least']:g}"
        f" | {ratio['median']:.2f} | {ratio['min']:.2f} to {ratio['max']:.2f}"
        f" | {'reached' if goal['reached'] else 'missed'} |"
    )


def write(summary: dict[str, Any], stem: Path) -> None:
    """Writes the summary as JSON, as Markdown and as a figure."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{stem}.json").write_text(json.dumps(summary, indent=1) + "\n")
    Path(f"{stem}.md").write_text(markdown(summary) + "\n")
    draw(summary, Path(f"{stem}.png"))


def draw(summary: dict[str, Any], path: Path) -> None:
    """Draws a bar per contender: speed, memory, and the time to the first step."""
    os.environ.setdefault("MPLCONFIGDIR", tempfile.gettempdir())
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    contenders = summary["contenders"]
    figure = Figure(figsize=(11, 1.6 + 0.34 * len(contenders)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3, sharey=True, width_ratios=[2, 1, 1])
    for axes, what in zip(panels, UNITS, strict=True):
        _draw_bars(axes, contenders, what)
    panels[0].invert_yaxis()
    figure.suptitle(
        f"{summary['preset']} · {summary['precision']} · {summary['hardware']} ·"
        f" median of {summary['rounds']} rounds, line: smallest to largest",
        fontsize=9,
    )
    figure.savefig(path, format="png")


def _draw_bars(axes: Any, contenders: dict[str, Any], what: str) -> None:
    unit, scale = UNITS[what]
    for place, (name, each) in enumerate(contenders.items()):
        color, hatch = SHADES[CONTENDERS[name].family]
        values = {key: value / scale for key, value in each[what].items()}
        axes.barh(
            place, values["median"], color=color, hatch=hatch, edgecolor="#222222", linewidth=0.8
        )
        axes.plot([values["min"], values["max"]], [place, place], color="#111111", linewidth=2)
        text = f"{values['median']:,.1f}" if values["median"] < 100 else f"{values['median']:,.0f}"
        axes.annotate(
            text, (values["max"], place), xytext=(4, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(contenders)), [each["title"] for each in contenders.values()])
    axes.set_xlabel(unit)
    axes.margins(x=0.16, y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
