"""Accuracy against density: one network, pruned in the ways of the literature and trained.

Magnitudes find lottery tickets: trained, pruned, rewound, again. Random masks, SNIP and synaptic
flow prune once, before training; RigL starts from random masks, which change while it is trained.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nn_graphs.errors import check_known
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.objectives import Scores
from nn_graphs.networks.classifiers.single import train_module
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.networks.pruning.amounts import Density
from nn_graphs.networks.pruning.attached_masks import pruning_masks
from nn_graphs.networks.pruning.dynamic_sparsity import DynamicSparsity, sparsify
from nn_graphs.networks.pruning.iterative_tickets import lottery_tickets
from nn_graphs.networks.pruning.loss_saliencies import Snip
from nn_graphs.networks.pruning.pruning import prune, prune_in_rounds
from nn_graphs.networks.pruning.simple_saliencies import RandomSaliency
from nn_graphs.networks.pruning.synaptic_flow import SynapticFlow

Method = Literal["magnitude", "random", "snip", "synaptic_flow", "rigl"]
FLOW_ROUNDS = 100  # as published
RIGL_STEPS = 0.75  # of training, in which masks change; as published
RIGL_UPDATES = 20  # about; the published ones, every 100 steps, are too few for short training


@dataclass(frozen=True, eq=False)
class SparseResult:
    """A trained network of one density.

    Attributes:
        density: that was asked for.
        num_left: weights.
        test_accuracy, train_accuracy: from 0 to 1.
        masks: by names.
    """

    density: float
    num_left: int
    test_accuracy: float
    train_accuracy: float
    masks: dict[str, Tensor]


def density_curve(
    make: Callable[[], nn.Module],
    data: LabelledData,
    recipe: Recipe,
    plan: Plan,
    *,
    method: Method,
    densities: Sequence[float],
) -> Iterator[SparseResult]:
    """Trains a network at each of some densities.

    Args:
        make: the untrained network: the same each time for results to be compared.
        data: on the network's device.
        recipe, plan: of every training, as in `train_module`; masks are drawn by the recipe's seed.
        method: how it is pruned.
        densities: falling, of all weights of two axes or more together.

    Raises:
        NNGraphsError: there is no such method, or a density is no share.
    """
    check_known(method, get_args(Method), asked=f"prune by the method {method!r}")
    if method == "magnitude":
        yield from _ticket_curve(make(), data, recipe, plan, densities)
        return
    for density in densities:
        module = make()
        before_step = _mask(module, data, recipe, plan, method, density)
        scores = train_module(module, data, recipe, plan, before_step=before_step)
        yield _result(density, pruning_masks(module), scores)


def _ticket_curve(
    module: nn.Module,
    data: LabelledData,
    recipe: Recipe,
    plan: Plan,
    densities: Sequence[float],
) -> Iterator[SparseResult]:
    """Each ticket is trained once: for its own score, and to find the next one."""
    waiting = None

    def train(own: nn.Module) -> Scores:
        return train_module(own, data, recipe, plan)

    for density, ticket in zip(densities, lottery_tickets(module, train, densities), strict=True):
        if waiting is not None:
            yield _result(*waiting, ticket.trained)
        waiting = density, ticket.masks
    if waiting is not None:
        yield _result(*waiting, train(module))


def _mask(
    module: nn.Module,
    data: LabelledData,
    recipe: Recipe,
    plan: Plan,
    method: Method,
    density: float,
) -> Callable[[int, Tensor, Tensor], object] | None:
    """Prunes before training; what is to be done before each step, if anything."""
    if method == "random":
        prune(module, Density(density), saliency=RandomSaliency(recipe.seed))
    elif method == "snip":
        generator = torch.Generator().manual_seed(recipe.seed)
        places = torch.randperm(data.num_train, generator=generator)[: 10 * plan.batch_size]
        batches = list(data.batches(places, plan.batch_size))
        prune(module, Density(density), saliency=Snip(batches))
    elif method == "synaptic_flow":
        flow = SynapticFlow(data.take(torch.zeros(1, dtype=torch.long, device=data.device)))
        prune_in_rounds(module, density, saliency=flow, num_rounds=FLOW_ROUNDS)
    else:
        sparsify(module, density, seed=recipe.seed)
        return _rigl(module, data, recipe, plan)
    return None


def _rigl(
    module: nn.Module, data: LabelledData, recipe: Recipe, plan: Plan
) -> Callable[[int, Tensor, Tensor], object]:
    num_seen = int(recipe.train_fraction * data.num_train)
    num_steps = plan.num_epochs * max(1, num_seen // plan.batch_size)
    last_step = max(1, int(RIGL_STEPS * num_steps))
    sparse = DynamicSparsity(module, last_step, every=max(1, last_step // RIGL_UPDATES))

    def before_step(step: int, inputs: Tensor, labels: Tensor) -> None:
        if sparse.is_due(step):
            sparse.update(step, lambda: F.cross_entropy(module(inputs), labels))

    return before_step


def _result(density: float, masks: dict[str, Tensor], scores: Scores) -> SparseResult:
    num_left = sum(int(mask.sum()) for mask in masks.values())
    accuracies = (float(scores.test_accuracy[0]), float(scores.train_accuracy[0]))
    return SparseResult(density, num_left, *accuracies, {n: m.clone() for n, m in masks.items()})
