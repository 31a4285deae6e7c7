"""The architectures of a zoo by name: MLPs, MLPs of equal numbers of parameters, CNNs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nn_graphs.datasets import LabelledDataset
from nn_graphs.datasets.labelled import num_outputs
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.spec import ConvSpec, NetworkSpec
from nn_graphs.ranges import Count, PositiveInt, in_ranges

TOLERANCE = 0.01  # of numbers of parameters that count as equal


@in_ranges
@dataclass(frozen=True)
class MLPStructures:
    """Multi-layer perceptrons; of images they read all values in one row.

    Attributes:
        hidden: widths of the hidden layers of each, by name.
        activation: of the hidden layers.
    """

    hidden: Mapping[str, Sequence[int]] = field(default_factory=lambda: {"regular": (16, 16)})
    activation: str = "relu"

    reads_vectors = True

    def specs(self, dataset: LabelledDataset) -> dict[str, NetworkSpec]:
        """The architectures for a data set, by name."""
        ends = _num_inputs(dataset), num_outputs(dataset)
        return {
            name: NetworkSpec.mlp((ends[0], *widths, ends[1]), activation=self.activation)
            for name, widths in self.hidden.items()
        }


@in_ranges
@dataclass(frozen=True)
class EqualMLPStructures:
    """MLPs of different depths that have equal numbers of parameters, biases included.

    Hidden layers of one are equally wide, but for some that follow each other, which have one
    neuron more.

    Attributes:
        num_params: of each, within 1 %.
        depths: number of hidden layers of each, by name.
        activation: of the hidden layers.
    """

    num_params: PositiveInt = 3000
    depths: Mapping[str, int] = field(
        default_factory=lambda: {"regular": 2, "deeper": 4, "wider": 1}
    )
    activation: str = "relu"

    reads_vectors = True

    def specs(self, dataset: LabelledDataset) -> dict[str, NetworkSpec]:
        """The architectures for a data set, by name.

        Raises:
            NNGraphsError: one of these depths has no widths for so many parameters.
        """
        ends = _num_inputs(dataset), num_outputs(dataset)
        return {name: self._spec(name, depth, *ends) for name, depth in self.depths.items()}

    def _spec(self, name: str, depth: int, num_inputs: int, outputs: int) -> NetworkSpec:
        def spec(widths: Sequence[int]) -> NetworkSpec:
            return NetworkSpec.mlp((num_inputs, *widths, outputs), activation=self.activation)

        width = 1
        while depth > 0 and spec([width + 1] * depth).num_params <= self.num_params:
            width += 1
        wider = itertools.combinations(range(depth + 1), 2)  # first and last of the layers, plus 1
        found = [spec([width] * depth)]
        found += [
            spec([width + (start <= layer < stop) for layer in range(depth)])
            for start, stop in wider
        ]
        closest = min(found, key=lambda one: abs(one.num_params - self.num_params))
        if abs(closest.num_params - self.num_params) > TOLERANCE * self.num_params:
            raise NNGraphsError(
                f"make the structure {name!r} with {depth} hidden layers and {self.num_params:,} "
                "parameters",
                found=f"the closest, {'-'.join(map(str, closest.layer_layout))}, has "
                f"{closest.num_params:,}.",
                do=f"Take num_params={closest.num_params}, a larger number, or another depth.",
            )
        return closest


@in_ranges
@dataclass(frozen=True)
class CNNStructures:
    """Convolutions, the mean over places, a linear layer.

    Attributes:
        channels: of the convolutions of each, by name.
        kernel_size, stride, padding: of all convolutions.
        activation: of the convolutions.
    """

    channels: Mapping[str, Sequence[int]] = field(default_factory=lambda: {"regular": (8, 8, 8)})
    kernel_size: PositiveInt = 3
    stride: PositiveInt = 2
    padding: Count = 1
    activation: str = "relu"

    reads_vectors = False

    def specs(self, dataset: LabelledDataset) -> dict[str, NetworkSpec]:
        """The architectures for images, by name.

        Raises:
            NNGraphsError: the data set is a table.
        """
        shape = dataset.inputs.shape[1:]
        if len(shape) != 3:
            raise NNGraphsError(
                f"convolve the inputs of {dataset.name}",
                found=f"they are of the shape {list(shape)}, no images.",
                do="Take MLPStructures, or a data set of images.",
            )
        conv = ConvSpec.square(self.kernel_size, stride=self.stride, padding=self.padding)
        return {
            name: NetworkSpec.cnn(
                (shape[0], *channels),
                convs=conv,
                activations=self.activation,
                num_outputs=num_outputs(dataset),
            )
            for name, channels in self.channels.items()
        }


Structures = MLPStructures | EqualMLPStructures | CNNStructures


def _num_inputs(dataset: LabelledDataset) -> int:
    return int(np.prod(dataset.inputs.shape[1:]))
