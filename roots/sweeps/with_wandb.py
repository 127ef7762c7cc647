"""The W&B engine: registers the sweep file with W&B, and starts agents that ask it for trials."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from roots.callbacks.stop_signals import Interrupted
from roots.errors import ConfigError, TrainingError
from roots.sweeps.checks import refuse_secrets
from roots.sweeps.definition import OWN_KEYS, Definition
from roots.sweeps.places import environment_of
from roots.sweeps.reading import NUMBERS

DEFAULT_COMMAND = ("${env}", "${interpreter}", "-m", "roots", "fit", "${args}")


def wandb_file(definition: Definition, n_trials: int = 0) -> dict[str, Any]:
    """Gives the sweep file as W&B takes it: without our own keys, and with the whole command.

    Nested parameters get their dotted names, so that each value is a flag, which every rank of a
    trial sees.

    Args:
        definition: The sweep.
        n_trials: How many trials; 0 is as the sweep file says.

    Raises:
        ConfigError: The sweep asks for what W&B's engine does not do, or would tell a secret.
    """
    refuse_secrets(definition.given, "W&B would be told")
    for key in ("seeds", "folds"):
        if getattr(definition, key):
            raise ConfigError(
                f"{key}: W&B's engine has one run per trial, and knows no mean of several. Leave"
                f" {key} out for --wandb, or run the sweep here, without it."
            )
    if "draw_seed" in definition.given:
        raise ConfigError(
            f"draw_seed={definition.draw_seed}: W&B's engine draws by a seed of its own. Leave"
            " draw_seed out for --wandb, or run the sweep here, without it."
        )
    given = {k: v for k, v in definition.given.items() if k not in OWN_KEYS}
    ours = [f"--config={name}" for name in definition.given["config"]]
    ours += [f"--name={definition.name}", "--trainer.wandb=true", "--trainer.progress=false"]
    command: list[str] = []
    for word in definition.command or DEFAULT_COMMAND:
        command += [*ours, word] if word == "${args}" else [word]
    metric = {
        "name": definition.metric.name,
        "goal": "maximize" if definition.metric.maximize else "minimize",
    }
    target = definition.metric.target
    return {
        **given,
        "program": "roots",
        "command": command,
        "metric": metric if target is None else {**metric, "target": target},
        "parameters": _flat(given["parameters"]),
        **({"run_cap": n_trials or definition.run_cap} if n_trials or definition.run_cap else {}),
    }


def register(definition: Definition, n_trials: int = 0) -> str:
    """Registers a sweep with W&B; gives its path, entity/project/id.

    Raises:
        ConfigError: No key is set, or W&B refuses the sweep.
    """
    import wandb

    content = wandb_file(definition, n_trials)
    project = definition.given.get("project") or os.environ.get("WANDB_PROJECT", "roots")
    entity = definition.given.get("entity") or os.environ.get("WANDB_ENTITY")
    try:
        name = wandb.sweep(content, entity=entity, project=project)
    except (wandb.errors.Error, ValueError) as error:
        raise ConfigError(
            f"W&B did not take the sweep: {error} Check the key (wandb login, or WANDB_API_KEY) and"
            " WANDB_MODE, or run the sweep here, without --wandb."
        ) from error
    entity = entity or wandb.Api().default_entity
    return "/".join(part for part in (entity, project, name) if part)


def run_agents(
    path: str,
    *,
    workers: int,
    gpus_per_trial: int,
    say: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Starts agents on this machine, and waits until they end.

    Args:
        path: The sweep's, entity/project/id.
        workers: How many agents.
        gpus_per_trial: GPUs of each; 0 lets all see all.
        say: Shows a line to whoever watches.
        environment: What theirs starts from; None is this process's.

    Raises:
        Interrupted: They were asked to stop.
        TrainingError: An agent went wrong.
    """
    agents = [
        subprocess.Popen(
            agent_command(path, sys.executable),
            env=_with_this_python(environment_of(n, workers, gpus_per_trial, environment)),
            start_new_session=True,
        )
        for n in range(workers)
    ]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        codes = [agent.wait() for agent in agents]
    except KeyboardInterrupt:
        say("stopping: each trial writes a checkpoint")
        _end(agents)
        raise Interrupted(f"The agents were stopped. Go on with: {_typed(path)}") from None
    finally:
        signal.signal(signal.SIGTERM, before)
    if any(codes):
        raise TrainingError(f"An agent ended with exit code {max(codes, key=abs)}; see above.")


def agent_command(path: str, interpreter: str = "") -> list[str]:
    """Gives the command of an agent, as it is pasted, or for an interpreter."""
    words = [interpreter, "-m", "wandb"] if interpreter else ["wandb"]
    return [*words, "agent", "--forward-signals", path]


def _typed(path: str) -> str:
    return " ".join(agent_command(path))


def _end(agents: Sequence[subprocess.Popen[bytes]]) -> None:
    """Asks agents to end their trials politely, and waits."""
    for agent in agents:
        if agent.poll() is None:
            agent.send_signal(signal.SIGTERM)
    for agent in agents:
        agent.wait()


def _with_this_python(environment: dict[str, str]) -> dict[str, str]:
    """Lets W&B's `${interpreter}`, which is `python`, be the one that runs this."""
    here = str(Path(sys.executable).parent)
    return {**environment, "PATH": os.pathsep.join([here, environment.get("PATH", "")])}


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Gives parameters their dotted names; numbers that YAML reads as texts become numbers."""
    flat: dict[str, Any] = {}
    for name, spec in table.items():
        if "parameters" in spec:
            flat |= _flat(spec["parameters"], f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = {k: _number(k, v) for k, v in spec.items()}
    return flat


def _number(key: str, value: Any) -> Any:
    if key == "probabilities":
        return [float(share) for share in value]
    return float(value) if key in NUMBERS and isinstance(value, str) else value
