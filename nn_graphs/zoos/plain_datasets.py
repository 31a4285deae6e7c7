"""Datasets of an HDF5 file of others: looked at before they are read.

HDF5 can say that values lie in another file, follow links out of the file, ask for any amount of
memory, or hold references. A zoo has none of it: its datasets are plain arrays that lie in one
piece of the file itself.
"""

import h5py
import numpy as np
from h5py import h5d

from nn_graphs.zoos.zoo_header import DamagedError

NUMBERS, TEXTS = "biuf", "S"


def plain_dataset(file: h5py.File, name: str, *, kinds: str, num_axes: int = 1) -> h5py.Dataset:
    """A dataset that lies in the file in one piece, with values of known kinds.

    Args:
        file: opened for reading.
        name: of the dataset, groups with slashes.
        kinds: letters of numpy's kinds of types, e.g. "f" for floating-point numbers.
        num_axes: of the dataset.

    Raises:
        DamagedError: it is missing, or anything else; with its name.
    """
    check_links(file, name)
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise DamagedError(f"{name} is no dataset")
    plist = dataset.id.get_create_plist()
    if plist.get_external_count() or plist.get_layout() == h5d.VIRTUAL:
        raise DamagedError(f"the values of {name} lie in other files")
    if plist.get_layout() not in (h5d.CONTIGUOUS, h5d.COMPACT):
        raise DamagedError(f"{name} is in chunks, or compressed")
    if dataset.dtype.kind not in kinds or dataset.ndim != num_axes:
        expected = "texts" if kinds == TEXTS else " or ".join(_kind(kind) for kind in kinds)
        raise DamagedError(
            f"{name} has values of type {dataset.dtype} and shape {dataset.shape}; not {expected} "
            f"of {num_axes} axes"
        )
    if dataset.nbytes > file.id.get_filesize():
        raise DamagedError(f"{name} says that it has {dataset.nbytes} bytes, more than the file")
    return dataset


def read_plain(file: h5py.File, name: str, *, kinds: str) -> np.ndarray:
    """All values of a `plain_dataset` of one axis."""
    return plain_dataset(file, name, kinds=kinds)[()]


def check_links(file: h5py.File, name: str) -> None:
    """That every part of the name is in the file, and no link to elsewhere.

    Raises:
        DamagedError: it is not.
    """
    place = ""
    for part in name.split("/"):
        place = f"{place}/{part}" if place else part
        link = file.get(place, getlink=True)
        if link is None:
            raise DamagedError(f"it has no {name}")
        if not isinstance(link, h5py.HardLink):
            raise DamagedError(f"{place} is a link to elsewhere")


def _kind(letter: str) -> str:
    names = {"b": "booleans", "i": "integers", "u": "counts", "f": "floating-point numbers"}
    return names.get(letter, "texts")
