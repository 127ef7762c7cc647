"""Who is compared, and what is asked of the comparison: tables, to be added to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Contender:
    """One way to train the network of a preset.

    Args:
        title: How tables and figures call it.
        runner: The file that trains it, in a process of its own.
        environment: `here` (the Python that runs the comparison), or a name of environments.py.
        settings: What the runner takes beside the preset; each runner lists its keys.
        family: `roots`, `ablation` (roots with one piece off), `floor` (no framework), or `peer`.
        devices: Where it can run.
        follows: A contender whose attention it takes, whatever that chose.
        large_pages: Whether it is started as `roots fit` starts itself (roots/allocation.py).
    """

    title: str
    runner: str
    environment: str = "here"
    settings: dict[str, Any] = field(default_factory=dict)
    family: str = "peer"
    devices: tuple[str, ...] = ("cpu", "cuda")
    follows: str = ""
    large_pages: bool = False

    @property
    def words(self) -> str:
        """Says how it is run."""
        return f"{self.title}: {self.runner} {json.dumps(self.settings)}"


def _roots(
    title: str, family: str = "roots", large_pages: bool = True, **settings: Any
) -> Contender:
    """A line of roots; `attention` goes to the network, all else to `roots.modules.CausalLM`."""
    return Contender(
        title, "run_roots.py", settings=settings, family=family, large_pages=large_pages
    )


CONTENDERS = {
    # -- roots ---------------------------------------------------------------------------------
    "roots-network": _roots("roots, compile: network", compile="network"),
    "roots-blocks": _roots("roots, compile: blocks", compile="blocks"),
    "roots-none": _roots("roots, compile: none", compile="none"),
    # -- roots with one piece off ----------------------------------------------------------------
    "roots-network-plain-loss": _roots(
        "roots, network, loss: plain", "ablation", compile="network", loss="plain"
    ),
    "roots-network-sdpa": _roots(
        "roots, network, attention: sdpa", "ablation", compile="network", attention="sdpa"
    ),
    "roots-network-small-pages": _roots(
        "roots, network, glibc's own allocation", "ablation", large_pages=False, compile="network"
    ),
    "roots-blocks-plain-loss": _roots(
        "roots, blocks, loss: plain", "ablation", compile="blocks", loss="plain"
    ),
    "roots-none-plain-loss": _roots(
        "roots, none, loss: plain, attention: sdpa",
        "ablation",
        compile="none",
        loss="plain",
        attention="sdpa",
    ),
    # -- no framework ------------------------------------------------------------------------------
    "raw-ours": Contender(
        "raw loop, roots' loss, attention and compile: network",
        "run_raw.py",
        settings={"loss": "fused", "compile": "network"},
        family="floor",
        follows="roots-network",
        large_pages=True,
    ),
    "raw": Contender(
        "raw loop, eager", "run_raw.py", settings={"loss": "theirs", "compile": "none"}
    ),
    "raw-compiled": Contender(
        "raw loop, torch.compile",
        "run_raw.py",
        settings={"loss": "theirs", "compile": "network"},
    ),
    # -- trainers of others: at their defaults, and at their best documented settings --------
    "trainer": Contender("Hugging Face Trainer, defaults", "run_trainer.py", "trainer"),
    "trainer-compiled": Contender(
        "Hugging Face Trainer, torch_compile",
        "run_trainer.py",
        "trainer",
        settings={"torch_compile": True},
    ),
    "trainer-compiled-pages": Contender(
        "Hugging Face Trainer, torch_compile, roots' allocation",
        "run_trainer.py",
        "trainer",
        settings={"torch_compile": True},
        devices=("cpu",),
        large_pages=True,
    ),
    "trainer-liger": Contender(
        "Hugging Face Trainer, torch_compile, Liger kernels, TF32",
        "run_trainer.py",
        "trainer-liger",
        settings={
            "torch_compile": True,
            "use_liger_kernel": True,
            "tf32": True,
            "logging_nan_inf_filter": False,
            "dataloader_num_workers": 2,
        },
        devices=("cuda",),
    ),
    "litgpt": Contender("litgpt pretrain (it compiles)", "run_litgpt.py", "litgpt"),
    "litgpt-quiet": Contender(
        "litgpt pretrain, log_interval 10",
        "run_litgpt.py",
        "litgpt",
        settings={"log_interval": 10},
        devices=("cuda",),
    ),
}
"""By the name that `--only` takes."""


@dataclass(frozen=True)
class Goal:
    """What is asked of one contender against others.

    Args:
        what: `tokens_per_second`, `peak_bytes` or `first_step_seconds`.
        ours: A contender.
        theirs: Contenders; the best of them in a round is what counts.
        at_least: The smallest ratio of how good ours is to how good theirs is.
    """

    what: str
    ours: str
    theirs: tuple[str, ...]
    at_least: float


COMPILED_PEERS = ("trainer-compiled", "trainer-liger", "litgpt", "litgpt-quiet")
PEERS = ("raw", "raw-compiled", "trainer", *COMPILED_PEERS)

GOALS = (
    Goal("tokens_per_second", "roots-network", ("raw-ours",), 0.98),
    Goal("tokens_per_second", "roots-network", COMPILED_PEERS, 1.25),
    Goal("tokens_per_second", "roots-blocks", COMPILED_PEERS, 1.15),
    Goal("tokens_per_second", "roots-network", ("trainer",), 1.6),
    Goal("peak_bytes", "roots-network", PEERS, 1.0),
    Goal("peak_bytes", "roots-blocks", PEERS, 1.0),
    Goal("first_step_seconds", "roots-network", ("trainer-compiled",), 1.0),
    Goal("first_step_seconds", "roots-blocks", ("trainer-compiled",), 1.0),
    Goal("first_step_seconds", "roots-none", ("trainer",), 1.0),
)


def chosen(device: str, only: list[str]) -> list[str]:
    """Lists the contenders of a run, in the order of the table."""
    if only:
        return [name for name in CONTENDERS if name in only]
    return [name for name, contender in CONTENDERS.items() if device in contender.devices]
