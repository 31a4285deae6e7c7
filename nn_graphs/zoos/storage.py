"""The file of a zoo.

Layout of the HDF5 file (format versions 2 and 3), behind a header of 512 bytes with checksums (see
`zoo_header`):

    /                  attributes: format = "nn_graphs.zoo", version
    /params            float32, contiguous and uncompressed, so that it maps into memory at its
                       offset: the networks `[N_k, num_params_k]` of architecture 0, 1, ..., one
                       architecture behind the other
    /counts            N_k for every architecture k
    /specs             the NetworkSpecs and TracedSpecs, a JSON array in UTF-8
    /metadata          JSON in UTF-8
    /table/<column>    one value per network; the column `spec` says which k, and `row` which row
                       of its architecture's networks, the network is

A file with TracedSpecs is of version 3; else nothing differs from version 2, which others are of.
Version 1 had a group `/specs/<k>` with its own `params` for every architecture; it can be read.
A zoo of thousands of architectures opens as fast as one: the file is mapped once.

The file is written beside its final place and renamed when it is complete.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.architecture_specs import AnySpec, TracedSpec
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.whole_files import whole_file
from nn_graphs.zoos.plain_datasets import NUMBERS, TEXTS, check_links, plain_dataset, read_plain
from nn_graphs.zoos.zoo_header import HEADER_BYTES, DamagedError, check_header, write_header

FORMAT, VERSION = "nn_graphs.zoo", 3
VERSION_OF_CHAINS = 2  # of files without traced architectures


class ZooContents(NamedTuple):
    """What a zoo file holds; see `zoos.zoo.Zoo`."""

    specs: tuple[AnySpec, ...]
    params: tuple[Float[Tensor, "_ _"], ...]
    table: pd.DataFrame
    metadata: Mapping


_Networks = tuple[tuple[AnySpec, ...], tuple[Tensor, ...], dict]  # specs, params, metadata


def write_zoo_file(path: str | Path, contents: ZooContents) -> None:
    """Writes a zoo; a file that is there is replaced only when all is written.

    Raises:
        NNGraphsError: a column of the table holds neither numbers nor strings, or has a name that
            cannot be kept; there can be no file at `path`.
    """
    path = Path(path)
    _check_columns(contents.table)
    check_place(path)
    with whole_file(path) as partial:
        with h5py.File(partial, "w", userblock_size=HEADER_BYTES) as file:
            _write(file, contents)
        write_header(partial)


def check_place(path: str | Path) -> None:
    """That a zoo may be written to `path`.

    Raises:
        NNGraphsError: it is a folder, or lies below something that is none.
    """
    path = Path(path)
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    found = "this is a folder." if path.is_dir() else f"{parent} is no folder."
    if path.is_dir() or not parent.is_dir():
        raise NNGraphsError(f"write a zoo to {path}", found=found, do="Give the path of a file.")


def _check_columns(table: pd.DataFrame) -> None:
    """Columns are groups of HDF5, where a slash makes a group inside another."""
    names = list(table.columns)
    bad = [name for name in names if not isinstance(name, str) or "/" in name or name in ("", ".")]
    bad += [name for number, name in enumerate(names) if name in names[:number]]
    if bad:
        raise NNGraphsError(
            "save a zoo's table",
            found=f"its column {bad[0]!r} is no string, is empty, has a slash or is there twice.",
            do="Rename the column.",
        )


def _write(file: h5py.File, contents: ZooContents) -> None:
    is_traced = any(isinstance(spec, TracedSpec) for spec in contents.specs)
    file.attrs.update(format=FORMAT, version=VERSION if is_traced else VERSION_OF_CHAINS)
    _write_text(file, "metadata", json.dumps(dict(contents.metadata)))
    _write_text(file, "specs", f"[{','.join(spec.to_json() for spec in contents.specs)}]")
    counts = np.array([len(params) for params in contents.params], dtype=np.int64)
    file.create_dataset("counts", data=counts)
    total = sum(params.numel() for params in contents.params)
    stored = file.create_dataset("params", shape=(total,), dtype=np.float32)
    start = 0
    for params in contents.params:
        stop = start + params.numel()
        if stop > start:
            stored[start:stop] = params.detach().reshape(-1).cpu().numpy()
        start = stop
    for column, values in contents.table.items():
        file.create_dataset(f"table/{column}", data=_encode_column(column, values))
    file["table"].attrs["columns"] = json.dumps(list(contents.table.columns))


def read_zoo_file(path: str | Path) -> ZooContents:
    """Opens a zoo file, whoever wrote it; parameters are mapped, not read.

    Nothing but the file itself is opened, and no more memory asked for than it has bytes.

    Raises:
        NNGraphsError: there is no such file, it is truncated or damaged, no zoo of this format, or
            not all of it lies in the file as plain arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise _cannot_open(path, "there is no such file.", "Check the path, or make the zoo.")
    try:
        check_header(path)
        with h5py.File(path, "r") as file:
            return _read(file, path)
    except DamagedError as error:
        raise _cannot_open(path, f"{error}.", "Make or download it again.") from error
    # What is not as this module writes it shows as nearly any exception there is.
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _cannot_open(
            path,
            f"it is truncated or no HDF5 file of {path.stat().st_size} bytes ({error}).",
            "Make or download it again.",
        ) from error


def _read(file: h5py.File, path: Path) -> ZooContents:
    found = (file.attrs.get("format"), file.attrs.get("version"))
    if found not in [(FORMAT, version) for version in range(1, VERSION + 1)]:
        raise _cannot_open(
            path,
            f"its format is {found[0]}, version {found[1]}; not {FORMAT}, version {VERSION} or "
            "before.",
            "Open a file written by Zoo.save; for a newer version, upgrade nn_graphs.",
        )
    specs, params, metadata = (_read_version_1 if found[1] == 1 else _read_contents)(file, path)
    if not isinstance(metadata, dict):
        raise DamagedError(f"its metadata is {type(metadata).__name__}, no mapping")
    return ZooContents(specs, params, _read_table(file, sum(map(len, params))), metadata)


def _read_table(file: h5py.File, num_networks: int) -> pd.DataFrame:
    check_links(file, "table")
    names = json.loads(file["table"].attrs["columns"])
    columns = {name: _read_column(file, f"table/{name}") for name in names}
    lengths = sorted({len(column) for column in columns.values()})
    if len(lengths) > 1:
        raise DamagedError(f"its table has columns of {lengths[0]} and {lengths[-1]} rows")
    if columns and lengths[0] != num_networks:
        raise DamagedError(f"its table has {lengths[0]} rows, for {num_networks} networks")
    return pd.DataFrame(columns)


def _read_contents(file: h5py.File, path: Path) -> _Networks:
    described = json.loads(_read_text(file, "specs"))
    if not isinstance(described, list):
        raise DamagedError(f"its specs are a {type(described).__name__}, no list")
    specs = tuple(map(_read_spec, described))
    counts = read_plain(file, "counts", kinds="iu").tolist()
    if len(counts) != len(specs):
        raise DamagedError(f"it has {len(counts)} counts for {len(specs)} architectures")
    stored = plain_dataset(file, "params", kinds="f")
    sizes = [count * spec.num_params for count, spec in zip(counts, specs, strict=True)]
    if min(counts, default=0) < 0 or sum(sizes) != stored.size:
        raise DamagedError(f"{stored.size} parameters are not those of {counts} networks")
    parts = _map_params(stored, path).split(sizes)
    params = tuple(
        part.view(count, spec.num_params)
        for part, count, spec in zip(parts, counts, specs, strict=True)
    )
    return specs, params, json.loads(_read_text(file, "metadata"))


def _read_spec(data: dict) -> AnySpec:
    if "template" in data:
        return TracedSpec.from_data(data)
    return NetworkSpec.from_json(json.dumps(data))


def _read_version_1(file: h5py.File, path: Path) -> _Networks:
    check_links(file, "specs")
    names = [f"specs/{number}" for number in range(len(file["specs"]))]
    stored = [plain_dataset(file, f"{name}/params", kinds="f", num_axes=2) for name in names]
    specs = tuple(NetworkSpec.from_json(file[name].attrs["spec"]) for name in names)
    for name, dataset, spec in zip(names, stored, specs, strict=True):
        if dataset.shape[1] != spec.num_params:
            raise DamagedError(f"{name} has {dataset.shape[1]} parameters, not {spec.num_params}")
    params = tuple(_map_params(dataset, path) for dataset in stored)
    return specs, params, json.loads(file.attrs["metadata"])


def _map_params(dataset: h5py.Dataset, path: Path) -> Float[Tensor, "..."]:
    if dataset.size == 0:
        return torch.empty(dataset.shape)
    mapped = np.memmap(
        path, dtype=dataset.dtype, mode="c", offset=dataset.id.get_offset(), shape=dataset.shape
    )
    return torch.from_numpy(mapped)


def _write_text(file: h5py.File, name: str, text: str) -> None:
    """A text of any length, as bytes (attributes end at 64 kB)."""
    file.create_dataset(name, data=np.frombuffer(text.encode(), dtype=np.uint8))


def _read_text(file: h5py.File, name: str) -> str:
    return read_plain(file, name, kinds="u").tobytes().decode()


def _encode_column(name: str, values: pd.Series) -> np.ndarray:
    data = values.to_numpy()
    if data.dtype.kind in "biuf":
        return data
    strange = [value for value in data if not isinstance(value, str)]
    if strange:
        raise NNGraphsError(
            f"save the column {name!r} of a zoo's table",
            found=f"it is no column of numbers, and the value {strange[0]!r} in it is no string.",
            do="Use numbers, booleans or strings, for instance '' where a string is missing.",
        )
    return np.char.encode(data.astype(str), "utf-8")


def _read_column(file: h5py.File, name: str) -> np.ndarray:
    values = read_plain(file, name, kinds=NUMBERS + TEXTS)
    return np.char.decode(values, "utf-8").astype(object) if values.dtype.kind == "S" else values


def _cannot_open(path: Path, found: str, do: str) -> NNGraphsError:
    return NNGraphsError(f"open {path} as a zoo", found=found, do=do)
