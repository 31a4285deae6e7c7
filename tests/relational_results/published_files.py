"""Files laid out as the published raw results are, of a few made-up graphs."""

import zipfile
from pathlib import Path

import numpy as np

from nn_graphs.relational_results.published import TASKS, PublishedTask

GRAPHS = np.array(  # nodes, sparsity, rewiring probability, seed, C, L
    [
        [64, 0.1250000004, 0.0081541234, 22, 0.3, 2.0],
        [64, 0.4, 0.2, 3, 0.5, 1.5],
        [64, 0.4, 0.2, 4, 0.52, 1.52],
    ]
)
SIXTEEN = np.array([[16, 0.5, 0.1, 1, 0.4, 1.6], [16, 0.6, 0.3, 2, 0.45, 1.5]])
ARRAYS = {"n64_3942": GRAPHS, "n64_52": GRAPHS[:2], "n16_48": SIXTEEN}


def write_published(root: Path, *, epochs: tuple[int, ...] = (0, 1, 100)) -> None:
    """All six tasks; the last epochs and those of `epochs` that they have."""
    for name, array in ARRAYS.items():
        root.mkdir(parents=True, exist_ok=True)
        np.save(root / f"graphs_{name}.npy", array)
    for task in TASKS.values():
        for folder, seeds in task.folders.items():
            for epoch in {*epochs, task.epochs[-1]}.intersection(task.epochs):
                write_pair(root, task, folder, seeds, epoch)


def write_pair(
    root: Path, task: PublishedTask, folder: str, seeds: tuple[int, ...], epoch: int
) -> None:
    graphs = ARRAYS[task.graphs]
    order = np.random.default_rng(sum(seeds)).permutation(len(graphs) + 1)
    names = np.array([name_row(task, graphs, number) for number in order])
    results = np.array(
        [[result_row(graphs, number, seed, epoch) for seed in seeds] for number in order], float
    )
    stem = folder
    if seeds == (1,) and task.name.startswith("resnet"):
        stem = task.name  # the quirk of three tasks
    for kind, array in (("names", names), ("results", results)):
        path = root / "final_results" / folder / f"{kind}_{stem}_epoch{epoch}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)


def name_row(task: PublishedTask, graphs: np.ndarray, number: int) -> list[str]:
    """The name of graph `number`; after the last one comes the baseline."""
    if number == len(graphs):
        transform, sparsity, rewiring, seed = task.baseline, 1.0, 0.0, 1.0
    else:
        transform = "talk"
        sparsity, rewiring, seed = graphs[number, 1:4].round(6).tolist()
    nodes = str(float(graphs[0, 0]))
    return [transform, "dense", nodes, "ws", str(sparsity), str(rewiring), "sum", str(seed)] + [
        "1.0"
    ] * 7


def result_row(graphs: np.ndarray, number: int, seed: int, epoch: int) -> list[float]:
    """Top-1 error 30 + graph + seed / 10 and less with epochs; of the baseline 40 + seed / 10."""
    error = (40 if number == len(graphs) else 30 + number) + seed / 10 - epoch / 1000
    return [2.5, 0.002, 0.1, error, error / 10, graphs[0, 0], 500 + number, seed]


def zip_results(root: Path) -> None:
    """Packs `final_results`, and takes the folder away."""
    files = sorted((root / "final_results").rglob("*.npy"))
    with zipfile.ZipFile(root / "final_results.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(root))
            path.unlink()
    for folder in sorted((root / "final_results").rglob("*"), reverse=True):
        folder.rmdir()
    (root / "final_results").rmdir()
