"""Train `N` networks of one architecture at once, each with its own data and learning rate.

A chunk of networks small enough for the processor's cache is one stack that a single compiled step
moves on. A network that is done (its loss is low enough, or its steps are used up) leaves its slot
to the next one, so that the stack stays full and its shapes never change.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.compiling import CompiledIfPossible
from nn_graphs.networks.gradients import with_gradient
from nn_graphs.networks.optimizers import Coefficients, Optimizer, make_update, shared_coefficients
from nn_graphs.progress import Progress
from nn_graphs.threads import one_thread

LossFn = Callable[[Tensor, Tensor], Tensor]
"""`(params [N, num_params], data [N, ...]) -> losses [N]`, no network touching another's."""

CHECK_EVERY = 25  # steps between two looks at which networks are done


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba, ICLR 2015); the learning rate is one number or one per network."""

    learning_rate: float | Float[Tensor, "N"] = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def coefficients(self) -> Coefficients:
        """Of the formula in `nn_graphs.networks.optimizers`; numbers, the same for all networks."""
        return shared_coefficients(Optimizer("adam", betas=self.betas, eps=self.eps))


@dataclass(frozen=True)
class FittedNetworks:
    """What `fit_networks` returns.

    Attributes:
        params: `[N, num_params]`.
        losses: `[N]`, of exactly these parameters.
        num_steps: `[N]`, optimizer steps taken.
    """

    params: Float[Tensor, "N num_params"]
    losses: Float[Tensor, "N"]
    num_steps: Int[Tensor, "N"]


def fit_networks(
    loss_fn: LossFn,
    params: Float[Tensor, "N num_params"],
    data: Float[Tensor, "N ..."],
    *,
    num_steps: int,
    optimizer: Adam | None = None,
    stop_loss: float = 0.0,
    chunk_size: int = 16,
    is_compiled: bool = True,
    on_done: Callable[[Float[Tensor, "done"]], None] | None = None,
    progress: Progress | None = None,
) -> FittedNetworks:
    """Minimizes every network's own loss.

    A processor computes on one core meanwhile: steps of a stack that stays in its cache are too
    small to be divided. Fit parts of the networks in several processes (`nn_graphs.workers`).

    Args:
        loss_fn: losses of a stack; see `LossFn`.
        params: initial values, on the device to compute on.
        data: what each network is fitted to, on the same device.
        num_steps: optimizer steps of a network that does not stop before.
        optimizer: Adam with its settings.
        stop_loss: a network stops before the step at which its loss is at most this.
        chunk_size: networks that are trained together.
        is_compiled: compile the step; where that fails, it runs eagerly with a warning.
        on_done: called with the losses of networks as they get done.
        progress: shows that the step is being compiled.

    Raises:
        NNGraphsError: the chunk size is not positive.
    """
    if chunk_size < 1:
        raise NNGraphsError(
            f"fit {len(params)} networks",
            found=f"the chunk size is {chunk_size}.",
            do="Train at least one network at a time.",
        )
    stack = _Stack(
        params, data, num_steps=num_steps, chunk_size=chunk_size, optimizer=optimizer or Adam()
    )
    step = _make_step(
        loss_fn,
        stack.optimizer,
        stop_loss=params.new_tensor(stop_loss),
        num_steps=params.new_tensor(num_steps),
    )
    run = CompiledIfPossible(step, progress) if is_compiled else step
    with one_thread():
        while stack.is_busy:
            for _ in range(stack.advance_to_next_check()):
                run(*stack.slots)
            done_losses = stack.harvest()
            if on_done is not None and len(done_losses):
                on_done(done_losses)
    return stack.fitted


class _Slots(NamedTuple):
    """State of the networks in training, one row a slot; the compiled step writes into it."""

    params: Float[Tensor, "S num_params"]
    first_moment: Float[Tensor, "S num_params"]
    second_moment: Float[Tensor, "S num_params"]
    steps: Float[Tensor, "S"]
    is_active: Bool[Tensor, "S"]
    losses: Float[Tensor, "S"]
    learning_rate: Float[Tensor, "S"]
    data: Float[Tensor, "S ..."]


@dataclass
class _Stack:
    """The queue of all networks and the slots in which a chunk of them is trained."""

    params: Float[Tensor, "N num_params"]
    data: Float[Tensor, "N ..."]
    num_steps: int
    chunk_size: int
    optimizer: Adam
    _next: int = 0
    slots: _Slots = field(init=False)

    def __post_init__(self):
        num_networks, num_slots = len(self.params), min(self.chunk_size, len(self.params))
        rate = torch.as_tensor(self.optimizer.learning_rate, dtype=self.params.dtype)
        self._rates = rate.to(self.params.device).expand(num_networks)
        zeros = torch.zeros_like(self.params[:num_slots])
        row = zeros[:, 0]
        self.slots = _Slots(
            params=zeros.clone(),
            first_moment=zeros.clone(),
            second_moment=zeros.clone(),
            steps=row.clone(),
            is_active=torch.zeros_like(row, dtype=torch.bool),
            losses=row.clone(),
            learning_rate=row.clone(),
            data=torch.zeros_like(self.data[:num_slots]),
        )
        self._occupant = torch.full((num_slots,), -1)  # which network sits in a slot
        self._age = torch.zeros(num_slots, dtype=torch.long)
        self.fitted = FittedNetworks(
            params=torch.empty_like(self.params),
            losses=self.params.new_empty(num_networks),
            num_steps=torch.zeros(num_networks, dtype=torch.long, device=self.params.device),
        )
        self._fill(torch.arange(num_slots))

    @property
    def is_busy(self) -> bool:
        return bool((self._occupant >= 0).any())

    def advance_to_next_check(self) -> int:
        """Ages all networks up to the next look at them; returns by how many steps."""
        oldest = int(self._age[self._occupant >= 0].max())
        steps = min(CHECK_EVERY, self.num_steps + 1 - oldest)  # +1: the loss after the last step
        self._age += steps
        return steps

    def harvest(self) -> Float[Tensor, "done"]:
        """Takes out the networks that are done, puts the next ones in; returns their losses."""
        is_done = (self._occupant >= 0) & ~self.slots.is_active.cpu()
        places = is_done.nonzero().squeeze(1)
        networks = self._occupant[places].to(self.params.device)
        slots = places.to(self.params.device)
        self.fitted.params[networks] = self.slots.params[slots]
        self.fitted.losses[networks] = self.slots.losses[slots]
        self.fitted.num_steps[networks] = self.slots.steps[slots].long()
        losses = self.slots.losses[slots]  # a copy: the slots are filled again next
        self._fill(places)
        return losses

    def _fill(self, places: Int[Tensor, "free"]) -> None:
        coming = torch.arange(self._next, min(self._next + len(places), len(self.params)))
        self._next += len(coming)
        filled, idle = places[: len(coming)], places[len(coming) :]
        self._occupant[filled], self._occupant[idle] = coming, -1
        self._age[filled] = 0
        slots, networks = filled.to(self.params.device), coming.to(self.params.device)
        self.slots.params[slots] = self.params[networks]
        self.slots.data[slots] = self.data[networks]
        self.slots.learning_rate[slots] = self._rates[networks]
        self.slots.first_moment[slots] = 0
        self.slots.second_moment[slots] = 0
        self.slots.steps[slots] = 0
        self.slots.is_active[slots] = True


def _make_step(
    loss_fn: LossFn, optimizer: Adam, *, stop_loss: Float[Tensor, ""], num_steps: Float[Tensor, ""]
) -> Callable:
    """One step of a stack, written into its state.

    The two limits are tensors so that runs that differ in them share one compiled step.
    """
    coefficients, update = optimizer.coefficients(), make_update(is_adaptive=True)

    def total_loss(params: Tensor, data: Tensor):
        losses = loss_fn(params, data)
        return losses.sum(), losses

    gradient_fn = with_gradient(total_loss)

    def step(params, first, second, steps, is_active, losses, learning_rate, data):
        gradient, new_losses = gradient_fn(params, data)
        goes_on = is_active & (new_losses > stop_loss) & (steps < num_steps)
        moved, new_first, new_second = update(
            params,
            gradient,
            first,
            second,
            (steps + 1).unsqueeze(1),
            learning_rate.unsqueeze(1),
            coefficients,
        )
        params.copy_(torch.where(goes_on.unsqueeze(1), moved, params))
        first.copy_(new_first)
        second.copy_(new_second)
        losses.copy_(new_losses)
        steps.add_(goes_on)
        is_active.copy_(goes_on)

    return step
