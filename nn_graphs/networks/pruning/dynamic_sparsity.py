"""Sparse from start to end: connections are dropped and grown while training, as many as there are.

SET (Mocanu et al., Nature Communications 2018) grows at random, RigL (Evci et al., ICML 2020) where
the gradient is largest. In both, each layer drops its smallest weights and grows as many, so that
its count stays. Weights that are grown start at zero; connections that were dropped in the same
moment may come back, and then keep their value, as in the published code of RigL.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.networks.pruning.amounts import Count, rounded
from nn_graphs.networks.pruning.attached_masks import (
    all_gradients,
    attach_masks,
    check_names,
    original_weights,
    prunable_names,
    pruning_masks,
)
from nn_graphs.networks.pruning.pruning import PruningReport, prune, report_on
from nn_graphs.networks.pruning.scoring import gradients
from nn_graphs.networks.pruning.simple_saliencies import RandomSaliency
from nn_graphs.networks.pruning.torch_masks import take_over

Growth = Literal["gradient", "random"]
Distribution = Literal["uniform", "erdos_renyi"]


def sparsify(
    module: nn.Module,
    density: float,
    *,
    distribution: Distribution = "erdos_renyi",
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> PruningReport:
    """Masks at random, before training, with an exact count of weights left.

    Args:
        module: in place.
        density: share of all named weights that is left.
        distribution: every layer that share ("uniform"), or shares in proportion to
            `sum(sizes) / prod(sizes)` of the weight's axes ("erdos_renyi", with kernels: ERK of
            Evci et al.), where none is above 1.
        names: as in `prune`.
        seed: of the masks.

    Raises:
        NNGraphsError: there is no such weight, or the density is no share.
    """
    asked = f"leave a share of {density} of a {type(module).__name__}'s weights"
    check_known(distribution, get_args(Distribution), asked=asked)
    if not 0 <= density <= 1:
        raise NNGraphsError(asked, found="it is none.", do="Give a number from 0 to 1.")
    take_over(module)
    names = prunable_names(module) if names is None else list(names)
    check_names(module, names, asked=asked)
    weights = original_weights(module, names)
    attach_masks(module, {n: torch.ones_like(w, dtype=torch.bool) for n, w in weights.items()})
    shapes = [tuple(weight.shape) for weight in weights.values()]
    for name, left in zip(names, _layer_counts(shapes, density, distribution), strict=True):
        amount = Count(weights[name].numel() - left)
        prune(module, amount, names=[name], saliency=RandomSaliency(seed + names.index(name)))
    return report_on(pruning_masks(module, names))


def _layer_counts(
    shapes: Sequence[tuple[int, ...]], density: float, distribution: Distribution
) -> list[int]:
    """How many weights every layer keeps: together exactly the density's number."""
    sizes = [math.prod(shape) for shape in shapes]
    scores = [1.0] * len(sizes)
    if distribution == "erdos_renyi":
        scores = [sum(shape) / math.prod(shape) for shape in shapes]
    total = rounded(density * sum(sizes))
    full: set[int] = set()
    while True:
        rest = total - sum(sizes[n] for n in full)
        free = [n for n in range(len(sizes)) if n not in full]
        scale = rest / sum(scores[n] * sizes[n] for n in free) if free else 0.0
        more = {n for n in free if scale * scores[n] > 1}
        if not more:
            break
        full |= more
    exact = [sizes[n] if n in full else scale * scores[n] * sizes[n] for n in range(len(sizes))]
    counts = [math.floor(value + 1e-9) for value in exact]
    by_rest = sorted(range(len(sizes)), key=lambda n: (counts[n] - exact[n], n))
    for n in [n for n in by_rest if counts[n] < sizes[n]][: total - sum(counts)]:
        counts[n] += 1
    return counts


@dataclass(frozen=True, eq=False)
class DynamicSparsity:
    """Changes masks while training; see `update`.

        sparsify(module, 0.05)
        rigl = DynamicSparsity(module, last_step=3000, optimizer=optimizer)
        for step, (inputs, labels) in enumerate(batches):
            loss_of = lambda: cross_entropy(module(inputs), labels)
            if rigl.is_due(step):
                rigl.update(step, loss_of)
            ...

    Attributes:
        module: with masks on it (`sparsify`).
        last_step: from there on masks stay.
        growth: "gradient" is RigL, "random" is SET.
        drop_share: of the weights of a layer.
        is_annealed: the share falls to 0 along a cosine, as published for RigL.
        every: steps between two changes.
        names: of masked weights; None: all of them.
        optimizer: its memory of weights that are grown is set to zero.
        seed: of what grows at random.
    """

    module: nn.Module
    last_step: int
    growth: Growth = "gradient"
    drop_share: float = 0.3
    is_annealed: bool = True
    every: int = 100
    names: Sequence[str] | None = None
    optimizer: torch.optim.Optimizer | None = None
    seed: int = 0

    def __post_init__(self):
        asked = f"train a {type(self.module).__name__} with changing connections"
        check_known(self.growth, get_args(Growth), asked=asked)
        if not (0 <= self.drop_share <= 1 and self.every > 0 and self.last_step > 0):
            found = f"drop_share is {self.drop_share}, every {self.every}, last_step "
            do = "Give a share from 0 to 1, and numbers of steps."
            raise NNGraphsError(asked, found=f"{found}{self.last_step}.", do=do)
        if self.names is not None:
            check_names(self.module, self.names, asked=asked)
        elif not pruning_masks(self.module):
            raise NNGraphsError(
                asked, found="it has no masks.", do="Call sparsify(module, density) before."
            )

    def is_due(self, step: int) -> bool:
        return 0 < step < self.last_step and step % self.every == 0

    def share(self, step: int) -> float:
        """Which share of a layer's weights changes at a step."""
        if not self.is_annealed:
            return self.drop_share
        return self.drop_share / 2 * (1 + math.cos(math.pi * step / self.last_step))

    def update(self, step: int, loss_of: Callable[[], Tensor] | None = None) -> int:
        """Drops and grows, and says how many connections are new.

        Args:
            step: of training; whether it `is_due` is not asked here.
            loss_of: computes the loss; needed for growth by gradients.

        Raises:
            NNGraphsError: the loss is missing, or its gradients are NaN.
        """
        masks = pruning_masks(self.module, self.names)
        weights = original_weights(self.module, list(masks))
        scores = self._growth_scores(step, weights, loss_of)
        num_new, changed = 0, {}
        for name, mask in masks.items():
            number = math.floor(self.share(step) * int(mask.sum()))
            changed[name] = _moved(mask, weights[name].detach(), scores[name], number)
            is_new = changed[name] & ~mask
            num_new += int(is_new.sum())
            self._start_at_zero(weights[name], is_new)
        attach_masks(self.module, changed)
        return num_new

    def _growth_scores(
        self,
        step: int,
        weights: dict[str, nn.Parameter],
        loss_of: Callable[[], Tensor] | None,
    ) -> dict[str, Tensor]:
        if self.growth == "random":
            return RandomSaliency(1_000_003 * (self.seed + 1) + step)(self.module, list(weights))
        asked = "grow connections by gradients"
        if loss_of is None:
            do = "Pass a function that computes it: update(step, lambda: loss(module(x), y))."
            raise NNGraphsError(asked, found="there is no loss.", do=do)
        with all_gradients(self.module):
            found = gradients(loss_of(), weights)
        scores = dict(zip(weights, (gradient.abs() for gradient in found), strict=True))
        bad = [name for name, values in scores.items() if values.isnan().any()]
        if bad:
            raise NNGraphsError(
                asked, found=f"those of {bad[0]} are NaN.", do="Lower the learning rate."
            )
        return scores

    @torch.no_grad()
    def _start_at_zero(self, weight: nn.Parameter, is_new: Tensor) -> None:
        weight[is_new] = 0.0
        if self.optimizer is not None:
            for memory in self.optimizer.state.get(weight, {}).values():
                if isinstance(memory, Tensor) and memory.shape == weight.shape:
                    memory[is_new] = 0.0


def _moved(mask: Tensor, weight: Tensor, scores: Tensor, number: int) -> Tensor:
    """A mask without its smallest weights, and with as many that have the largest scores."""
    new = mask.flatten().clone()
    places = new.nonzero()[:, 0]
    order = weight.flatten()[places].abs().sort(stable=True).indices
    new[places[order[:number]]] = False
    places = (~new).nonzero()[:, 0]
    order = scores.flatten().to(new.device)[places].sort(stable=True, descending=True).indices
    new[places[order[:number]]] = True
    return new.view(mask.shape)
