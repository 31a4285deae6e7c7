"""California housing (Pace & Barry, 1997): the median value of houses in 20,640 districts.

Read from the first of these that is there:

- the publisher's `cal_housing.data`, nine columns a row, in one of the `FOLDERS` under the root;
- `<root>/california_housing.npz`, whose array `raw` holds the same columns.

Features are the eight of scikit-learn: rooms, bedrooms and people are counted a household. The
target is in 100,000 dollars; 965 districts are cut off at 5.
"""

import shlex
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nn_graphs.datasets.tables import TableDataset, damaged, read_arrays, read_rows
from nn_graphs.errors import NNGraphsError

FOLDERS = ("california_housing/cal_housing", "california_housing", "CaliforniaHousing")
FILE = "cal_housing.data"
COLUMNS = (
    *("longitude", "latitude", "median_age", "rooms", "bedrooms"),
    *("population", "households", "median_income", "median_value"),
)
FEATURES = (
    *("median_income", "median_age", "rooms", "bedrooms"),
    *("population", "occupancy", "latitude", "longitude"),
)
UNIT = 100_000  # dollars


def read_california_housing(root: Path) -> TableDataset:
    """All districts `[20640, 8]` in an order of our own, four fifths of them for training.

    Raises:
        NNGraphsError: no file is found, or one is damaged.
    """
    rows, source = _find_rows(root)
    by_name = dict(zip(COLUMNS, rows.T, strict=True))
    households = by_name["households"]
    if not (households > 0).all():
        row = int((households <= 0).argmax()) + 1
        raise damaged(source, f"row {row} has {households[row - 1]:g} households.")
    a_household = {name: by_name[name] / households for name in ("rooms", "bedrooms")}
    columns = by_name | a_household | {"occupancy": by_name["population"] / households}
    return TableDataset.shuffled(
        "california_housing",
        np.stack([columns[name] for name in FEATURES], 1),
        by_name["median_value"] / UNIT,
        feature_names=FEATURES,
    )


def _find_rows(root: Path) -> tuple[Float[np.ndarray, "num_rows 9"], Path]:
    """The published columns, and the file they are from."""
    for path in (root / folder / FILE for folder in FOLDERS):
        if path.is_file():
            return read_rows(path, num_columns=len(COLUMNS)), path
    npz = root / "california_housing.npz"
    if npz.is_file():
        raw = read_arrays(npz, ("raw",))["raw"]
        if raw.shape[1:] != (len(COLUMNS),) or raw.dtype.kind not in "fiu":
            raise damaged(npz, f"its array raw is {raw.dtype} {raw.shape}, not of nine columns.")
        return raw, npz
    places = " or ".join(str(root / folder) for folder in FOLDERS)
    raise NNGraphsError(
        "load california_housing",
        found=f"there is no {FILE} in {places}, and there is no {npz}.",
        do=f"Run: python data/download.py california_housing --root {shlex.quote(str(root))}",
    )
