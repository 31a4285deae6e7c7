"""Zoos of convolutional networks, with a network per checkpoint.

What is trained is up to a recipe (`small_cnns`, `wild_cnns`); how, is that of all zoos that are
trained as stacks (`stacked_zoos`). The table of a zoo has a row per checkpoint: `run`, `step`
(epochs, as in the published zoos), `split` (of the run), `label` and `test_accuracy` (0 to 1),
`train_accuracy`, `train_loss`, `test_loss`, `has_diverged`, and a column per hyper-parameter.
"""

from pathlib import Path
from typing import Literal

import torch

from nn_graphs.datasets import ImageDataset
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.ranges import PositiveInt
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.stacked_zoos import StackRecipe


class CNNRecipe(StackRecipe):
    """A `ZooRecipe` of CNNs, which says what is trained: a frozen dataclass.

    Attributes:
        images: that networks are trained on.
        num_epochs, batch_size, diverged, compiles: see `StackRecipe`.
    """

    images: LabelledImages
    num_epochs: PositiveInt
    batch_size: PositiveInt
    diverged: Literal["drop", "keep"]

    maker = "cnn"
    epoch_column = "step"

    def load(self, data_root: str | Path | None = None) -> ImageDataset:
        """The images."""
        return self.images.load(data_root)

    def labelled(self, dataset: ImageDataset, device: torch.device | str = "cpu") -> LabelledData:
        """The images on their scale."""
        return self.images.labelled(dataset, device)
