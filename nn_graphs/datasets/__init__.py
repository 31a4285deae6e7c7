"""Task data that the studied networks are trained on."""

from nn_graphs.datasets.images import ImageDataset
from nn_graphs.datasets.registry import DATASETS, data_root, load_images

__all__ = ["DATASETS", "ImageDataset", "data_root", "load_images"]
