"""The verbs of `roots`, and which room answers each; nothing heavy is imported before that."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module

from roots.errors import ConfigError

VERBS = {
    "corpus": "make token shards of text: roots corpus --config configs/corpus/text.yaml",
    "fit": "train a model: roots fit --config configs/run/quickstart.yaml",
    "plan": "tell memory, time and what fits: roots plan --config FILE --gpus 8 --gpu H100-80GB",
    "profile": "tell where a training step's time and memory go: roots profile --config FILE",
    "validate": "measure a model on validation text: roots validate --run RUN",
    "test": "measure a model on test text: roots test --run RUN",
    "predict": "score every sequence: roots predict --run RUN",
    "generate": 'continue a text: roots generate --run RUN --prompt "…"',
    "fill": 'guess the hidden tokens of a text: roots fill --run RUN "the [MASK] sat"',
    "report": "draw a run as one page: roots report RUN",
    "list": "tell which runs there are, and how each is: roots list",
    "compare": "say how runs differ, in settings and in results: roots compare RUN RUN",
    "reproduce": "run a run again and say whether it is the same: roots reproduce RUN",
    "sweep": "try settings and tell the best: roots sweep configs/sweep/quickstart.yaml",
    "sync": "send a run that was tracked offline to W&B: roots sync RUN",
    "export": "write a Hugging Face folder: roots export --run RUN --to DIR",
}

ROOMS = {
    "plan": "roots.fit.planning:main",
    "report": "roots.evaluation.command:main",
    "corpus": "roots.evaluation.command:corpus",
    "generate": "roots.inference.command:main",
    "fill": "roots.inference.fill_command:main",
    "list": "roots.runs.command:main_list",
    "compare": "roots.evaluation.comparison.command:main",
    "reproduce": "roots.fit.reproduce.command:main",
    "sync": "roots.runs.command:main_sync",
    "sweep": "roots.sweeps.command:main",
    "export": "roots.deployment.command:main",
}
"""Who answers a verb that needs nothing done before."""

HELP = """\
roots: from raw text to a language model that is trained, measured and shipped

usage: roots <verb> [arguments]      roots <verb> --help tells the arguments

{verbs}

roots --version tells the version
"""


def run(args: list[str]) -> int:
    """Runs a command line without its program name; gives the exit code.

    Raises:
        RootsError: What the verb refuses.
    """
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP.format(verbs="\n".join(f"  {verb:<9} {words}" for verb, words in VERBS.items())))
        return 0
    if args[0] in ("-V", "--version"):
        import roots

        print(f"roots {roots.__version__}")
        return 0
    return _answers(args[0])(args[1:])


def _answers(verb: str) -> Callable[[list[str]], int]:
    if verb in ("fit", "validate", "test", "predict"):
        from roots.fit.command import main as fit

        return lambda rest: fit(verb, rest)
    if verb == "profile":
        # torch, when imported, reads whether to warn of memory that its profiler saw only released
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from roots.fit.profile.command import main as profile

        return profile
    if verb not in ROOMS:
        raise ConfigError(f"There is no verb {verb!r}. The verbs are {', '.join(VERBS)}.")
    room, _, function = ROOMS[verb].partition(":")
    answer: Callable[[list[str]], int] = getattr(import_module(room), function)
    return answer
