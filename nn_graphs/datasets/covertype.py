"""Forest covertype (Blackard, 1998): which of seven kinds of trees cover a piece of land.

Read from the first of these that is there:

- the publisher's `covtype.data`, packed by gzip or not, in one of the `FOLDERS` under the root:
  581,012 rows of ten measures, four columns for the wilderness area, forty for the kind of soil,
  and the cover, 1 to 7;
- `<root>/covtype.npz`, 92,962 of these rows in the same mix of classes, with numbers for the
  wilderness area and the soil.

The publisher's training rows are as many of each class, all others are not; our split is drawn
from all rows, so that both sides have the same mix.
"""

import shlex
from pathlib import Path

import numpy as np
from jaxtyping import Num

from nn_graphs.datasets.tables import TableDataset, damaged, read_arrays, read_rows
from nn_graphs.errors import NNGraphsError

FOLDERS = ("covertype", "covtype", ".")
FILES = ("covtype.data.gz", "covtype.data")
MEASURES = (
    *("elevation", "aspect", "slope", "to_water_across", "to_water_up", "to_roadways"),
    *("hillshade_9am", "hillshade_noon", "hillshade_3pm", "to_fire_points"),
)
NUM_AREAS, NUM_SOILS = 4, 40
FEATURES = (
    *MEASURES,
    *(f"wilderness_{number}" for number in range(1, NUM_AREAS + 1)),
    *(f"soil_{number}" for number in range(1, NUM_SOILS + 1)),
)
CLASSES = (
    *("spruce/fir", "lodgepole pine", "ponderosa pine", "cottonwood/willow"),
    *("aspen", "douglas fir", "krummholz"),
)
NPZ_KEYS = ("num_sample", "wilderness_sample", "soil_sample", "y_sample")


def read_covertype(root: Path) -> TableDataset:
    """All rows that are there, `[n, 54]`, in an order of our own, four fifths for training.

    Raises:
        NNGraphsError: no file is found, or one is damaged.
    """
    for path in (root / folder / file for folder in FOLDERS for file in FILES):
        if path.is_file():
            rows = read_rows(path, num_columns=len(FEATURES) + 1)
            return _dataset(rows[:, :-1], rows[:, -1], path)
    npz = root / "covtype.npz"
    if npz.is_file():
        return _read_compact(npz)
    raise NNGraphsError(
        "load covertype",
        found=f"there is no {FILES[0]} in {root / FOLDERS[0]}, and there is no {npz}.",
        do=f"Run: python data/download.py covertype --root {shlex.quote(str(root))}",
    )


def _read_compact(path: Path) -> TableDataset:
    measures, areas, soils, covers = read_arrays(path, NPZ_KEYS).values()
    if measures.shape[1:] != (len(MEASURES),) or areas.ndim + soils.ndim + covers.ndim != 3:
        raise damaged(path, f"its measures are {measures.shape}, not of {len(MEASURES)} columns.")
    if areas.max() >= NUM_AREAS or soils.max() >= NUM_SOILS:
        raise damaged(path, f"its areas go up to {areas.max()}, its soils up to {soils.max()}.")
    columns = (measures, np.eye(NUM_AREAS)[areas], np.eye(NUM_SOILS)[soils])
    return _dataset(np.concatenate(columns, 1), covers, path)


def _dataset(
    features: Num[np.ndarray, "num_rows 54"], covers: Num[np.ndarray, " num_rows"], source: Path
) -> TableDataset:
    is_strange = ~np.isin(covers, range(1, len(CLASSES) + 1))
    if is_strange.any():
        row = int(is_strange.argmax())
        raise damaged(source, f"the cover of row {row + 1} is {covers[row]:g}, not 1 to 7.")
    return TableDataset.shuffled(
        "covertype",
        features,
        covers.astype(np.int64) - 1,
        feature_names=FEATURES,
        class_names=CLASSES,
    )
