"""Splits: by run, or as files say: those of Navon et al. (2023), in both schemas that are about.

    {"train": {"path": [...], "label": [...]}, "val": ..., "test": ...}    labels may be strings
    {"train": [...], "val": [...], "test": [...]}                          paths only

Paths are as they were on the machine that wrote the file, relative or absolute; which of their last
parts count is up to the zoo.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from sklearn.model_selection import train_test_split

from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.zoo import SPLITS

SYNONYMS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


def read_splits(path: str | Path, *, num_parts: int) -> pd.DataFrame:
    """One row per listed file: `path` (its last `num_parts` parts), `split`, `label` if given.

    Raises:
        NNGraphsError: the file is no JSON of one of the schemas.
    """
    path = Path(path)
    try:
        content = with_known_splits(json.loads(path.read_text(encoding="utf-8")))
        tables = [_read_split(content[split], split) for split in SPLITS if split in content]
        table = pd.concat(tables, ignore_index=True)
        table["path"] = [_last_parts(name, num_parts) for name in table["path"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NNGraphsError(
            f"read the splits in {path}",
            found=f"they are no lists of paths, with or without labels, under the names "
            f"{', '.join(SPLITS)} ({error}).",
            do="Give the JSON file as its publisher wrote it.",
        ) from error
    if not len(table):
        raise NNGraphsError(
            f"read the splits in {path}", found="they are empty.", do="Give another file."
        )
    return table


def with_known_splits(content: Any) -> dict[str, Any]:
    """What a split file holds, by our names of splits, without entries that are no splits.

    Raises:
        ValueError: an entry looks like a split but has an unknown name, or two are the same one.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"it is a {type(content).__name__}")
    lists = {name: value for name, value in content.items() if isinstance(value, dict | list)}
    known = [known_split(name) for name in lists]
    strange = [name for name, split in zip(lists, known, strict=True) if split not in SPLITS]
    if strange:
        raise ValueError(f"what is {strange[0]!r}?")
    twice = [split for split in SPLITS if known.count(split) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is there twice, as {' and '.join(lists)}")
    return dict(zip(known, lists.values(), strict=True))


def known_split(name: str) -> str:
    """Our name of a split, also of `valid`, `Validation` and the like; others as they are."""
    plain = str(name).strip().lower()
    plain = SYNONYMS.get(plain, plain)
    return plain if plain in SPLITS else name


def _last_parts(name: str, num_parts: int) -> str:
    return "/".join(PurePosixPath(name).parts[-num_parts:])


def _read_split(content: dict | list, split: str) -> pd.DataFrame:
    if isinstance(content, list):
        return pd.DataFrame({"path": content, "split": split})
    labels = [int(label) for label in content["label"]]
    return pd.DataFrame({"path": content["path"], "label": labels, "split": split})


def find_splits(given: str | Path | None, root: str | Path, names: Sequence[str]) -> Path:
    """The split file that is given, else the first of these names in `root` or beside it.

    Raises:
        NNGraphsError: it is not there.
    """
    root = Path(root)
    places = [folder / name for folder in (root, root.parent) for name in names]
    candidates = places if given is None else [Path(given)]
    for path in candidates:
        if path.is_file():
            return path
    raise NNGraphsError(
        f"find the splits of the zoo in {root}",
        found=f"there is no {' and no '.join(str(path) for path in candidates)}.",
        do="Put the split file there, or say where it is (`splits`); mnist_splits.json is of the "
        "code of Kofinas et al. (github.com/mkofinas/neural-graphs), not in the archive, and "
        "data/download.py mnist_inrs fetches it too.",
    )


def split_by_run(runs: pd.Series, *, val_share: float, test_share: float, seed: int) -> pd.Series:
    """The split of every network, such that those of one run are together.

    The runs are divided in sorted order by scikit-learn, first for test and then for val.

    Args:
        runs: the run of each network.
        val_share, test_share: of the runs.
        seed: of both divisions.

    Raises:
        NNGraphsError: there are too few runs, or the shares leave none for training.
    """
    names = sorted(set(runs))
    num_test, num_val = (max(1, round(share * len(names))) for share in (test_share, val_share))
    if num_test + num_val >= len(names):
        raise NNGraphsError(
            f"split {len(names)} runs",
            found=f"{num_test} for test and {num_val} for val leave none for training.",
            do="Ask for smaller shares, or give a split file.",
        )
    others, test = train_test_split(names, test_size=num_test, random_state=seed)
    train, val = train_test_split(others, test_size=num_val, random_state=seed)
    parts = zip(SPLITS, (train, val, test), strict=True)
    return runs.map({name: split for split, part in parts for name in part})
