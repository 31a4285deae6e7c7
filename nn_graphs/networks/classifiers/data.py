"""The labelled data that a stack is trained on, and who sees what when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, Int32, Shaped
from torch import Tensor

from nn_graphs.datasets.labelled import LabelledDataset
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.draws import joined, uniforms
from nn_graphs.ranges import Count, PositiveInt, in_ranges

ORDER, SUBSET = 0, 1  # what a seed is for


@dataclass(frozen=True, eq=False)
class LabelledData:
    """One labelled data set, on the device to compute on.

    Attributes:
        inputs: training, then test inputs; of images `[n, channels, height, width]`.
        labels: classes; of a regression the numbers to be predicted.
        num_train: how many are for training.
        mean, std: by which inputs are normalised when they are taken; they broadcast.
    """

    inputs: Shaped[Tensor, "n *shape"]
    labels: Int[Tensor, " n"] | Float[Tensor, " n"]
    num_train: PositiveInt
    mean: Float[Tensor, "..."]
    std: Float[Tensor, "..."]

    @classmethod
    def from_dataset(
        cls,
        dataset: LabelledDataset,
        *,
        num_train: PositiveInt | None = None,
        num_test: PositiveInt | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "LabelledData":
        """Images or rows of a table, normalised by mean and deviation of those for training.

        Each channel of images and each feature of a table has its own. The numbers of a regression
        are brought to mean 0 and deviation 1 over training inputs too, so that a squared error of 1
        is that of their mean.

        Args:
            dataset: what to take them from.
            num_train, num_test: the first so many of each are used; None: all.
            dtype: of what is computed.
            device: to compute on.

        Raises:
            NNGraphsError: there are not so many, or the numbers of a regression are all the same.
        """
        train = _first(dataset, 0, dataset.num_train, num_train, "training")
        test = _first(dataset, dataset.num_train, len(dataset.labels), num_test, "test")
        index = np.concatenate([train, test])
        seen = dataset.inputs[train].astype(np.float64)
        axes = (0, *range(2, seen.ndim))  # all but that of channels or features
        deviation = seen.std(axes)
        shape = (-1, *[1] * (seen.ndim - 2))
        mean, std = (
            torch.from_numpy(value).to(device, dtype).reshape(shape)
            for value in (seen.mean(axes), np.where(deviation > 0, deviation, 1.0))
        )
        inputs = torch.from_numpy(dataset.inputs[index]).contiguous().to(device)
        labels = dataset.labels[index]
        if not dataset.class_names:
            labels = _standardised(labels, len(train), dataset.name)
        labels = torch.from_numpy(labels).to(device)
        labels = labels if dataset.class_names else labels.to(dtype)
        return cls(inputs, labels, len(train), mean, std)

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers, not classes."""
        return self.labels.is_floating_point()

    def flattened(self) -> "LabelledData":
        """The same for networks that read vectors: all values of an input in one row."""
        shape = self.inputs.shape[1:]
        mean, std = (value.expand(shape).flatten() for value in (self.mean, self.std))
        return replace(self, inputs=self.inputs.flatten(1), mean=mean, std=std)

    def split_validation(self, num_val: int) -> "tuple[LabelledData, LabelledData]":
        """Twice the same with fewer training inputs, the last of which are for choosing.

        Args:
            num_val: how many.

        Returns:
            One whose test inputs are these, and one whose test inputs are the true ones. Both have
            one normalisation, that of all training inputs.

        Raises:
            NNGraphsError: there are not so many.
        """
        left = self.num_train - num_val
        if num_val < 1 or left < 1:
            raise NNGraphsError(
                f"choose by {num_val} inputs",
                found=f"there are {self.num_train} for training.",
                do="Give a number of them for choosing, so that some are left.",
            )
        every = torch.arange(self.num_all, device=self.device)
        for_choosing, for_test = (
            every[: self.num_train],
            every[(every < left) | (every >= self.num_train)],
        )
        return self._of(for_choosing, left), self._of(for_test, left)

    def _of(self, places: Int[Tensor, " k"], num_train: int) -> "LabelledData":
        inputs, labels = self.inputs[places], self.labels[places]
        return replace(self, inputs=inputs, labels=labels, num_train=num_train)

    @property
    def num_test(self) -> int:
        return len(self.labels) - self.num_train

    @property
    def num_all(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def training_batches(
        self, order: Int[Tensor, "steps B"], *, seed: int, epoch: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised inputs and their labels; nothing is drawn."""
        return ((self.take(index), self.labels[index]) for index in order.to(self.device))

    def batches(self, places: Int[Tensor, " N"], size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The same for evaluation."""
        return (
            (self.take(index), self.labels[index]) for index in places.to(self.device).split(size)
        )

    def take(self, index: Int[Tensor, "*batch"]) -> Float[Tensor, "..."]:
        """Normalised inputs."""
        return (self.inputs[index].to(self.mean.dtype) - self.mean) / self.std


@in_ranges
@dataclass(frozen=True)
class ImageAugmentation:
    """Random crops of padded images and reflections, drawn anew in each epoch.

    Attributes:
        padding: zeros (after normalisation) on each side before a crop of the first size.
        has_flips: whether half of the images are reflected left to right.
    """

    padding: Count = 0
    has_flips: bool = False

    def __call__(
        self, images: Float[Tensor, "S B c h w"], key: Int32[Tensor, "S"]
    ) -> Float[Tensor, "S B c h w"]:
        """Augmented images; `key` is of the draws, one per network or one for all."""
        num_sets, num_images, _, height, width = images.shape
        draws = uniforms(key, (3, num_images))
        moves = (draws[:, :2] * (2 * self.padding + 1)).long().flatten(2)
        rows = moves[:, 0, :, None] + torch.arange(height, device=images.device)
        columns = moves[:, 1, :, None] + torch.arange(width, device=images.device)
        if self.has_flips:
            columns = torch.where(draws[:, 2, :, None] < 0.5, columns.flip(-1), columns)
        padded = torch.nn.functional.pad(images, [self.padding] * 4)
        sets = torch.arange(num_sets, device=images.device)[:, None, None, None]
        numbers = torch.arange(num_images, device=images.device)[:, None, None]
        return padded[sets, numbers, :, rows[..., None], columns[..., None, :]].movedim(-1, 2)


class Orders:
    """Which training inputs each network of a stack sees, in which order.

    Args:
        num_train: training inputs that there are.
        fractions: the share of them that each network sees.
        seeds: of each network's subset and order; equal ones give equal orders.
        batch_size: inputs a step; what is left over at the end of an epoch is left out.

    Raises:
        NNGraphsError: a network sees less than a batch.
    """

    def __init__(
        self, num_train: int, *, fractions: Sequence[float], seeds: Sequence[int], batch_size: int
    ):
        self.num_train, self.batch_size = num_train, batch_size
        self._kinds = list(dict.fromkeys(zip(fractions, seeds, strict=True)))
        places = {kind: place for place, kind in enumerate(self._kinds)}
        self._place = [places[kind] for kind in zip(fractions, seeds, strict=True)]
        self._subsets = [self._subset(*kind) for kind in self._kinds]
        fewest = min(map(len, self._subsets))
        if fewest < batch_size:
            raise NNGraphsError(
                f"train in batches of {batch_size}",
                found=f"a network sees {fewest} of {num_train} inputs.",
                do="Give smaller batches, or a larger share of the data.",
            )

    @property
    def is_shared(self) -> bool:
        """Whether all networks see the same."""
        return len(self._kinds) == 1

    @property
    def num_steps(self) -> list[int]:
        """Steps per epoch of each network."""
        return [len(self._subsets[place]) // self.batch_size for place in self._place]

    def epoch(self, number: int) -> Int[Tensor, "steps S_or_1 B"]:
        """Indices of all batches; the rows of a network that has fewer begin again."""
        length = max(self.num_steps) * self.batch_size
        orders = torch.stack(
            [
                subset[_permutation(len(subset), seed, ORDER, number)].repeat(
                    -(-length // len(subset))
                )[:length]
                for subset, (_, seed) in zip(self._subsets, self._kinds, strict=True)
            ]
        )
        if not self.is_shared:
            orders = orders[self._place]
        return orders.unflatten(1, (-1, self.batch_size)).transpose(0, 1).contiguous()

    def membership(self) -> Shaped[Tensor, "S_or_1 num_train"]:
        """Whether each training input is seen by each network."""
        is_seen = torch.zeros(len(self._kinds), self.num_train, dtype=torch.bool)
        for row, subset in zip(is_seen, self._subsets, strict=True):
            row[subset] = True
        return is_seen if self.is_shared else is_seen[self._place]

    def _subset(self, fraction: float, seed: int) -> Int[Tensor, " seen"]:
        if not 0 < fraction <= 1:
            raise NNGraphsError(
                f"train on {fraction:g} of the data",
                found="this is no share.",
                do="Give a number above 0, up to 1.",
            )
        number = round(fraction * self.num_train)
        if number == self.num_train:
            return torch.arange(number)
        return _permutation(self.num_train, seed, SUBSET, 0)[:number].sort().values


def _permutation(length: int, *seeds: int) -> Int[Tensor, " length"]:
    return torch.from_numpy(np.random.default_rng(seeds).permutation(length))


def network_keys(seeds: Sequence[int], device: torch.device) -> Int32[Tensor, " S"]:
    """One key per network, of all that is drawn for it."""
    seeds = torch.tensor([seed & 0x7FFFFFFF for seed in seeds], dtype=torch.int32, device=device)
    return joined(seeds, 0)


def _first(
    dataset: LabelledDataset, start: int, stop: int, number: int | None, what: str
) -> Int[np.ndarray, " number"]:
    number = stop - start if number is None else number
    if not 0 < number <= stop - start:
        raise NNGraphsError(
            f"take {number} {what} inputs of {dataset.name}",
            found=f"there are {stop - start}.",
            do="Give fewer, at least one.",
        )
    return np.arange(start, start + number)


def _standardised(
    targets: Float[np.ndarray, " n"], num_train: int, name: str
) -> Float[np.ndarray, " n"]:
    """By mean and deviation of the first `num_train`; neither these nor the others may be equal."""
    for part, what in ((targets[:num_train], "training"), (targets[num_train:], "test")):
        if part.std() == 0:
            raise NNGraphsError(
                f"train networks to predict the numbers of {name}",
                found=f"all {len(part)} of its {what} inputs have the number {part[0]:g}, so that "
                "there is no R2.",
                do="Take more of them, or another data set.",
            )
    seen = targets[:num_train]
    return (targets - seen.mean()) / seen.std()
