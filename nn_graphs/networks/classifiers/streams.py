"""Labelled images that stay on the disk, for the training of single modules."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader

from nn_graphs.datasets.streamed import ImageStream

Batch = tuple[Float[Tensor, "B 3 side side"], Int[Tensor, " B"]]


@dataclass(frozen=True, eq=False)
class StreamedData:
    """What `train_module` takes instead of `LabelledData`.

    Attributes:
        images: the set.
        device: to compute on.
        num_loaders: processes that read ahead; 0: this one reads.
    """

    images: ImageStream
    device: torch.device | str
    num_loaders: int = 0

    def __post_init__(self):
        object.__setattr__(self, "device", torch.device(self.device))

    @property
    def num_train(self) -> int:
        return self.images.files.num_train

    @property
    def num_all(self) -> int:
        return len(self.images)

    def training_batches(
        self, order: Int[Tensor, "steps B"], *, seed: int, epoch: int
    ) -> Iterator[Batch]:
        """Batches of random crops; equal seeds and epochs give equal ones."""
        return self._load([[(one, seed, epoch) for one in batch] for batch in order.tolist()])

    def batches(self, places: Int[Tensor, " N"], size: int) -> Iterator[Batch]:
        """Batches of the middles of images."""
        return self._load([batch.tolist() for batch in places.split(size)])

    def _load(self, batches: list[list]) -> Iterator[Batch]:
        is_gpu = self.device.type == "cuda"
        loader = DataLoader(
            self.images, batch_sampler=batches, num_workers=self.num_loaders, pin_memory=is_gpu
        )
        for inputs, labels in loader:
            yield inputs.to(self.device, non_blocking=True), labels.to(self.device)
