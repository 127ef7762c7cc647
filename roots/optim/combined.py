"""Several optimizers as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from roots.optim.clipping import divided
from roots.optim.groups import check_groups
from roots.optim.master import without_masters
from roots.optim.skipping import left_out


class Combined(Optimizer):
    """Steps several optimizers, each with parameters of its own, as one.

    Its groups are theirs, so a rate that is set here is the rate of the part. Its saved state has
    torch's usual form, the parameters numbered through; each part loads its share in its own way,
    also where torch's distributed checkpoints name the parameters instead.

    Args:
        parts: Optimizers without a common parameter.
    """

    takes_grad_scale = True
    grad_scale: Tensor | None = None
    found_inf: Tensor | None = None

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    @property  # type: ignore[override]
    def state(self) -> Mapping[Tensor, dict[str, Any]]:
        """The state of each parameter, as its part keeps it."""
        return {key: value for part in self.parts for key, value in part.state.items()}

    @state.setter
    def state(self, _: Any) -> None:
        """Does nothing: torch's constructor sets it, and the parts keep theirs."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Steps the parts one after the other."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        for part in self.parts:
            with divided(part, self.grad_scale), left_out(part, self.found_inf):
                part.step()
        return result

    def state_dict(self) -> dict[str, Any]:
        """Gives the parts' states, their parameters numbered through."""
        whole: dict[str, Any] = {"state": {}, "param_groups": []}
        first = 0
        for part in self.parts:
            state = part.state_dict()
            whole["state"].update({first + key: value for key, value in state["state"].items()})
            for group in state["param_groups"]:
                numbers = [first + number for number in group["params"]]
                whole["param_groups"].append({**group, "params": numbers})
            first += sum(len(group["params"]) for group in part.param_groups)
        return whole

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Hands each part its share of a state.

        Raises:
            CheckpointError: It is the state of other groups.
        """
        check_groups(self, state_dict)
        state_dict = without_masters(self, state_dict)
        groups = list(state_dict["param_groups"])
        for part in self.parts:
            mine, groups = groups[: len(part.param_groups)], groups[len(part.param_groups) :]
            keys = {key for group in mine for key in group["params"]}
            state = {key: value for key, value in state_dict["state"].items() if key in keys}
            part.load_state_dict({"state": state, "param_groups": mine})
        self.param_groups = [group for part in self.parts for group in part.param_groups]
