"""The raw results that You et al. published with "Graph structure of neural networks" (ICML 2020).

The folder `analysis` of facebookresearch/graph2nn (MIT) holds arrays of graphs, one row per graph:
nodes, sparsity, rewiring probability, seed, clustering C, path length L; and
`final_results/<task>[_seed<s>]/{names,results}_..._epoch<e>.npy`, one row per graph in any order:
which graph (text), and per training seed the parameters (millions), FLOPs (billions), seconds per
iteration, top-1 and top-5 error (percent), nodes, width of the first stage, training seed. Rows are
joined to graphs by sparsity and rewiring probability, rounded to six digits, and seed. Nothing is
unpickled. What is read as a folder may also be packed, under the same paths, in
`final_results.zip`.

What is peculiar about them:

- MLPs have all five seeds and the last epoch, 200, in one file. ImageNet networks have three seeds,
  a folder each, and the epochs 0 to 100. Those of epoch 0 are not errors at initialisation (some
  runs had been resumed) and are read only when asked for.
- The names of three tasks' files of seed 1 lack the `_seed1` of their folder.
- Two graphs lack late epochs of one seed; see `missing_runs`.
- The baseline, the dense network, is a row of its own: sparsity 1, here `BASELINE` with C = L = 1.
"""

import io
import shlex
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from nn_graphs.errors import NNGraphsError
from nn_graphs.relational_results.table import BASELINE

RESULTS = "final_results"
NAME_COLUMNS = 15
TRANSFORM, SPARSITY, REWIRING, GRAPH_SEED = 0, 4, 5, 7  # columns of the names
RESULT_COLUMNS = {  # of the results; column 2 is a time of no interest, 5 the nodes
    "params_millions": 0,
    "flops_billions": 1,
    "top1_error": 3,
    "top5_error": 4,
    "width": 6,
    "train_seed": 7,
}
NUM_RESULTS, NUM_NODES = 8, 5
INTEGERS = ("width", "train_seed")
DIGITS = 6  # that sparsity and rewiring probability are rounded to in names
EVERY_EPOCH = range(1, 101)

Folder = Path | zipfile.Path
Graphs = Float[np.ndarray, "num_graphs 6"]


@dataclass(frozen=True)
class PublishedTask:
    """One architecture on one data set.

    Attributes:
        name: as in the names of folders.
        graphs: array of the graphs that its runs were made with, as in `graphs_<...>.npy`.
        folders: training seeds per folder.
        epochs: that were published, epoch 0 among them; the last one is what is reported.
        baseline: what names call the dense network.
        best: row of the graph that the paper reports as the best.
    """

    name: str
    graphs: str
    folders: Mapping[str, tuple[int, ...]]
    epochs: range
    baseline: str
    best: int


def _imagenet_task(name: str, *, baseline: str, best: int, graphs: str = "n64_52") -> PublishedTask:
    folders = {f"{name}_seed{seed}": (seed,) for seed in (1, 2, 3)}
    return PublishedTask(name, graphs, folders, range(101), baseline, best)


TASKS = {
    task.name: task
    for task in (
        PublishedTask(
            name="mlp_cifar10",
            graphs="n64_3942",
            folders={"mlp_cifar10": (1, 2, 3, 4, 5)},
            epochs=range(200, 201),
            baseline="linear",
            best=3552,
        ),
        _imagenet_task("cnn6_imagenet", baseline="convbasic", best=27),
        _imagenet_task("resnet34_imagenet", baseline="channelbasic", best=37),
        _imagenet_task("resnet34_sep_imagenet", baseline="channelsep", best=36),
        _imagenet_task("resnet50_imagenet", baseline="bottleneck", best=22),
        _imagenet_task("efficientnet_imagenet", baseline="mbconv", best=42, graphs="n16_48"),
    )
}


def read_published(
    root: str | Path,
    *,
    tasks: Sequence[str] | str = tuple(TASKS),
    epochs: Collection[int] | None = None,
) -> pd.DataFrame:
    """The published runs as a table.

    Args:
        root: the folder `graph2nn` of a data root: what `data/download.py graph2nn` makes, or one
            that holds `final_results` (or `final_results.zip`) and the arrays of graphs.
        tasks: names in `TASKS`, or one of them.
        epochs: those of them that a task has are read, e.g. `EVERY_EPOCH`; None: its last one.

    Returns:
        One row per run and epoch: task, graph_id (row of the task's array of graphs), num_nodes,
        sparsity, rewiring, graph_seed, clustering, path_length, train_seed, epoch, top1_error and
        top5_error in percent, params_millions, flops_billions, width.

    Raises:
        NNGraphsError: an unknown task; an epoch that no task has; files are missing, damaged, or
            contradict each other or the graphs.
    """
    tasks = (tasks,) if isinstance(tasks, str) else tasks
    for name in tasks:
        _check_task(name)
    last = {name: {TASKS[name].epochs[-1]} if epochs is None else {*epochs} for name in tasks}
    chosen = {name: sorted(last[name].intersection(TASKS[name].epochs)) for name in tasks}
    if not any(chosen.values()):
        raise NNGraphsError(
            f"read the results of {', '.join(tasks)}",
            found="none of the epochs asked for was published.",
            do="The MLP has epoch 200, the other tasks 0 to 100.",
        )
    folder = _find_folder(root)
    try:
        results = _open_results(folder)
        parts = [
            _task_runs(folder, results, TASKS[name], epochs)
            for name, epochs in chosen.items()
            if epochs
        ]
    except zipfile.BadZipFile as error:
        raise _damaged(folder / f"{RESULTS}.zip", f"{error}.") from error
    return pd.concat(parts, ignore_index=True)


def read_graphs(root: str | Path, name: str) -> pd.DataFrame:
    """A published array of graphs.

    Args:
        root: as of `read_published`.
        name: e.g. `"n64_3942"`: nodes and number of graphs.

    Returns:
        One row per graph: num_nodes, sparsity, rewiring, graph_seed, clustering, path_length;
        indexed by `graph_id`.

    Raises:
        NNGraphsError: the array is missing or damaged, or holds a graph twice.
    """
    path = _find_folder(root) / f"graphs_{name}.npy"
    array = _read_array(path)
    if array.ndim != 2 or array.shape[1] != 6 or array.dtype.kind != "f":
        raise _damaged(path, f"it holds {array.dtype} {array.shape}, not rows of 6 numbers.")
    if not np.isfinite(array).all():
        raise _damaged(path, "it holds numbers that are not finite.")
    columns = ("num_nodes", "sparsity", "rewiring", "graph_seed", "clustering", "path_length")
    graphs = pd.DataFrame(array, columns=columns).rename_axis("graph_id")
    if len(set(_keys(graphs))) < len(graphs):
        raise _damaged(path, "two of its rows have the same sparsity, probability and seed.")
    return graphs.astype({"num_nodes": int, "graph_seed": int})


def nested_ids(graphs: pd.DataFrame, within: pd.DataFrame) -> list[int]:
    """Where graphs stand in a larger array of the same family, e.g. the 52 among the 3,942.

    Raises:
        NNGraphsError: some are not there.
    """
    places = dict(zip(_keys(within), within.index.tolist(), strict=True))
    missing = [key for key in _keys(graphs) if key not in places]
    if missing:
        raise NNGraphsError(
            f"find {len(graphs)} graphs among {len(within)}",
            found=f"{len(missing)} are not there; the first has (sparsity, probability, seed) "
            f"{missing[0]}.",
            do="Take arrays of the same family.",
        )
    return [places[key] for key in _keys(graphs)]


def _task_runs(
    folder: Path, results: Folder, task: PublishedTask, epochs: Sequence[int]
) -> pd.DataFrame:
    graphs = _with_baseline(read_graphs(folder, task.graphs))
    places = {key: graph_id for graph_id, key in zip(graphs.index, _keys(graphs), strict=True)}
    all_ids, all_epochs, all_numbers = [], [], []
    for name, seeds in task.folders.items():
        for epoch in epochs:
            names_path = _find_file(results / name, "names", task, epoch)
            results_path = _find_file(results / name, "results", task, epoch)
            graph_ids = _read_names(names_path, task, places)
            all_numbers.append(_read_results(results_path, seeds, graphs, graph_ids))
            all_ids.append(np.repeat(graph_ids, len(seeds)))
            all_epochs.append(np.full(len(all_ids[-1]), epoch))
    runs = pd.DataFrame(np.concatenate(all_numbers), columns=list(RESULT_COLUMNS))
    runs = runs.astype(dict.fromkeys(INTEGERS, int)).assign(
        task=task.name, epoch=np.concatenate(all_epochs)
    )
    return pd.concat([graphs.loc[np.concatenate(all_ids)].reset_index(), runs], axis=1)


def _with_baseline(graphs: pd.DataFrame) -> pd.DataFrame:
    """The graphs, and below them the complete graph of as many nodes."""
    complete = {
        "num_nodes": graphs["num_nodes"].iloc[0],
        "sparsity": 1.0,
        "rewiring": 0.0,
        "graph_seed": 1,
        "clustering": 1.0,
        "path_length": 1.0,
    }
    return pd.concat([graphs, pd.DataFrame(complete, index=[BASELINE])]).rename_axis("graph_id")


def _read_names(
    path: Folder, task: PublishedTask, places: Mapping[tuple, int]
) -> Int[np.ndarray, " rows"]:
    """Which graph each row of a pair of files is about."""
    names = _read_array(path)
    if names.ndim != 2 or names.shape[1] != NAME_COLUMNS or names.dtype.kind != "U":
        raise _damaged(path, f"it holds {names.dtype} {names.shape}, not rows of 15 texts.")
    try:
        keys = [tuple(row) for row in names[:, [SPARSITY, REWIRING, GRAPH_SEED]].astype(float)]
    except ValueError as error:
        raise _damaged(path, f"a sparsity, probability or seed is no number: {error}.") from error
    for row, key in enumerate(keys):
        if key not in places:
            raise _damaged(path, f"row {row} is of none of the graphs {task.graphs}: {key}.")
        if (places[key] == BASELINE) != (names[row, TRANSFORM] == task.baseline):
            raise _damaged(path, f"row {row} calls {names[row, TRANSFORM]!r} what has {key}.")
    graph_ids = np.array([places[key] for key in keys], dtype=int)
    if len(set(keys)) < len(keys):
        raise _damaged(path, "two of its rows are of the same graph.")
    return graph_ids


def _read_results(
    path: Folder,
    seeds: tuple[int, ...],
    graphs: pd.DataFrame,
    graph_ids: Int[np.ndarray, " rows"],
) -> Float[np.ndarray, "runs columns"]:
    """The columns `RESULT_COLUMNS`, one row per graph and seed."""
    results, expected = _read_array(path), (len(graph_ids), len(seeds), NUM_RESULTS)
    if results.shape != expected or results.dtype.kind != "f":
        found = f"it holds {results.dtype} {results.shape}; the names beside it ask for {expected}."
        raise _damaged(path, found)
    if not np.isfinite(results).all():
        raise _damaged(path, "it holds numbers that are not finite.")
    if (results[..., RESULT_COLUMNS["train_seed"]] != seeds).any():
        raise _damaged(path, f"its training seeds are not {seeds}.")
    if (results[..., NUM_NODES] != graphs["num_nodes"].iloc[0]).any():
        raise _damaged(path, "its numbers of nodes are not those of the graphs.")
    errors = results[..., [RESULT_COLUMNS["top1_error"], RESULT_COLUMNS["top5_error"]]]
    if (errors < 0).any() or (errors > 100).any():
        raise _damaged(path, "it holds errors that are no percentages.")
    return results[..., list(RESULT_COLUMNS.values())].reshape(-1, len(RESULT_COLUMNS))


def _find_folder(root: str | Path) -> Path:
    """The folder that holds the results: `root`, or `analysis` of an unpacked repository."""
    root = Path(root)
    folders = [root, *sorted(root.glob("analysis")), *sorted(root.glob("*/analysis"))]
    for folder in folders:
        if (folder / RESULTS).is_dir() or (folder / f"{RESULTS}.zip").is_file():
            return folder
    raise NNGraphsError(
        "read the published results of graph2nn",
        found=f"there is no {RESULTS} or {RESULTS}.zip in {root}.",
        do=f"Run: python data/download.py graph2nn --root {shlex.quote(str(root.parent))}",
    )


def _open_results(folder: Path) -> Folder:
    if (folder / RESULTS).is_dir():
        return folder / RESULTS
    return zipfile.Path(folder / f"{RESULTS}.zip") / RESULTS


def _find_file(folder: Folder, kind: str, task: PublishedTask, epoch: int) -> Folder:
    """Names of files have the name of their folder or, without a seed, of their task."""
    for middle in (folder.name, task.name):
        path = folder / f"{kind}_{middle}_epoch{epoch}.npy"
        if path.is_file():
            return path
    raise _damaged(folder, f"it has no {kind} of epoch {epoch}.")


def _read_array(path: Folder) -> np.ndarray:
    # A damaged file shows as nearly any exception in zlib or numpy.
    try:
        return np.lib.format.read_array(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except Exception as error:
        raise _damaged(path, f"it cannot be read as an array: {error}.") from error


def _keys(graphs: pd.DataFrame) -> list[tuple[float, float, float]]:
    """What names tell of graphs: sparsity, rewiring probability, seed."""
    columns = [graphs[column].to_numpy(float) for column in ("sparsity", "rewiring")]
    rounded = [column.round(DIGITS).tolist() for column in columns]
    return list(zip(*rounded, graphs["graph_seed"].astype(float).tolist(), strict=True))


def _check_task(name: str) -> None:
    if name not in TASKS:
        raise NNGraphsError(
            f"read the published results of {name!r}",
            found="no task has that name.",
            do=f"Choose of: {', '.join(TASKS)}.",
        )


def _damaged(path: Folder, found: str) -> NNGraphsError:
    return NNGraphsError(
        f"read {path}",
        found=found,
        do="Delete it, then get the results again with data/download.py graph2nn.",
    )
