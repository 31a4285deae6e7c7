"""The correlations that StructureReps reports (tables 1 and 2), to stand beside ours.

Pearson, under the random split. The paper says neither how many networks nor how many runs they are
of, nor over what variances are taken.
"""

from typing import Literal

from nn_graphs.errors import check_known

Row = Literal["EA+TC+LF", "EA+GC+LF", "GC+LF", "GC+RF"]

DATASETS = ("moons", "housing", "covertype", "cifar10", "imagenet")
"""Two moons, California housing, forest covertype, CIFAR-10, an unnamed subset of ImageNet."""

PUBLISHED: dict[Row, dict[str, tuple[float, float]]] = {
    row: dict(zip(DATASETS, zip(train, test, strict=True), strict=True))
    for row, train, test in (
        ("EA+TC+LF", (0.74, 0.39, 0.79, 0.94, 0.91), (0.71, 0.42, 0.86, 0.81, 0.83)),
        ("EA+GC+LF", (0.54, 0.26, 0.67, 0.84, 0.82), (0.52, 0.29, 0.68, 0.73, 0.74)),
        ("GC+LF", (0.10, 0.02, 0.04, 0.63, 0.56), (0.09, 0.06, 0.06, 0.55, 0.42)),
        ("GC+RF", (0.08, -0.05, 0.02, 0.31, 0.16), (0.09, -0.06, 0.03, 0.18, 0.11)),
    )
}
"""By row and data set, on training and on test performance."""


def published(row: str, dataset: str, side: Literal["train", "test"]) -> float:
    """The published correlation.

    Raises:
        NNGraphsError: there is no such row or data set.
    """
    check_known(row, PUBLISHED, asked=f"look up the published correlation of {row}")
    check_known(dataset, DATASETS, asked=f"look up the published correlation on {dataset}")
    return PUBLISHED[row][dataset][("train", "test").index(side)]
