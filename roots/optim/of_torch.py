"""Any optimizer of torch, or of whoever keeps to torch's form, by its name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from roots.errors import CheckpointError, ConfigError, first_line, nearest
from roots.optim.builder import OptimizerBuilder, check_not_negative
from roots.optim.groups import check_groups, kind_of, owned, parameter_groups
from roots.optim.master import without_masters

ON_SHARDS = (
    torch.optim.ASGD,
    torch.optim.Adadelta,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.SGD,
)
"""Those that step each value by itself, and were tested on parameters that are cut over ranks; so
was Rprop, whose step torch cannot make there."""

OURS = {"lr": "learning_rate", "weight_decay": "weight_decay"}
"""What is set beside `arguments`, by torch's name of it."""

OF_THE_DEVICE = ("fused", "capturable")
"""Arguments that not every device takes."""


class TorchOptimizer(OptimizerBuilder):
    """An optimizer that is named: one of `torch.optim`, or any class of that form.

    Clipping, the schedule, resuming and float32 master weights are as for the others. It is refused
    on sharded weights unless it is known to step each value by itself there (of torch: all but
    Adafactor, which looks at rows and columns, and Rprop).

    Args:
        name: The class: `SGD` or `torch.optim.SGD`; of another package, its whole path.
        learning_rate: Peak rate; the schedule scales it.
        weight_decay: Decay of the layers' matrices, as the class applies it (SGD and Adam add it to
            the gradient); norms, biases and embeddings have none.
        arguments: The constructor's others, by its own names: `{momentum: 0.9, nesterov: true}`.

    Raises:
        ConfigError: There is no such class, it has no such argument or refuses a value, or it asks
            for what a step does not give: a closure, sparse gradients, matrices alone.
    """

    def __init__(
        self,
        *,
        name: str,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        check_not_negative(learning_rate=learning_rate, weight_decay=weight_decay)
        self.name = name
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.arguments = dict(arguments or {})
        self._class = _class_named(name)
        self._check_arguments()
        self.works_sharded = self._class in ON_SHARDS
        optimizer, _ = self._stepped((3, 2), (3,))
        self._decays = "weight_decay" in optimizer.param_groups[0]
        self._check_group(optimizer.param_groups[0])

    @property
    def label(self) -> str:
        """What it is called in a message."""
        return f"{type(self).__name__} of {self._class.__name__}"

    def build(self, network: nn.Module) -> Optimizer:
        """Builds it over the two parameter groups.

        Raises:
            ConfigError: It does not run on the network's device, or with its parameters.
        """
        groups = parameter_groups(network, weight_decay=self.weight_decay)
        for group in groups:
            group["name"] = f"{group['name']}_{self._class.__name__.lower()}"
            if not self._decays:
                del group["weight_decay"]
        arguments = dict(self.arguments)
        cut = any(hasattr(p, "to_local") for group in groups for p in group["params"])
        if cut and "foreach" in self._parameters and not arguments.get("fused"):
            arguments.setdefault("foreach", False)  # they may be cut over several meshes
        optimizer = self._made(groups, arguments)
        optimizer.register_load_state_dict_pre_hook(self._checked)
        return optimizer

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """Gives a group's settings, the rate aside; what is not given is as the class has it."""
        defaults = {name: p.default for name, p in self._parameters.items() if name != "lr"}
        given = {name: v for name, v in {**defaults, **self.arguments}.items() if name in group}
        given.pop("foreach", None)  # how it computes is this device's, not the checkpoint's
        if self._decays:
            decayed = kind_of(group).startswith("decayed")
            given["weight_decay"] = self.weight_decay if decayed else 0.0
        return given

    def state_bytes(self, network: nn.Module) -> int:
        """Counts what a step leaves for each parameter, by steps of tiny ones."""
        parameters = [parameter for _, parameter in owned(network)]
        tried = {n: _PRIMES[:n] for n in {parameter.ndim for parameter in parameters}}
        kept = {n: self._kept_by(shape) for n, shape in tried.items()}
        return sum(
            size * prod(_grown(shape, tried[p.ndim], p.shape)) * max(p.dtype.itemsize, 4) // 4
            for p in parameters
            for shape, size in kept[p.ndim]
        )

    def _kept_by(self, shape: tuple[int, ...]) -> list[tuple[tuple[int, ...], int]]:
        """Lists the tensors that a step leaves for a parameter: shapes, and bytes of a value."""
        optimizer, first = self._stepped(shape, (3,))
        tensors = (value for value in optimizer.state[first].values() if isinstance(value, Tensor))
        return [(tuple(t.shape), t.dtype.itemsize) for t in tensors if t.ndim]

    def _stepped(self, *shapes: tuple[int, ...]) -> tuple[Optimizer, nn.Parameter]:
        """Makes one step of small parameters; gives the optimizer and the first of them."""
        tried = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
        groups = [{"params": [parameter]} for parameter in tried]
        safe = {name: v for name, v in self.arguments.items() if name not in OF_THE_DEVICE}
        optimizer = self._made(groups, safe)
        for parameter in tried:
            parameter.grad = torch.ones_like(parameter)
        try:
            optimizer.step()
        except Exception as error:  # whatever a class of somebody raises
            raise self._refused(error, "does not step a matrix and a vector") from error
        return optimizer, tried[0]

    def _made(self, groups: list[dict[str, Any]], arguments: Mapping[str, Any]) -> Optimizer:
        try:
            return self._class(groups, **{"lr": self.learning_rate, **arguments})
        except Exception as error:  # whatever a class of somebody raises
            raise self._refused(error, "refuses its arguments or parameters") from error

    def _refused(self, error: Exception, what: str) -> ConfigError:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items()) or "none"
        return ConfigError(
            f"{self.name} {what} (arguments: {given}): {first_line(error)} Correct"
            " model.optimizer.arguments, or take another optimizer; roots.optim has AdamW,"
            " AdamW8bit and Muon of its own."
        )

    @property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        """The constructor's arguments by name, without those that are no names."""
        found = list(inspect.signature(self._class).parameters.items())[1:]
        return {name: p for name, p in found if p.kind not in _NAMELESS}

    @property
    def _takes_any(self) -> bool:
        found = inspect.signature(self._class).parameters.values()
        return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found)

    def _check_arguments(self) -> None:
        for name in self.arguments:
            self._check_argument(name)
        if "lr" not in self._parameters and not self._takes_any:
            raise self._without_rate()
        if _asks_for_a_closure(self._class):
            raise ConfigError(
                f"{self.name} runs the network several times in each step (its step takes a"
                " closure), and a step of roots gives it the gradients of one pass. Take another"
                " optimizer, such as SGD with momentum."
            )

    def _check_group(self, group: dict[str, Any]) -> None:
        if "lr" not in group:
            raise self._without_rate()
        if self.weight_decay and not self._decays:
            raise ConfigError(
                f"{self.name} decays no weights, and weight_decay={self.weight_decay:g}. Set"
                " model.optimizer.weight_decay to 0."
            )

    def _without_rate(self) -> ConfigError:
        return ConfigError(
            f"{self.name} has no rate lr, by which a schedule sets that of each step."
            " Take another optimizer, or write a roots.optim.OptimizerBuilder of your own."
        )

    def _check_argument(self, name: str) -> None:
        if name in OURS:
            raise ConfigError(
                f"arguments.{name} is not set among the arguments. Set model.optimizer.{OURS[name]}"
                " in its place."
            )
        if name not in self._parameters and not self._takes_any:
            others = sorted(set(self._parameters) - set(OURS))
            raise ConfigError(
                f"{self.name} has no argument {name!r}{nearest(name, others)}; it has"
                f" {', '.join(others)}. Correct model.optimizer.arguments.{name}, or leave it out."
            )

    def _checked(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Refuses another optimizer's state, and one that lacks what these arguments ask for."""
        check_groups(optimizer, state_dict)
        state_dict = without_masters(optimizer, state_dict)
        saved = next((set(own) for own in state_dict["state"].values() if own), set())
        probe, first = self._stepped((3, 2), (3,))
        if saved and (missing := sorted(set(probe.state[first]) - saved)):
            raise CheckpointError(
                f"The checkpoint's {self._class.__name__} has no {', '.join(missing)}, which these"
                " arguments ask for: its state cannot be taken over. Set model.optimizer.arguments"
                " as the run was started, or start a new run."
            )
        ways = {n: optimizer.defaults[n] for n in ("foreach", "fused") if n in optimizer.defaults}
        groups = [{**group, **ways} for group in state_dict["param_groups"]]
        return {**state_dict, "param_groups": groups}


_NAMELESS = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
_PRIMES = (2, 3, 5, 7, 11, 13)
"""Axes of a parameter that is stepped to see what is kept: told apart, and no axis of length 1."""


def _grown(shape: tuple[int, ...], tried: tuple[int, ...], real: torch.Size) -> tuple[int, ...]:
    """Gives the shape of a state for a real parameter, from that for one that was tried."""
    if len(shape) == 1 and shape[0] == prod(tried):
        return (real.numel(),)
    grown = dict(zip(tried, real, strict=True))
    return tuple(grown.get(n, n) for n in shape)


def _class_named(name: str) -> type[Optimizer]:
    package, _, cls_name = (name if "." in name else f"torch.optim.{name}").rpartition(".")
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"model.optimizer.name is {name!r}, and {package} cannot be imported: {error}. Install"
            " or put on the Python path what defines it, or correct the name."
        ) from error
    cls = getattr(module, cls_name, None)
    if isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer:
        return cls
    offered = sorted(
        n
        for n, c in vars(module).items()
        if isinstance(c, type) and issubclass(c, Optimizer) and c is not Optimizer
    )
    what = "is no torch.optim.Optimizer" if cls is not None else "is not there"
    raise ConfigError(
        f"model.optimizer.name is {name!r}, which {what}{nearest(cls_name, offered)}. {package} has"
        f" {', '.join(offered) or 'none'}. Correct the name."
    )


def _asks_for_a_closure(cls: type[Optimizer]) -> bool:
    closure = inspect.signature(cls.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
