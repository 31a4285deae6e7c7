"""Augmentations: random changes of networks that leave alone what is to be learned of them.

Those of Navon et al., ICML 2023, and Kofinas et al., ICLR 2024, for INRs, and random symmetries.
Two are not as published. Noise is noise: normal in every weight, where the public code adds one
constant. Translation goes into the first layer's bias, which is exact, where theirs is pushed
linearly through the sine layers.

All draw for a whole stack at once, each network by itself, from torch's global generator, so that
an interrupted training goes on with the numbers that it would have drawn. They change networks in
training mode only: after `.eval()` they give them back as they are.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.mixed_templates import MixedTemplates
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.graphs.symmetry import SymmetryKind, apply_to_graphs, sample_symmetries
from nn_graphs.ranges import Count, NonNegative, in_ranges

Graphs = NeuralGraph | NeuralGraphStack


class Augmentation(nn.Module, ABC):
    """A random change of the networks of a stack.

    Raises:
        NNGraphsError: when called on a torch-geometric batch.
    """

    def forward(self, graphs: Graphs) -> Graphs:
        if not self.training:
            return graphs
        if not isinstance(graphs, NeuralGraphStack):
            raise NNGraphsError(
                f"augment networks by {type(self).__name__}",
                found="they are a torch-geometric batch of graphs.",
                do="Wrap it in OfMixes, which knows their architectures.",
            )
        return self.change(graphs)

    @abstractmethod
    def change(self, graphs: NeuralGraphStack) -> NeuralGraphStack:
        """The changed networks."""


class Compose(nn.Module):
    """Augmentations one after the other; of none, the networks as they are."""

    def __init__(self, augmentations: Iterable[Augmentation] = ()):
        super().__init__()
        self.augmentations = nn.ModuleList(augmentations)

    def forward(self, graphs: Graphs) -> Graphs:
        for augmentation in self.augmentations:
            graphs = augmentation(graphs)
        return graphs


class OfMixes(nn.Module):
    """An augmentation of batches of many architectures, one architecture after the other.

    Stacks are augmented as they are.

    Args:
        augmentation: of stacks.
        templates: which made the batches.
    """

    def __init__(self, augmentation: nn.Module, templates: MixedTemplates):
        super().__init__()
        self.augmentation, self._templates = augmentation, templates

    def forward(self, graphs: Graphs) -> Graphs:
        """
        Raises:
            NNGraphsError: a batch was not made by these templates.
        """
        if isinstance(graphs, NeuralGraphStack) or not self.training:
            return self.augmentation(graphs)
        return self._templates.changed(graphs, self.augmentation)


# Changes of single weights, in the parameters: tied weights stay tied, constants stay constant.


@in_ranges
class WeightNoise(Augmentation):
    """Normal noise on every weight and bias.

    Args:
        share: deviation of the noise, in deviations of the tensor that it is added to, in the same
            network; a tensor of a single value, whose deviation is 0, gets none.
    """

    def __init__(self, *, share: float):
        super().__init__()
        self.share = share

    def change(self, graphs: NeuralGraphStack) -> NeuralGraphStack:
        params = graphs.params
        deviations = [
            values.std(dim=1, correction=0, keepdim=True).expand_as(values)
            for values in params.split([slot.size for slot in graphs.template.parameters.slots], 1)
        ]
        noise = torch.randn_like(params) * torch.cat(deviations, dim=1)
        return graphs.template.stack(params + self.share * noise)


@in_ranges
class WeightDropout(Augmentation):
    """Weights and biases that become 0.

    Args:
        rate: probability of each.
        is_rescaled: divide the others by `1 - rate`, so that the mean of each stays.

    Raises:
        NNGraphsError: the rate is negative, or 1 and more.
    """

    def __init__(self, *, rate: float, is_rescaled: bool = True):
        super().__init__()
        _check_below_one("drop weights", "rate", rate)
        self.rate, self.is_rescaled = rate, is_rescaled

    def change(self, graphs: NeuralGraphStack) -> NeuralGraphStack:
        params = graphs.params
        kept = torch.where(torch.rand_like(params) < self.rate, 0.0, params)
        return graphs.template.stack(kept / (1 - self.rate) if self.is_rescaled else kept)


# Changes of the coordinates: the image of an INR moves. What comes into view from beyond the
# coordinates that an INR was fitted at, [-1, 1], is what the INR makes up there.


def transform_inputs(
    graphs: NeuralGraphStack,
    matrix: Float[Tensor, "B inputs inputs"] | None = None,
    shift: Float[Tensor, "B inputs"] | None = None,
) -> NeuralGraphStack:
    """The networks that put out at x what those of `graphs` put out at `matrix @ x + shift`.

    With W and b of the first layer, W becomes `W @ matrix` and b becomes `b + W @ shift`.

    Args:
        graphs: the networks.
        matrix: of each of them; None: the identity.
        shift: of each of them; None: zero.

    Raises:
        NNGraphsError: inputs enter the networks in another way than through linear layers of their
            own, with biases where there is a shift.
    """
    template, params = graphs.template, graphs.params
    for block in _first_layers(template, needs_bias=shift is not None):
        weight = template.parameters.view(params, block.weight)  # [B, targets, inputs]
        if shift is not None:
            bias = template.parameters.view(params, template.groups[block.target].bias)
            bias += torch.einsum("boi,bi->bo", weight, shift)
        if matrix is not None:
            weight.copy_(weight @ matrix)
    return template.stack(params)


@in_ranges
class Translation(Augmentation):
    """Coordinates move by U(-max_shift, max_shift) on every axis.

    Args:
        max_shift: in units of the coordinates; an image spans 2.
    """

    def __init__(self, *, max_shift: float):
        super().__init__()
        self.max_shift = max_shift

    def change(self, graphs: NeuralGraphStack) -> NeuralGraphStack:
        num_inputs = graphs.template.num_neurons(NeuronKind.INPUT)
        return transform_inputs(graphs, shift=self.max_shift * _uniform(graphs, num_inputs))


@in_ranges
class Rotation(Augmentation):
    """Two coordinates turn about their origin by U(-max_degrees, max_degrees).

    Raises:
        NNGraphsError: when called on networks of another number of inputs.
    """

    def __init__(self, *, max_degrees: float):
        super().__init__()
        self.max_degrees = max_degrees

    def change(self, graphs: NeuralGraphStack) -> NeuralGraphStack:
        num_inputs = graphs.template.num_neurons(NeuronKind.INPUT)
        if num_inputs != 2:
            raise NNGraphsError(
                "rotate the coordinates of networks",
                found=f"they have {num_inputs} inputs.",
                do="Rotate networks of 2 inputs, such as INRs of images.",
            )
        angle = math.radians(self.max_degrees) * _uniform(graphs)
        cos, sin = angle.cos(), angle.sin()
        matrix = torch.stack([cos, -sin, sin, cos], dim=1).unflatten(1, (2, 2))
        return transform_inputs(graphs, matrix)


@in_ranges
class Scaling(Augmentation):
    """Coordinates are multiplied by 1 + U(-max_change, max_change), the same on all axes.

    Raises:
        NNGraphsError: the change is negative, or 1 and more.
    """

    def __init__(self, *, max_change: float):
        super().__init__()
        _check_below_one("scale coordinates", "max_change", max_change)
        self.max_change = max_change

    def change(self, graphs: NeuralGraphStack) -> NeuralGraphStack:
        num_inputs = graphs.template.num_neurons(NeuronKind.INPUT)
        factor = 1 + self.max_change * _uniform(graphs, 1)
        return transform_inputs(graphs, torch.diag_embed(factor.expand(-1, num_inputs)))


# Changes of the parameters that no function sees.


@in_ranges
class RandomSymmetries(Augmentation):
    """Symmetries that leave the function of each network as it is, see `sample_symmetries`."""

    def __init__(
        self,
        *,
        kinds: Sequence[SymmetryKind] = ("permutation", "sign", "phase"),
        max_log_scale: NonNegative = 1.0,
        max_turns: Count = 2,
    ):
        super().__init__()
        self.kinds, self.max_log_scale, self.max_turns = tuple(kinds), max_log_scale, max_turns

    def change(self, graphs: NeuralGraphStack) -> NeuralGraphStack:
        element = sample_symmetries(
            graphs.template,
            len(graphs),
            kinds=self.kinds,
            max_log_scale=self.max_log_scale,
            max_turns=self.max_turns,
            dtype=graphs.node_features.dtype,
        )
        return apply_to_graphs(graphs.template, graphs, element)


def _uniform(graphs: NeuralGraphStack, *shape: int) -> Tensor:
    """Numbers in [-1, 1) for each network."""
    like = graphs.node_features
    return 2 * torch.rand(len(graphs), *shape, device=like.device, dtype=like.dtype) - 1


def _check_below_one(asked: str, name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise NNGraphsError(asked, found=f"{name} is {value}.", do="Give one from 0 to below 1.")


def _first_layers(template: GraphTemplate, *, needs_bias: bool) -> list[EdgeBlock]:
    """The blocks of edges that leave the inputs."""
    inputs = [n for n, group in enumerate(template.groups) if group.kind is NeuronKind.INPUT]
    blocks = [block for number in inputs for block in template.blocks_from(number)]
    fault = _fault(template, blocks, needs_bias) if len(inputs) == 1 else "several input tensors"
    if fault:
        raise NNGraphsError(
            "transform the inputs of networks",
            found=f"the architecture has {fault}.",
            do="Use networks whose inputs enter through linear layers of their own alone"
            + (", with biases." if needs_bias else "."),
        )
    return blocks


def _fault(template: GraphTemplate, blocks: list[EdgeBlock], needs_bias: bool) -> str | None:
    """What keeps a transform of the inputs from going into these blocks exactly."""
    for block in blocks:
        target, width = template.groups[block.target], template.groups[block.source].width
        if not block.is_dense:
            return "a skip from the inputs"
        if block.weight.shape != (target.width, width):
            return f"{list(block.weight.shape)} weights between {width} inputs and {target.width}"
        if needs_bias and target.bias is None:
            return f"no bias beside {block.weight.name}"
        slots = [block.weight, target.bias] if needs_bias else [block.weight]
        shared = [slot.name for slot in slots if len(template.places[slot]) > 1]
        if shared:
            return f"{shared[0]} in several places"
    return None
