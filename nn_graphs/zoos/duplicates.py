"""Networks of a zoo that are there more than once, as they are or with neurons in another order.

The order of neurons is forgotten by sorting the values of every weight matrix and every bias. Two
networks that agree then are nearly always permuted copies; where few different values make them up,
they need not be, so that this is a warning and never an error.
"""

import logging
from collections.abc import Hashable, Iterator

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.fingerprint import fingerprint
from nn_graphs.graphs.architecture_specs import AnySpec
from nn_graphs.zoos.zoo import SPLITS, Zoo

logger = logging.getLogger(__name__)
BLOCK_VALUES = 4_000_000  # parameters that are sorted at a time


def count_duplicates(zoo: Zoo) -> dict[str, int]:
    """How many networks are copies of others, as JSON data; empty where none is.

    Entries: `exact` (networks that repeat one before them), `permuted` (those that do so only with
    neurons in another order) and `across_splits` (networks that, in either way, repeat one of an
    earlier split of train, val and test).
    """
    exact, permuted = _keys(zoo, is_sorted=False), _keys(zoo, is_sorted=True)
    num_exact = int(exact.duplicated().sum())
    counts = {
        "exact": num_exact,
        "permuted": int(permuted.duplicated().sum()) - num_exact,
        "across_splits": _num_across_splits(zoo.table, permuted),
    }
    return {name: count for name, count in counts.items() if count}


def warn_of_duplicates(counts: dict[str, int], *, name: str) -> None:
    """Says what `count_duplicates` has found in the zoo of this name; nothing where it is empty."""
    if counts:
        logger.warning(
            "%s: %d networks are exact copies of others, %d more with neurons in another order; "
            "%d are copies of one in another split.",
            name,
            *(counts.get(kind, 0) for kind in ("exact", "permuted", "across_splits")),
        )


def _num_across_splits(table: pd.DataFrame, keys: pd.Series) -> int:
    if "split" not in table:
        return 0
    rank = table["split"].map({split: place for place, split in enumerate(SPLITS)})
    return int((rank > rank.groupby(keys).transform("min")).sum())


def _keys(zoo: Zoo, *, is_sorted: bool) -> pd.Series:
    """What equal networks share, per row of the table."""
    known: dict[tuple[int, int], Hashable] = {}
    for number, (spec, params) in enumerate(zip(zoo.specs, zoo.params, strict=True)):
        rows = _row_keys(spec, params, is_sorted=is_sorted)
        known |= {(number, row): f"{number} {key}" for row, key in enumerate(rows)}
    places = zip(zoo.table["spec"], zoo.table["row"], strict=True)
    return pd.Series([known[place] for place in places], index=zoo.table.index, dtype=object)


def _row_keys(
    spec: AnySpec, params: Float[Tensor, "N num_params"], *, is_sorted: bool
) -> Iterator[str]:
    for block in params.split(max(1, BLOCK_VALUES // max(1, spec.num_params))):
        values = _sorted_values(spec, block) if is_sorted else block
        yield from (fingerprint([row]) for row in values)


def _sorted_values(
    spec: AnySpec, params: Float[Tensor, "N num_params"]
) -> Float[Tensor, "N num_params"]:
    """The values of each tensor in order of size; -0 becomes 0."""
    slots = spec.parameters.slots
    parts = [params[:, slot.offset : slot.offset + slot.size] + 0.0 for slot in slots]
    return torch.cat([part.sort(dim=1).values for part in parts], dim=1)
