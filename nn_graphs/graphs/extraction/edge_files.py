"""Graphs that are larger than memory: their edges written to a file in blocks, and read so.

Layout of the HDF5 file:

    /                 attributes: format = "nn_graphs.edges", version, level
    /source, /target  `[num_edges]`, nodes, ordered by the layer of the target
    /weight           `[num_edges]`
    /parameter_id     `[num_edges]`, the weight's place in the flat parameter vector; -1: a constant
    /layers, /ranges  JSON in UTF-8: the fields of each `NodeLayer` and `EdgeRange`
    /parameters       JSON in UTF-8: names, shapes and places
    /bias/<number>, /bias_ids/<number>   of the layers that have them

The file is written beside its final place and renamed when it is complete.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction.edge_bundles import EdgePart
from nn_graphs.graphs.extraction.graph_plan import GraphPlan
from nn_graphs.graphs.extraction.network_graph import EdgeRange, edge_ranges
from nn_graphs.graphs.extraction.node_layers import NodeLayer
from nn_graphs.graphs.extraction.traced_network import TracedNetwork, check_threshold
from nn_graphs.graphs.parts.steps import Step
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot
from nn_graphs.whole_files import whole_file

FORMAT, VERSION = "nn_graphs.edges", 1
COLUMNS = ("source", "target", "parameter", "weight")
NAMES = {"parameter": "parameter_id"}
BLOCK_SIZE = 2**20


class EdgeFile:
    """A graph whose edges lie in a file; they are read where they are asked for.

    To be used in a `with` statement, or closed.

    Attributes:
        level, layers, ranges, parameters: as of a `NetworkGraph`.
        num_nodes, num_edges: counts.

    Args:
        path: of the file.

    Raises:
        NNGraphsError: there is no such file, or it is another.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file = _opened(self.path)
        self.level = self._file.attrs["level"]
        self.layers = tuple(
            _layer(self._file, number, fields)
            for number, fields in enumerate(json.loads(self._file["layers"][()]))
        )
        self.ranges = tuple(
            EdgeRange(**{**fields, "kernel": tuple(fields["kernel"])})
            for fields in json.loads(self._file["ranges"][()])
        )
        slots = json.loads(self._file["parameters"][()])
        self.parameters = ParameterLayout(tuple(ParameterSlot(**_tuples(slot)) for slot in slots))
        self.num_nodes = self.layers[-1].stop if self.layers else 0
        self.num_edges = len(self._file["source"])

    def __repr__(self) -> str:
        counts = f"{self.num_nodes:,} nodes, {self.num_edges:,} edges"
        return f"EdgeFile({self.path.name}, {self.level}: {counts})"

    def __enter__(self) -> "EdgeFile":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def edges(self, start: int, stop: int) -> EdgePart:
        """The edges `start ... stop - 1`, in memory."""
        return EdgePart(**{name: self._file[_name(name)][start:stop] for name in COLUMNS})

    def blocks(self, size: int = BLOCK_SIZE) -> Iterator[EdgePart]:
        """All edges, in order, at most `size` at a time."""
        for start in range(0, self.num_edges, size):
            yield self.edges(start, min(start + size, self.num_edges))


def stream_edges(
    network: TracedNetwork,
    path: str | Path,
    *,
    level: str = "unit",
    threshold: float | int | None = 0.0,
    block_size: int = BLOCK_SIZE,
) -> Path:
    """Writes a graph's edges to a file, block by block: memory holds one block at a time.

    Args:
        network: that the graph is of.
        path: of the file; one that is there is replaced when all is written.
        level, threshold: as of `TracedNetwork.graph`.
        block_size: how many edges are made at a time.

    Returns:
        The path. `EdgeFile(path)` opens it.

    Raises:
        NNGraphsError: the folder is not there, or the disk too small; see also
            `TracedNetwork.size`.
    """
    path = Path(path)
    check_threshold(threshold)
    plan = network.plan(level)
    counts = plan.edge_counts(threshold)
    _check_room(path, sum(counts) * plan.bytes_per_edge)
    with whole_file(path) as partial, h5py.File(partial, "w") as file:
        _write_edges(file, plan, sum(counts), threshold, block_size)
        _write_nodes(file, plan, counts)
    return path


def _write_edges(
    file: h5py.File, plan: GraphPlan, total: int, threshold: float | int | None, block_size: int
) -> None:
    ids = plan.id_dtype
    parameter = np.int32 if len(plan.params) < 2**31 else np.int64
    dtypes = {"source": ids, "target": ids, "parameter": parameter, "weight": plan.params.dtype}
    columns = {name: file.create_dataset(_name(name), (total,), dtypes[name]) for name in COLUMNS}
    at = 0
    for bundle in plan.bundles:
        for part in plan.parts(bundle, threshold, block_size):
            for name, column in columns.items():
                column[at : at + len(part)] = getattr(part, name)
            at += len(part)
    assert at == total


def _write_nodes(file: h5py.File, plan: GraphPlan, counts: list[int]) -> None:
    file.attrs.update(format=FORMAT, version=VERSION, level=plan.level)
    layers = [_layer_fields(layer) for layer in plan.layers]
    ranges = [asdict(own) for own in edge_ranges(plan, counts)]
    slots = [asdict(slot) for slot in plan.parameters.slots]
    for name, records in (("layers", layers), ("ranges", ranges), ("parameters", slots)):
        file[name] = json.dumps(records)
    for number, layer in enumerate(plan.layers):
        for name in ("bias", "bias_ids"):
            if getattr(layer, name) is not None:
                file[f"{name}/{number}"] = getattr(layer, name)


def _layer_fields(layer: NodeLayer) -> dict:
    """What JSON can hold of a layer."""
    step = layer.function
    return {
        "name": layer.name,
        "kind": layer.kind,
        "start": layer.start,
        "shape": layer.shape,
        "axis": layer.axis,
        "activation": [layer.activation.name, layer.activation.parameter],
        "offset": layer.offset,
        "function": step and [step.operation, step.arguments, dict(step.keywords)],
        "setting": layer.setting,
        "is_output": layer.is_output,
    }


def _layer(file: h5py.File, number: int, fields: dict) -> NodeLayer:
    """A layer out of a file."""
    function = fields.pop("function")
    if function is not None:
        operation, arguments, keywords = function
        function = Step(operation, _tuple(arguments), keywords)
    arrays = {
        name: file[f"{name}/{number}"][()] if f"{name}/{number}" in file else None
        for name in ("bias", "bias_ids")
    }
    activation = Activation(*fields.pop("activation"))
    shape = tuple(fields.pop("shape"))
    return NodeLayer(**fields, shape=shape, activation=activation, function=function, **arrays)


def _opened(path: Path) -> h5py.File:
    is_known = path.is_file() and h5py.is_hdf5(path)
    file = h5py.File(path, "r") if is_known else None
    if file is None or file.attrs.get("format") != FORMAT:
        if file is not None:
            file.close()
        found = "it holds no edges of a graph." if path.is_file() else "there is no such file."
        raise NNGraphsError(
            f"open {path} as a graph", found=found, do="Write one with stream_edges."
        )
    return file


def _check_room(path: Path, num_bytes: int) -> None:
    """Raises where a file of this size cannot be written."""
    asked = f"write {num_bytes / 2**20:,.1f} MiB of edges to {path}"
    if not path.parent.is_dir():
        raise NNGraphsError(asked, found=f"{path.parent} is no folder.", do="Make it first.")
    free = shutil.disk_usage(path.parent).free
    if free < num_bytes:
        raise NNGraphsError(
            asked,
            found=f"the disk has {free / 2**20:,.1f} MiB left.",
            do="Raise the threshold, choose a coarser level, or another disk.",
        )


def _name(column: str) -> str:
    return NAMES.get(column, column)


def _tuple(value):
    """Lists as tuples."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def _tuples(fields: dict) -> dict:
    return {name: _tuple(value) for name, value in fields.items()}
