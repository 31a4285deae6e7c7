"""Batches of a split in a random order, and the split again out of what processes computed."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nn_graphs.training.settings import TrainingSettings
from nn_graphs.zoos.batches import GraphDataset, LabelledGraphs


class EpochSampler(Sampler[int]):
    """A random order that depends on the seed and the epoch alone.

    Args:
        sources: one per item; of those that share a source, each epoch has one, drawn anew.
        seed: of all orders and choices.
    """

    def __init__(self, sources: Shaped[np.ndarray, "N"], *, seed: int):
        self.sources, self.seed, self.epoch = sources, seed, 0
        self.num_sources = len(np.unique(sources))

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_sources

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.sources))
        _, first = np.unique(self.sources[order], return_index=True)
        return iter(order[np.sort(first)].tolist())


def make_loader(
    dataset: GraphDataset, settings: TrainingSettings, *, is_shuffled: bool = False
) -> DataLoader:
    """Batches of a data set, as they are or in an order of each epoch."""
    sampler = None
    if is_shuffled:
        sources = dataset.sources if settings.has_one_view else np.arange(len(dataset))
        sampler = EpochSampler(sources, seed=settings.seed)
    return DataLoader(
        _InBatches(dataset),
        batch_size=settings.batch_size,
        sampler=sampler,
        collate_fn=_already_a_batch,
        generator=torch.Generator(),  # else it takes numbers from the stream of dropout
    )


class _InBatches(Dataset):
    """A data set that loaders ask for whole batches."""

    def __init__(self, dataset: GraphDataset):
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, places: list[int]) -> LabelledGraphs:
        return self._dataset.batch(places)


def _already_a_batch(batch: LabelledGraphs) -> LabelledGraphs:
    return batch


def in_split_order(
    parts: Shaped[Tensor, "processes part *shape"], *, num_networks: int
) -> Shaped[Tensor, "{num_networks} *shape"]:
    """The values of a split that was dealt out to processes, each network's once.

    A distributed sampler deals one network to each process in turn, and begins again from the
    first ones where the last round would leave some without.
    """
    return parts.transpose(0, 1).flatten(0, 1)[:num_networks]
