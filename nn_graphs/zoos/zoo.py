"""A zoo: trained networks of one or many architectures with a table about them, in one file.

Layout of the HDF5 file (format version 2):

    /                  attributes: format = "nn_graphs.zoo", version
    /params            float32, contiguous and uncompressed, so that it maps into memory at its
                       offset: the networks `[N_k, num_params_k]` of architecture 0, 1, ..., one
                       architecture behind the other
    /counts            N_k for every architecture k
    /specs             the NetworkSpecs, a JSON array in UTF-8
    /metadata          JSON in UTF-8
    /table/<column>    one value per network; the column `spec` says which k, and `row` which row
                       of its architecture's networks, the network is

Version 1 had a group `/specs/<k>` with its own `params` for every architecture; it can be read.
A zoo of thousands of architectures opens as fast as one: the file is mapped once.

The file is written beside its final place and renamed when it is complete.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.spec import NetworkSpec

FORMAT, VERSION = "nn_graphs.zoo", 2
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Zoo:
    """A population of trained networks.

    Attributes:
        specs: the distinct architectures.
        params: per architecture `[N_k, num_params_k]` float32, mapped from the file; writing to it
            does not change the file.
        table: one row per network. Columns `spec` and `row` say where its parameters are; others
            are free, by convention `label`, `split` (train, val or test), `run` (which training run
            it comes from), `step` (optimizer steps) and `source_id` (what it was trained on).
        metadata: how the zoo was made, as JSON data.
    """

    specs: tuple[NetworkSpec, ...]
    params: tuple[Float[Tensor, "_ _"], ...]  # [N_k, num_params_k], each of its own shape
    table: pd.DataFrame
    metadata: Mapping = field(default_factory=dict)

    def __post_init__(self):
        for number, (spec, params) in enumerate(zip(self.specs, self.params, strict=True)):
            if params.shape[1] != spec.num_params:
                raise NNGraphsError(
                    f"make a zoo of {len(self.table)} networks",
                    found=f"architecture {number} has {spec.num_params} parameters, "
                    f"its networks have {params.shape[1]}.",
                    do="Give params [N, num_params] in the order of spec.parameters.",
                )

    def __len__(self) -> int:
        return len(self.table)

    @classmethod
    def single(
        cls,
        spec: NetworkSpec,
        params: Float[Tensor, "N num_params"],
        table: pd.DataFrame,
        metadata: Mapping | None = None,
    ) -> "Zoo":
        """A zoo of one architecture, whose table rows are in the order of `params`.

        Raises:
            NNGraphsError: there are more or fewer rows than networks.
        """
        if len(table) != len(params):
            raise NNGraphsError(
                f"make a zoo of {len(params)} networks",
                found=f"its table has {len(table)} rows.",
                do="Give one row per network.",
            )
        located = table.assign(spec=0, row=np.arange(len(table)))
        return cls((spec,), (params,), located, metadata or {})

    @property
    def spec(self) -> NetworkSpec:
        """The architecture of a zoo that has only one.

        Raises:
            NNGraphsError: the zoo has several.
        """
        if len(self.specs) != 1:
            raise NNGraphsError(
                "take the architecture of the zoo",
                found=f"it has {len(self.specs)}.",
                do="Use zoo.specs, and the column `spec` of zoo.table.",
            )
        return self.specs[0]

    def indices(self, split: str) -> Int[np.ndarray, "M"]:
        """Numbers (rows of the table) of the networks of a split.

        Raises:
            NNGraphsError: no network is of this split.
        """
        splits = self.table.get("split", pd.Series(dtype=object))
        found = np.flatnonzero(splits.to_numpy() == split)
        if not len(found):
            known = ", ".join(sorted(set(splits))) or "none"
            raise NNGraphsError(
                f"take the split {split!r} of the zoo",
                found=f"the splits in its column `split` are: {known}.",
                do="Choose one of these.",
            )
        return found

    def take(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Float[Tensor, "B num_params"]:
        """Parameters of the networks with these numbers, all of one architecture, as a copy.

        Raises:
            NNGraphsError: they are of several architectures, or none is asked for.
        """
        numbers = np.asarray(indices)
        kinds = np.unique(self.table["spec"].to_numpy()[numbers]) if len(numbers) else ()
        if len(kinds) != 1:
            raise NNGraphsError(
                f"stack the parameters of {len(numbers)} networks",
                found=f"they are of {len(kinds)} architectures.",
                do="Take networks of one architecture at a time.",
            )
        rows = torch.from_numpy(self.table["row"].to_numpy()[numbers])
        return self.params[int(kinds[0])][rows]

    def select(self, indices: Sequence[int] | Int[np.ndarray, "M"]) -> "Zoo":
        """The zoo of these networks alone, in this order; parameters are not copied."""
        table = self.table.iloc[np.asarray(indices)].reset_index(drop=True)
        return Zoo(self.specs, self.params, table, self.metadata)

    def keep_first(self, number: int | None, *, split: str) -> "Zoo":
        """The zoo with the first `number` networks of a split, and all of the others.

        With None, all stay.

        Raises:
            NNGraphsError: the split has fewer, or none would stay.
        """
        if number is None:
            return self
        indices = self.indices(split)
        if not 0 < number <= len(indices):
            raise NNGraphsError(
                f"keep {number} networks of the split {split!r}",
                found=f"it has {len(indices)}.",
                do=f"Choose a number from 1 to {len(indices)}.",
            )
        return self.select(np.setdiff1d(np.arange(len(self)), indices[number:]))

    def without_unused_specs(self) -> "Zoo":
        """The same networks without architectures that none of them has."""
        used, numbers = np.unique(self.table["spec"].to_numpy(), return_inverse=True)
        return Zoo(
            tuple(self.specs[kind] for kind in used),
            tuple(self.params[kind] for kind in used),
            self.table.assign(spec=numbers),
            self.metadata,
        )

    def save(self, path: str | Path) -> Path:
        """Writes the zoo to `path`; a file that is there is replaced only when all is written.

        Raises:
            NNGraphsError: a column of the table holds neither numbers nor strings.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            with h5py.File(partial, "w") as file:
                self._write(file)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    def _write(self, file: h5py.File) -> None:
        file.attrs.update(format=FORMAT, version=VERSION)
        _write_text(file, "metadata", json.dumps(dict(self.metadata)))
        _write_text(file, "specs", f"[{','.join(spec.to_json() for spec in self.specs)}]")
        counts = np.array([len(params) for params in self.params], dtype=np.int64)
        file.create_dataset("counts", data=counts)
        total = sum(params.numel() for params in self.params)
        stored = file.create_dataset("params", shape=(total,), dtype=np.float32)
        start = 0
        for params in self.params:
            stop = start + params.numel()
            if stop > start:
                stored[start:stop] = params.detach().reshape(-1).cpu().numpy()
            start = stop
        for column, values in self.table.items():
            file.create_dataset(f"table/{column}", data=_encode_column(column, values))
        file["table"].attrs["columns"] = json.dumps(list(self.table.columns))

    @classmethod
    def open(cls, path: str | Path) -> "Zoo":
        """Opens a zoo file; parameters are mapped, not read.

        Raises:
            NNGraphsError: there is no such file, it is truncated, or no zoo of this format.
        """
        path = Path(path)
        if not path.exists():
            raise _cannot_open(path, "there is no such file.", "Check the path, or make the zoo.")
        try:
            with h5py.File(path, "r") as file:
                return cls._read(file, path)
        except (OSError, KeyError, ValueError) as error:
            raise _cannot_open(
                path,
                f"it is truncated or no HDF5 file of {path.stat().st_size} bytes ({error}).",
                "Make or download it again.",
            ) from error

    @classmethod
    def _read(cls, file: h5py.File, path: Path) -> "Zoo":
        found = (file.attrs.get("format"), file.attrs.get("version"))
        if found not in ((FORMAT, 1), (FORMAT, VERSION)):
            raise _cannot_open(
                path,
                f"its format is {found[0]}, version {found[1]}; not {FORMAT}, version {VERSION}.",
                "Open a file written by Zoo.save; for a newer version, upgrade nn_graphs.",
            )
        specs, params, metadata = (_read_version_1 if found[1] == 1 else _read_contents)(file, path)
        columns = json.loads(file["table"].attrs["columns"])
        table = pd.DataFrame({name: _read_column(file[f"table/{name}"]) for name in columns})
        return cls(specs, params, table, metadata)


Contents = tuple[tuple[NetworkSpec, ...], tuple[Tensor, ...], dict]  # specs, params, metadata


def _read_contents(file: h5py.File, path: Path) -> Contents:
    specs = tuple(
        NetworkSpec.from_json(json.dumps(spec)) for spec in json.loads(_read_text(file, "specs"))
    )
    counts = file["counts"][()].tolist()
    sizes = [count * spec.num_params for count, spec in zip(counts, specs, strict=True)]
    parts = _map_params(file["params"], path).split(sizes)
    params = tuple(
        part.view(count, spec.num_params)
        for part, count, spec in zip(parts, counts, specs, strict=True)
    )
    return specs, params, json.loads(_read_text(file, "metadata"))


def _read_version_1(file: h5py.File, path: Path) -> Contents:
    groups = [file[f"specs/{number}"] for number in range(len(file["specs"]))]
    specs = tuple(NetworkSpec.from_json(group.attrs["spec"]) for group in groups)
    params = tuple(_map_params(group["params"], path) for group in groups)
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
    return file[name][()].tobytes().decode()


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


def _read_column(dataset: h5py.Dataset) -> np.ndarray:
    values = dataset[()]
    return np.char.decode(values, "utf-8").astype(object) if values.dtype.kind == "S" else values


def _cannot_open(path: Path, found: str, do: str) -> NNGraphsError:
    return NNGraphsError(f"open {path} as a zoo", found=found, do=do)
