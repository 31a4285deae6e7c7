"""A learned update as a torch optimizer, for any module.

    optimizer = LearnedOptimizer(module, "optimizer.safetensors")

It is used as any other: parameter groups, schedules of `lr` (a factor on learned steps, 1 as they
were learned), `state_dict`. Updates that read parameters one by one take each tensor by itself;
updates that read neural graphs trace the module, and need `example_inputs` for that.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.tracing import trace
from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.learned_optimizers.update_files import load_update
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot

logger = logging.getLogger(__name__)
BETAS, EPS = (0.9, 0.999), 1e-8  # of Adam, where it stands in
SHOWN_NAMES = 5


class LearnedOptimizer(torch.optim.Optimizer):
    """Moves a module's parameters by a learned update.

    Steps whose gradients are not all finite are skipped as a whole, as gradient scaling for mixed
    precision does; the first one is told, `num_skipped` counts them. Parameters that the graph of
    the module does not show are moved by Adam, which is told once.

    Args:
        module: whose parameters are trained.
        path: of a file of `save_update`, or `shipped_update()`.
        example_inputs: what the module's `forward` takes, for updates that read its graph.
        param_groups: dictionaries with `params` and settings of their own, as any torch optimizer
            takes them; None: one group of all parameters that require gradients.
        lr: factor on all steps.
        weight_decay: what is taken off the parameters in each step, times `lr`, as in AdamW.
        adam_lr: learning rate where Adam stands in, times `lr`.

    Raises:
        NNGraphsError: the file is no learned update; the module cannot be traced; a parameter is
            not one of the module; a setting is negative. (step) Parameters are not finite.
    """

    def __init__(
        self,
        module: nn.Module,
        path: str | Path,
        *,
        example_inputs: Tensor | tuple[Tensor, ...] | None = None,
        param_groups: Iterable[Mapping[str, Any]] | None = None,
        lr: float = 1.0,
        weight_decay: float = 0.0,
        adam_lr: float = 1e-3,
    ):
        self.update, self._weights = load_update(path)
        self.num_skipped = 0
        self._tensors = dict([*module.named_parameters(), *module.named_buffers()])
        self._names = {value: name for name, value in self._tensors.items()}
        self._optimizee = None
        if not self.update.model.is_local:
            self._optimizee = _traced(module, example_inputs)
        if param_groups is None:
            param_groups = [{"params": [p for p in module.parameters() if p.requires_grad]}]
        defaults = {"lr": lr, "weight_decay": weight_decay, "adam_lr": adam_lr}
        super().__init__([dict(group) for group in param_groups], defaults)
        self._tell_of_adam()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Another group of the module's parameters, as for any torch optimizer.

        Raises:
            NNGraphsError: a parameter is not one of the module, or a setting is negative.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        settings = {name: group[name] for name in ("lr", "weight_decay", "adam_lr")}
        foreign = [p for p in group["params"] if p not in self._names]
        if foreign or min(settings.values()) < 0:
            shapes = ", ".join(str(list(p.shape)) for p in foreign)
            self.param_groups.pop()
            raise NNGraphsError(
                "train a group of parameters by a learned optimizer",
                found=f"those of the shapes {shapes} are not of the module."
                if foreign
                else f"its settings are {settings}.",
                do="Give parameters of the module, and settings of at least 0.",
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One step; see the class for gradients that are not finite.

        Args:
            closure: evaluates the loss again, and its gradients; its value is returned.

        Raises:
            NNGraphsError: a parameter is not finite, so that no later gradient will be either.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        group_of = {p: group for group in self.param_groups for p in group["params"]}
        moved = [p for p in group_of if p.grad is not None and p.numel()]
        if not all(bool(p.grad.isfinite().all()) for p in moved):
            self._skip(moved)
            return loss
        learned = [p for p in moved if not self._is_left_to_adam(p)]
        changes = self._changes_of_all(learned) if self._optimizee else self._changes(learned)
        changes |= {p: self._adam_change(p) for p in moved if self._is_left_to_adam(p)}
        for p, change in changes.items():
            lr, decay = group_of[p]["lr"], group_of[p]["weight_decay"]
            is_adam = self._is_left_to_adam(p)
            if decay:
                p.mul_(1 - lr * decay * (group_of[p]["adam_lr"] if is_adam else 1.0))
            p.sub_((lr * (group_of[p]["adam_lr"] if is_adam else 1.0) * change).to(p.dtype))
        return loss

    def _changes(self, params: list[Tensor]) -> dict[Tensor, Tensor]:
        """What is taken off each parameter, tensor by tensor."""
        found = {}
        for p in params:
            slot = ParameterSlot(self._names[p], tuple(p.shape), 0)
            optimizee = Optimizee(ParameterLayout((slot,)))
            change, remembered = self._stepped(
                optimizee, _row(p), _row(p.grad), self._remembered(p), self.state[p]["step"]
            )
            found[p] = change.view(p.shape)
            self._remember(p, remembered)
        return found

    def _changes_of_all(self, params: list[Tensor]) -> dict[Tensor, Tensor]:
        """The same by the graph of the whole module; tensors that stay have no gradient."""
        if not params:
            return {}
        slots, size = self._optimizee.layout.slots, self.update.num_states
        moved = set(params)
        tensors = [self._tensors[slot.name] for slot in slots]
        values = torch.cat([_row(tensor) for tensor in tensors], 1)
        gradients = torch.cat(
            [_row(t.grad) if t in moved else torch.zeros_like(_row(t)) for t in tensors], 1
        )
        state = [part for t in tensors for part in self._remembered(t, is_kept=t in moved)]
        step = torch.stack([self.state[p]["step"] for p in params]).max()
        change, after = self._stepped(self._optimizee, values, gradients, tuple(state), step)
        found = {}
        for number, (slot, tensor) in enumerate(zip(slots, tensors, strict=True)):
            if tensor in moved:
                found[tensor] = change[:, slot.offset : slot.stop].view(tensor.shape)
                self._remember(tensor, after[number * size : (number + 1) * size])
        return found

    def _stepped(
        self, optimizee: Optimizee, values: Tensor, gradients: Tensor, state: tuple, step: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self._weights.device != values.device:
            self._weights = self._weights.to(values.device)
        weights = self._weights.to(values.dtype).unsqueeze(0)
        steps = step.to(values.device, torch.int32).reshape(1)
        after, state = self.update.step(weights, optimizee, values, gradients, state, steps)
        return values - after, state

    def _remembered(self, tensor: Tensor, *, is_kept: bool = True) -> tuple[Tensor, ...]:
        """What is remembered of a tensor, in the shapes of a stack of one network."""
        if is_kept and "remembered" in self.state[tensor]:
            return tuple(self.state[tensor]["remembered"])
        values = tensor.detach().to(_computed(tensor)).unsqueeze(0)
        fresh = (*self.update.features.start(values), *self.update.form.start(values))
        if is_kept:
            self.state[tensor].update(step=torch.zeros(()), remembered=list(fresh))
        return fresh

    def _remember(self, p: Tensor, remembered: tuple[Tensor, ...]) -> None:
        self.state[p]["remembered"] = list(remembered)
        self.state[p]["step"] = self.state[p]["step"] + 1

    def _adam_change(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if not state:
            first, second = torch.zeros_like(p), torch.zeros_like(p)
            state.update(step=torch.zeros(()), exp_avg=first, exp_avg_sq=second)
        state["step"] = state["step"] + 1
        state["exp_avg"].lerp_(p.grad, 1 - BETAS[0])
        state["exp_avg_sq"].lerp_(p.grad.square(), 1 - BETAS[1])
        count = state["step"].item()
        root = (state["exp_avg_sq"] / (1 - BETAS[1] ** count)).sqrt() + EPS
        return state["exp_avg"] / (1 - BETAS[0] ** count) / root

    def _is_left_to_adam(self, p: Tensor) -> bool:
        """Whether the graph of the module does not show it, or not all of it."""
        return self._optimizee is not None and self._names[p] in self._unshown

    def _tell_of_adam(self) -> None:
        """Finds, and names once, what Adam moves."""
        self._unshown = set()
        if self._optimizee is None:
            return
        shown = self._optimizee.template.is_shown
        layout = self._optimizee.layout
        unshown = [s for s in layout.slots if not shown[s.offset : s.stop].all()]
        self._unshown = {name for slot in unshown for name in (slot.name, *slot.aliases)}
        names = [self._names[p] for group in self.param_groups for p in group["params"]]
        left = [name for name in names if name in self._unshown]
        if left:
            more = ", ..." if len(left) > SHOWN_NAMES else ""
            logger.warning(
                "%d of %d tensors are not in the module's graph, and are moved by Adam: %s%s.",
                len(left),
                len(names),
                ", ".join(left[:SHOWN_NAMES]),
                more,
            )

    def _skip(self, params: list[Tensor]) -> None:
        """Counts a step that is left out; says so the first time.

        Raises:
            NNGraphsError: a parameter is not finite either.
        """
        broken = [self._names[p] for p in params if not bool(p.isfinite().all())]
        if broken:
            raise NNGraphsError(
                "go on with a training by a learned optimizer",
                found=f"{len(broken)} tensors hold NaN or infinity, the first is {broken[0]}.",
                do="Begin again from finite parameters, with a smaller lr.",
            )
        if not self.num_skipped:
            logger.warning(
                "Gradients hold NaN or infinity; this step is skipped, and others like it."
            )
        self.num_skipped += 1


def _traced(module: nn.Module, example_inputs: Tensor | tuple[Tensor, ...] | None) -> Optimizee:
    if example_inputs is None:
        raise NNGraphsError(
            "train a module by an optimizer that reads its neural graph",
            found="nothing tells what the module is called with.",
            do="Give example_inputs, e.g. a batch, or a learned optimizer without a graph.",
        )
    template = trace(module, example_inputs)
    return Optimizee(template.parameters, template)


def _computed(tensor: Tensor) -> torch.dtype:
    """In what is computed: single precision for halves."""
    return torch.promote_types(tensor.dtype, torch.float32)


def _row(tensor: Tensor) -> Tensor:
    return tensor.detach().to(_computed(tensor)).reshape(1, -1)
