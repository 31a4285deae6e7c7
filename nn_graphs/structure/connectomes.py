"""Connectomes: graphs of which regions or neurons of a brain project to which.

Two layouts are read:

- text, as in the repository graph2nn of You et al. (ICML 2020): a row of characters 0 and 1 a
  node, one of `PUBLISHED`, in `<root>/graph2nn/` or `<root>/`;
- `<root>/connectomes.npz`: a graph under each name, `<name>/edges [2, m]` (row 0 = where an arc
  begins) and perhaps `<name>/labels [n]` and `<name>/weight [m]`, e.g. numbers of synapses.

Arcs go one way; "undirected" is `.symmetrised`. Self loops are left out, which relational graphs
have at every node.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nn_graphs.errors import NNGraphsError
from nn_graphs.structure.adjacency import Adjacency, adjacency_matrix, symmetrised

PUBLISHED = {
    "macaque_whole_cortex": "mcwhole.txt",
    "macaque_visual": "mcvisual.txt",
    "cat": "cat.txt",
}
"""The three of the relational-graph study, in text."""

ARCHIVE = "connectomes.npz"


@dataclass(frozen=True)
class Connectome:
    """A directed graph of a brain.

    Attributes:
        name: what it was asked for by.
        adjacency: `[n, n]`, arc from row to column, no self loops; it may be of several pieces.
        labels: name of each node; empty where the file has none.
        weights: `[n, n]`, of the arcs, 0 where there is none; those of parallel arcs add up. None
            where the file has none.
    """

    name: str
    adjacency: Adjacency
    labels: tuple[str, ...] = ()
    weights: Float[np.ndarray, "n n"] | None = None

    @property
    def symmetrised(self) -> "Connectome":
        """With every arc in both directions, and the weights of both in each."""
        weights = None if self.weights is None else self.weights + self.weights.T
        return replace(self, adjacency=symmetrised(self.adjacency), weights=weights)


def connectome_names(root: Path) -> tuple[str, ...]:
    """Names of the connectomes whose files lie under `root`."""
    published = [name for name in PUBLISHED if _text_file(root, name) is not None]
    archive = root / ARCHIVE
    if not archive.is_file():
        return tuple(published)
    return (*published, *(key.removesuffix("/edges") for key in _archive_keys(archive)))


def read_connectome(name: str, root: Path) -> Connectome:
    """A connectome, directed, from the files under `root`.

    Raises:
        NNGraphsError: where no file has it, or a file is damaged.
    """
    text_file = _text_file(root, name)
    if text_file is not None:
        return Connectome(name, _read_text(text_file))
    archive = root / ARCHIVE
    if archive.is_file() and f"{name}/edges" in _archive_keys(archive):
        return _read_archived(name, archive)
    there = ", ".join(connectome_names(root)) or "none"
    raise NNGraphsError(
        f"read the connectome {name!r}",
        found=f"{root} has no file of it; what it has: {there}.",
        do=f"Put {PUBLISHED.get(name, ARCHIVE)} there, or choose one that it has.",
    )


def _text_file(root: Path, name: str) -> Path | None:
    if name not in PUBLISHED:
        return None
    places = (root / "graph2nn" / PUBLISHED[name], root / PUBLISHED[name])
    return next((place for place in places if place.is_file()), None)


def _read_text(path: Path) -> Adjacency:
    rows = path.read_text(encoding="ascii", errors="replace").split()
    if {len(row) for row in rows} != {len(rows)} or set("".join(rows)) - {"0", "1"}:
        raise NNGraphsError(
            f"read {path}",
            found=f"its {len(rows)} rows are not {len(rows)} characters 0 and 1 each.",
            do="Get the file again.",
        )
    return adjacency_matrix([list(map(int, row)) for row in rows], is_directed=True)


def _archive_keys(archive: Path) -> list[str]:
    with _opened(archive) as arrays:
        return [key for key in arrays.files if key.endswith("/edges")]


def _read_archived(name: str, archive: Path) -> Connectome:
    with _opened(archive) as arrays:
        edges = arrays[f"{name}/edges"]
        labels = arrays[f"{name}/labels"].tolist() if f"{name}/labels" in arrays else []
        weight = arrays.get(f"{name}/weight")
    num_nodes = len(labels) or int(edges.max(initial=-1)) + 1
    if edges.ndim != 2 or len(edges) != 2 or ((edges < 0) | (edges >= num_nodes)).any():
        raise NNGraphsError(
            f"read the connectome {name!r} from {archive}",
            found=f"its edges {list(edges.shape)} are not pairs of nodes 0 to {num_nodes - 1}.",
            do="Get the file again.",
        )
    adjacency = np.zeros((num_nodes, num_nodes), bool)
    adjacency[edges[0], edges[1]] = True
    np.fill_diagonal(adjacency, False)
    names = tuple(label.strip() for label in labels)
    if weight is None:
        return Connectome(name, adjacency, names)
    return Connectome(name, adjacency, names, _weights(name, archive, edges, weight, adjacency))


def _weights(
    name: str, archive: Path, edges: np.ndarray, weight: np.ndarray, adjacency: Adjacency
) -> Float[np.ndarray, "n n"]:
    if weight.shape != edges.shape[1:] or not np.isfinite(weight).all():
        raise NNGraphsError(
            f"read the connectome {name!r} from {archive}",
            found=f"its weights {list(weight.shape)} are not a finite number for each of "
            f"{edges.shape[1]} arcs.",
            do="Get the file again.",
        )
    weights = np.zeros(adjacency.shape)
    np.add.at(weights, tuple(edges), weight)
    np.fill_diagonal(weights, 0)
    return weights


def _opened(archive: Path) -> np.lib.npyio.NpzFile:
    try:
        return np.load(archive, allow_pickle=False)
    except Exception as error:  # damage shows in zipfile or numpy, as nearly any exception
        raise NNGraphsError(
            f"read {archive}", found=f"it is no archive of arrays: {error}.", do="Get it again."
        ) from error
