"""Relational MLPs of different widths as one stack: channels are padded, missing weights masked.

Networks of one architecture whose graphs differ have different widths (`matching`). In a stack, all
get the width of the widest; channels beyond a network's own have weights, norms and statistics of
zero, stay zero, and pass nothing on. They cost time, which `FamilyStack.padded_share` tells, and
which `groups_by_width` keeps low.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.model import Mode, batch_norm, linear
from nn_graphs.networks.masked import MaskedLayer
from nn_graphs.networks.parameters import ParameterLayout
from nn_graphs.networks.relational.blocks import Stage
from nn_graphs.networks.relational.network import RelationalNetwork


@dataclass(frozen=True)
class RelationalMLPs:
    """The function of a stack of relational MLPs; a `StackedModel`.

    Missing weights must be zero: the engine does not train them.

    Attributes:
        parameters, statistics: layouts of parameters and buffers, named as in a
            `RelationalNetwork`.
        depth: masked layers.
    """

    parameters: ParameterLayout
    statistics: ParameterLayout
    depth: int

    def __call__(
        self,
        params: Float[Tensor, "S num_params"],
        buffers: Float[Tensor, "S num_buffers"],
        inputs: Float[Tensor, "S_or_1 B *shape"],
        mode: Mode,
    ) -> tuple[Float[Tensor, "S B classes"], Float[Tensor, "S num_buffers"]]:
        weights = self.parameters.unflatten(params)
        before, after = self.statistics.unflatten(buffers), []
        values = inputs.flatten(2).mT
        for place, name in enumerate(self._layers):
            values = linear(values, weights[f"{name}.layer.weight"])
            values, *statistics = batch_norm(
                values,
                weights[f"{name}.norm.weight"],
                weights[f"{name}.norm.bias"],
                before[f"{name}.norm.running_mean"],
                before[f"{name}.norm.running_var"],
                is_training=mode.is_training,
            )
            after += statistics
            values = mode.drop(values.relu().mT, place).mT
        logits = linear(values, weights["head.0.layer.weight"])
        logits = logits + weights["head.0.layer.bias"].unsqueeze(2)
        return logits.mT, torch.cat(after, 1)

    @property
    def _layers(self) -> list[str]:
        return ["stem", *(f"blocks.{number}.body.0" for number in range(self.depth))]


@dataclass(frozen=True, eq=False)
class FamilyStack:
    """Networks of one family as a stack.

    Attributes:
        model: their function.
        params, buffers: of all, padded.
        trainable: which of the parameters a network has.
        padded_share: multiply-accumulates on padded channels, in relation to all that are done.
    """

    model: RelationalMLPs
    params: Float[Tensor, "N num_params"]
    buffers: Float[Tensor, "N num_buffers"]
    trainable: Bool[Tensor, "N num_params"]
    padded_share: float

    def load(
        self, network: RelationalNetwork, params: Float[Tensor, "P"], buffers: Float[Tensor, "Q"]
    ) -> None:
        """Puts one row of trained parameters and buffers into the network that it belongs to."""
        for layout, row in ((self.model.parameters, params), (self.model.statistics, buffers)):
            padded = layout.unflatten(row)
            own = network.state_dict()
            state = {slot.name: _corner(padded[slot.name], own[slot.name]) for slot in layout.slots}
            network.load_state_dict(state, strict=False)


def stack_family(networks: Sequence[RelationalNetwork], *, width: int | None = None) -> FamilyStack:
    """Networks as one stack, in double or single precision as they are.

    Args:
        networks: multilayer perceptrons of one architecture.
        width: that all get; None: that of the widest.

    Raises:
        NNGraphsError: they are no multilayer perceptrons of one architecture, or wider than that.
    """
    architecture = networks[0].architecture
    if architecture.is_conv or any(one.architecture != architecture for one in networks):
        raise NNGraphsError(
            f"stack {len(networks)} relational networks",
            found="they are not multilayer perceptrons of one architecture.",
            do="Stack each architecture by itself; train convolutional networks one by one.",
        )
    widest = max(one.widths[0] for one in networks)
    if width is not None and width < widest:
        raise NNGraphsError(
            f"stack relational networks with {width} channels",
            found=f"one of them has {widest}.",
            do="Give a larger width, or None.",
        )
    stage = Stage(width or widest, architecture.stages[0].depth)
    padded = RelationalNetwork(replace(architecture, stages=(stage,)), None)
    model = RelationalMLPs(
        _layout(padded.named_parameters()), _layout(padded.named_buffers()), stage.depth
    )
    states = [one.state_dict() for one in networks]
    masks = [_masks(one) for one in networks]
    return FamilyStack(
        model,
        params=_stacked(states, model.parameters),
        buffers=_stacked(states, model.statistics),
        trainable=_stacked(masks, model.parameters) > 0,
        padded_share=1 - sum(map(_work, states)) / (len(states) * _work(padded.state_dict())),
    )


def groups_by_width(widths: Sequence[int], group_size: int) -> list[Int[np.ndarray, " group"]]:
    """Networks in groups of nearly equal size, the narrowest together, in their order."""
    order = np.argsort(widths, kind="stable")
    return [np.sort(group) for group in np.array_split(order, -(-len(order) // group_size))]


def _layout(tensors: Iterable[tuple[str, Tensor]]) -> ParameterLayout:
    """Of those that are of floating-point numbers."""
    shapes = {name: tuple(value.shape) for name, value in tensors if value.is_floating_point()}
    return ParameterLayout.from_shapes(shapes)


def _masks(network: nn.Module) -> dict[str, Tensor]:
    """Per parameter, ones where its values exist."""
    masks = {name: torch.ones_like(value) for name, value in network.named_parameters()}
    for name, module in network.named_modules():
        if isinstance(module, MaskedLayer):
            masks[f"{name}.weight"] = module.mask.expand_as(module.weight).to(module.weight)
    return masks


def _stacked(states: Sequence[dict[str, Tensor]], layout: ParameterLayout) -> Tensor:
    """One padded row per state."""
    first = states[0][layout.slots[0].name]
    rows = first.new_zeros(len(states), layout.num_params)
    for row, state in zip(rows, states, strict=True):
        for slot in layout.slots:
            _corner(layout.view(row, slot), state[slot.name]).copy_(state[slot.name])
    return rows


def _corner(padded: Tensor, own: Tensor) -> Tensor:
    """The part of a padded tensor that has the shape of a network's own."""
    return padded[tuple(slice(0, size) for size in own.shape)]


def _work(state: dict[str, Tensor]) -> int:
    """Multiply-accumulates of dense products for one input."""
    return sum(value.numel() for name, value in state.items() if name.endswith("layer.weight"))
