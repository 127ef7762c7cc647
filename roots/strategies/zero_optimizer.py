"""What DeepSpeed holds in parts, as one optimizer over whole parameters.

It knows how release 0.19.8 keeps its parts: stages 1 and 2 cut one flat tensor per parameter group,
stage 3 cuts each parameter.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from roots.errors import CheckpointError, TrainingError
from roots.optim.groups import check_group_names

MOMENTS = ("exp_avg", "exp_avg_sq")
MASTER = "master"
"""As `MasterWeights` names the float32 copy of a parameter in its state."""


class ZeroOptimizer(Optimizer):
    """Steps what DeepSpeed holds in parts; its state goes in and out as that of whole parameters.

    That state has the form of torch's AdamW over the network (with `master`, that of
    `MasterWeights`), so that a checkpoint does not say how it was cut. DeepSpeed clips by the norm
    that it was configured with, and by the same formula as `roots.optim.clipped`.

    Args:
        deepspeed: The package.
        engine: Has the network, cut.
        parameters: Those of each parameter group, as the network has them.
    """

    takes_grad_scale = True
    grad_scale: Tensor | None = None  # the clipping that DeepSpeed does
    found_inf: Tensor | None = None

    def __init__(self, deepspeed: Any, engine: Any, parameters: list[list[nn.Parameter]]) -> None:
        self.deepspeed = deepspeed
        self.engine = engine
        self.inner: Any = engine.optimizer
        self.parameters = parameters
        super().__init__([{"params": group} for group in parameters], {})
        # one list for both, so that a rate set on this optimizer is the inner one's rate
        self.param_groups = self.inner.param_groups

    @property
    def cuts_parameters(self) -> bool:
        """Whether the parameters themselves are cut, as stage 3 does."""
        return int(self.engine.zero_optimization_stage()) == 3

    @property
    def keeps_masters(self) -> bool:
        """Whether float32 copies are stepped in place of the parameters."""
        return any(p.dtype.itemsize < 4 for group in self.parameters for p in group)

    # -- the step ------------------------------------------------------------------------------

    def norm(self) -> Float[Tensor, ""]:
        """Gives the Euclidean norm of all gradients; infinity where one is not finite."""
        if not self.cuts_parameters:
            norm: Tensor = self.inner.scaled_global_norm()
            return norm.float()
        norms = torch.stack([torch.as_tensor(n).float() for n in self.inner._get_norm_groups()])
        wrong = (norms < 0).any() | ~norms.isfinite().all()  # -1 stands for what is not finite
        norm = torch.linalg.vector_norm(norms)
        return norm.masked_fill(wrong, torch.inf)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Steps all parts, and brings the network's parameters after them.

        Raises:
            TrainingError: A gradient is not finite, so DeepSpeed left the step out.
        """
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        if self.found_inf is not None and self.found_inf.item():
            self._leave_out()
            return result
        self.engine.step()
        if self.inner.overflow:
            raise TrainingError(
                "A gradient was not finite, and DeepSpeed left the step out. Go on from the last"
                " checkpoint with a lower learning rate, or set trainer.on_non_finite to skip."
            )
        return result

    def _leave_out(self) -> None:
        """Forgets the gradients, as DeepSpeed does after an overflow."""
        inner = self.inner
        if self.cuts_parameters:
            inner._pre_step()
            inner._overflow_clean_up(1.0)
            return
        inner.micro_step_id = -1
        inner.zero_grad(set_to_none=True)
        if inner.cpu_offload:
            inner._offload_accumulated_param_ids = set()
            inner.reset_cpu_buffers()
            return
        for number in inner.averaged_gradients:
            inner.averaged_gradients[number] = None
            inner.all_grad_tensors[number] = None

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: ARG002
        """Forgets the parameters' gradients."""
        self.inner.zero_grad(set_to_none=True)

    # -- its state -----------------------------------------------------------------------------

    @property
    def _parts(self) -> list[Tensor]:
        """What this rank steps: a flat float32 tensor per group, or several of one in stage 3."""
        if self.cuts_parameters:
            return list(self.inner.fp32_partitioned_groups_flat)
        return list(self.inner.single_partition_of_fp32_groups)

    def gathered(
        self, *, keep: bool, to_host: Callable[[Tensor], Tensor] = Tensor.cpu
    ) -> dict[str, Any]:
        """Gathers the state of all parameters, one tensor after the other.

        Args:
            keep: Whether this rank wants it; others, which come here too, get nothing.
            to_host: How each tensor comes to the host.
        """
        own = self.inner.optimizer.state
        first: dict[str, Any] = next((own[part] for part in self._parts if own.get(part)), {})
        if first:
            self._link()
        names = [*(MOMENTS if first else ()), *((MASTER,) if self.keeps_masters else ())]
        states: dict[int, dict[str, Tensor]] = {}
        for number, parameter in enumerate(itertools.chain(*self.parameters)):
            whole = {name: self._whole(parameter, name) for name in names}
            if keep and whole:
                # each its own: an optimizer that is given one counter for all counts them all on it
                step = {"step": torch.tensor(float(first["step"]))} if first else {}
                states[number] = {**step, **{name: to_host(t) for name, t in whole.items()}}
        return {"state": states, "param_groups": self._plain_groups()} if keep else {}

    def _plain_groups(self) -> list[dict[str, Any]]:
        numbers = itertools.count()
        groups = []
        for group, parameters in zip(self.param_groups, self.parameters, strict=True):
            settings = {name: value for name, value in group.items() if name != "params"}
            groups.append({**settings, "params": list(itertools.islice(numbers, len(parameters)))})
        return groups

    def _whole(self, parameter: nn.Parameter, name: str) -> Tensor:
        utils = self.deepspeed.utils
        if name == MASTER:
            whole: Tensor = utils.safe_get_full_fp32_param(parameter)
        else:
            whole = utils.safe_get_full_optimizer_state(parameter, name)
        return whole

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Gives each rank its part of a state of whole parameters, whoever saved it.

        Raises:
            CheckpointError: It is the state of another optimizer or network, or lacks what this
                precision needs.
        """
        check_group_names(self, state_dict)
        states = {int(number): own for number, own in state_dict["state"].items()}
        needs = (*MOMENTS, MASTER) if self.keeps_masters else MOMENTS
        self._check(
            states, needs, sum(len(group["params"]) for group in state_dict["param_groups"])
        )
        if not states:
            return
        steps = next(iter(states.values()))["step"]
        for part in self._parts:
            step = torch.as_tensor(steps, dtype=torch.float32, device=part.device)
            moments = {name: torch.zeros_like(part) for name in MOMENTS}
            self.inner.optimizer.state[part] = {"step": step.clone(), **moments}
        self._link()
        for number, parameter in enumerate(itertools.chain(*self.parameters)):
            if number in states:  # else no gradient ever reached it, and its moments are zeros
                for name in needs:
                    self._place(parameter, name, states[number][name].float())

    def _link(self) -> None:
        """Tells each parameter which moments are its own.

        Stages 1 and 2 do so when their first group has stepped: the others have no moments then.
        """
        if not self.cuts_parameters:
            self.inner._hp_optimizer_states_linked = False
            self.inner._lazy_init_hp_params_optimizer_state()

    def _check(
        self, states: Mapping[int, Mapping[str, Any]], needs: tuple[str, ...], n_saved: int
    ) -> None:
        n_parameters = sum(len(group) for group in self.parameters)
        lacking = sum(not set(needs) <= states[n].keys() for n in states)
        if n_saved != n_parameters:
            raise CheckpointError(
                f"The checkpoint's optimizer has {n_saved:,} parameters, and this network has"
                f" {n_parameters:,}. Resume with the network that the run was started with."
            )
        if not self.keeps_masters and any(MASTER in own for own in states.values()):
            raise CheckpointError(
                "The checkpoint's optimizer keeps float32 copies of weights of fewer bits, which"
                " DeepSpeed does not take over in this precision. Set trainer.precision to that of"
                " the checkpoint's run, or go on under another strategy."
            )
        if lacking:
            raise CheckpointError(
                f"The checkpoint's optimizer lacks {', '.join(needs)} for {lacking:,} of"
                f" {len(states):,} parameters: its run had another optimizer or precision. Set"
                " trainer.precision and model.optimizer to that run's, or start a new run."
            )

    def _place(self, parameter: Any, name: str, whole: Tensor) -> None:
        utils = self.deepspeed.utils
        if self.cuts_parameters:
            n, rank = parameter.partition_numel(), torch.distributed.get_rank()
            mine = torch.zeros(n)  # the last rank's part is filled up
            found = whole.flatten()[rank * n : (rank + 1) * n]
            mine[: found.numel()] = found
            set_part, set_master = (
                utils.safe_set_local_optimizer_state,
                utils.safe_set_local_fp32_param,
            )
        else:
            mine = whole
            set_part, set_master = (
                utils.safe_set_full_optimizer_state,
                utils.safe_set_full_fp32_param,
            )
        if name == MASTER:
            set_master(parameter, mine)
        else:
            set_part(parameter, mine, name)
