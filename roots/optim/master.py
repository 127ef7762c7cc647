"""Float32 master weights for a network that is held in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from roots.errors import CheckpointError
from roots.optim.clipping import divided, local
from roots.optim.groups import check_group_names
from roots.optim.skipping import left_out


class MasterWeights(Optimizer):
    """Lets an optimizer work on float32 copies of low-precision parameters.

    In bfloat16 a step smaller than 1/256 of a weight is lost; the copy keeps it. After each step
    the parameters are the copies, rounded. Copies and moments are in the checkpoint. Gradients are
    clipped in float32 too.

    Args:
        inner: The optimizer, built over the parameters; its groups are pointed to the copies.

    Source:
        Micikevicius et al., arXiv:1710.03740, section 3.1.
    """

    takes_grad_scale = True
    grad_scale: Tensor | None = None
    found_inf: Tensor | None = None

    def __init__(self, inner: Optimizer) -> None:
        self.inner = inner
        self._pairs: list[tuple[torch.Tensor, torch.Tensor]] = []  # parameter, its float32 copy
        super().__init__([p for g in inner.param_groups for p in g["params"]], inner.defaults)
        for group in inner.param_groups:
            group["params"] = [self._copy(parameter) for parameter in group["params"]]
        kept = dict(inner.state)  # Adagrad's, which are there before the first step
        for parameter, copy in self._pairs if kept else ():
            own = inner.state.pop(parameter, {})
            inner.state[copy] = {name: _in_float32(value) for name, value in own.items()}
        # one list for both, so that a rate set on this optimizer is the inner one's rate
        self.param_groups = inner.param_groups

    def _copy(self, parameter: torch.Tensor) -> torch.Tensor:
        copy = parameter.detach().clone().float()
        self._pairs.append((parameter, copy))
        return copy

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Steps the copies with the parameters' gradients and rounds them back."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        for parameter, copy in self._pairs:
            copy.grad = None if parameter.grad is None else parameter.grad.float()
        with divided(self.inner, self.grad_scale), left_out(self.inner, self.found_inf):
            self.inner.step()
        parameters, copies = zip(*self._pairs, strict=True)
        torch._foreach_copy_([local(p) for p in parameters], [local(c) for c in copies])
        for copy in copies:
            copy.grad = None
        return result

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the parameters' gradients."""
        for parameter, _ in self._pairs:
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Gives the inner optimizer's state with each parameter's copy in it."""
        state = self.inner.state_dict()
        states = {  # new dictionaries: torch hands out its own
            index: {**state["state"].get(index, {}), "master": copy}
            for index, (_, copy) in enumerate(self._pairs)
        }
        return {**state, "state": states}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Brings copies and inner state back, and sets the parameters to the rounded copies.

        Raises:
            CheckpointError: It is the state of other groups, or has no copies.
        """
        check_group_names(self, state_dict)
        states = {int(k): dict(v) for k, v in state_dict["state"].items()}
        missing = sum("master" not in states.get(n, {}) for n in range(len(self._pairs)))
        if missing:
            raise CheckpointError(
                f"The checkpoint has no float32 copy of {missing:,} of {len(self._pairs):,}"
                " low-precision parameters: its run had another precision. Set trainer.precision to"
                " that run's, or start a new run."
            )
        for index, (parameter, copy) in enumerate(self._pairs):
            copy.copy_(states[index].pop("master"))
            parameter.copy_(copy)
        self.inner.load_state_dict({**state_dict, "state": {k: v for k, v in states.items() if v}})
        self.param_groups = self.inner.param_groups


def _in_float32(value: Any) -> Any:
    low = isinstance(value, torch.Tensor) and value.is_floating_point() and value.itemsize < 4
    return value.float() if low else value


@torch.no_grad()
def without_masters(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Writes copies that a run with weights of fewer bits kept into the weights of this one.

    Args:
        optimizer: Its parameters have as many bits as the copies.
        state_dict: A saved state, of tensors that are cut as the parameters are.

    Returns:
        The state without the copies.
    """
    keys = [key for group in state_dict["param_groups"] for key in group["params"]]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    states = {key: dict(own) for key, own in state_dict["state"].items()}
    for key, parameter in zip(keys, parameters, strict=True):
        if (copy := states.get(key, {}).pop("master", None)) is not None:
            local(parameter).copy_(local(copy))
    return {**state_dict, "state": states}
