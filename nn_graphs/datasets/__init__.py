"""Task data that the studied networks are trained on."""

from nn_graphs.datasets.dataset_registry import (
    DATASETS,
    TABLES,
    are_known,
    data_root,
    load_dataset,
    load_images,
    load_table,
)
from nn_graphs.datasets.images import ImageDataset
from nn_graphs.datasets.labelled import LabelledDataset
from nn_graphs.datasets.tables import TableDataset

__all__ = [
    "DATASETS",
    "TABLES",
    "ImageDataset",
    "LabelledDataset",
    "TableDataset",
    "are_known",
    "data_root",
    "load_dataset",
    "load_images",
    "load_table",
]
