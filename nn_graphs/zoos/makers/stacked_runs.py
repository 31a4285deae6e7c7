"""The training runs that a zoo is made of, and which of them are trained together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.data import network_keys
from nn_graphs.networks.classifiers.draws import joined
from nn_graphs.networks.spec import NetworkSpec

# Measured on one core: 32 networks of 8 x 8 images at a time take 0.4 ms each for a step that 4 of
# them take 1.3 ms each for, and 64 hardly less; of 32 x 32 images, 8 are as fast as 4 or 16. A
# stack of 32 MLPs on two moons or digits takes 1.2 to 1.3 times as long a network as one of 64, and
# keeps another core free for the next.
CHUNK_VALUES = 2_000_000  # of one layer in one chunk
MIN_CHUNK, MAX_CHUNK = 4, 32

INITIAL = 3  # what draws are for, beside those of the training


@dataclass(frozen=True, eq=False)
class Runs:
    """Training runs, each of one network.

    Attributes:
        specs: the distinct architectures.
        table: a row per run. `spec` numbers its architecture, `train_fraction` is the share of the
            data that it sees, `split` is that of all its checkpoints; other columns are of its
            hyper-parameters. Its place is the number of the run.
    """

    specs: tuple[NetworkSpec, ...]
    table: pd.DataFrame

    def chunks(
        self, *, num_pixels: int, batch_size: int, chunk_size: int | None
    ) -> list[Int[np.ndarray, "_"]]:
        """Numbers of the runs that are trained together: of one architecture, on as much data.

        So none waits for another, and the stack compiles and convolves as one.

        Args:
            num_pixels: of an image; 1 where inputs are vectors.
            batch_size: inputs a step.
            chunk_size: networks at a time; None: see `training_chunk_size`.
        """
        found = []
        for (number, _), group in self.table.groupby(["spec", "train_fraction"], sort=True):
            size = chunk_size or training_chunk_size(self.specs[number], num_pixels * batch_size)
            numbers = group.index.to_numpy()
            found += [numbers[start : start + size] for start in range(0, len(numbers), size)]
        return found

    def filled_sizes(self, chunks: list[Int[np.ndarray, "_"]]) -> list[int]:
        """For each chunk, the size of the largest of its architecture: each is compiled once."""
        kinds = self.table["spec"].to_numpy()[[chunk[0] for chunk in chunks]]
        lengths = pd.Series([len(chunk) for chunk in chunks])
        return lengths.groupby(kinds).transform("max").tolist()


def initial_keys(seed: int, runs: pd.DataFrame) -> Int32[Tensor, " S"]:
    """A key for the initial values of each run, whoever is trained beside it."""
    keys = network_keys([seed] * len(runs), torch.device("cpu"))
    return joined(keys, INITIAL, torch.tensor(runs.index.to_numpy(), dtype=torch.int32))


def log_uniform(
    draw: np.random.Generator, ends: Sequence[float], number: int
) -> Float[np.ndarray, " number"]:
    """Numbers between two ends, whose logarithms are evenly distributed."""
    return np.exp(draw.uniform(*np.log(ends), number))


def training_chunk_size(spec: NetworkSpec, num_places: int) -> int:
    """How many networks are trained together at so many places: pixels, or vectors, of a batch."""
    shrink, values = 1, []
    for layer in spec.layers:
        if layer.conv is not None:
            shrink *= int(np.prod(layer.conv.stride))
        if layer.conv is not None or not spec.is_convolutional:
            values.append(layer.width * num_places // shrink)
    return max(MIN_CHUNK, min(MAX_CHUNK, CHUNK_VALUES // max(values)))


def check_images_fit(spec: NetworkSpec, size: tuple[int, ...]) -> None:
    """Makes sure that every convolution has a place to be at; inputs that are vectors have none.

    Raises:
        NNGraphsError: an image shrinks to nothing.
    """
    sides = np.array(size)
    for number, layer in enumerate(spec.layers, start=1):
        if layer.conv is None:
            return
        kernel, stride, padding = (
            np.array(part)
            for part in (layer.conv.kernel_size, layer.conv.stride, layer.conv.padding)
        )
        sides = (sides + 2 * padding - kernel) // stride + 1
        if (sides < 1).any():
            raise NNGraphsError(
                f"convolve images of {size[0]} x {size[1]} pixels",
                found=f"nothing of them is left for convolution {number}.",
                do="Take larger images, or a recipe with padding.",
            )
