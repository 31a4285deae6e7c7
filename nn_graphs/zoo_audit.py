"""Audits of zoos: what a score can be had from without looking at a weight, and what splits share.

    print(audit(zoo, label="label"))

A finding is a reason to look, not a proof; an audit without findings is none of their absence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits
from torch import Tensor

from nn_graphs.metrics import kendall_tau_ceiling
from nn_graphs.zoos.duplicates import count_duplicates
from nn_graphs.zoos.zoo import SPLITS, Zoo

Kind = Literal["shortcut", "shared", "copies", "near_copies", "ties", "dead", "diverged"]
CHANCE = 1e-3  # of as good a score without anything to learn
MIN_CORRELATION = 0.2  # a smaller one is no shortcut, however sure
MANY_VALUES = 20  # so many labels of whole numbers are numbers, not classes
NEAR = 0.02  # of the usual distance of neighbours
TIED = 0.5  # share of pairs of equal labels that is worth saying
HUGE = 1e3  # times the median size of a network's weights
NOT_COLUMNS = ("split", "spec", "row")  # which are laid out by the zoo itself
SHARED = ("run", "source_id")
SEED = 0


@dataclass(frozen=True)
class Finding:
    """A reason to look at a zoo.

    Attributes:
        kind: a `shortcut` (labels follow from something that is no weight), `shared` (a run or
            image lies in two splits), `copies` or `near_copies` of networks across splits, `ties`
            of labels, `dead` or `diverged` networks.
        what: of the zoo, e.g. a column.
        says: what was found, with figures.
    """

    kind: Kind
    what: str
    says: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.what}): {self.says}"


@dataclass(frozen=True)
class Audit:
    """All findings of a zoo; as text a line each."""

    findings: tuple[Finding, ...]

    def of(self, kind: Kind) -> list[str]:
        """What was found of one kind."""
        return [finding.what for finding in self.findings if finding.kind == kind]

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "nothing found"


def audit(zoo: Zoo, *, label: str = "label") -> Audit:
    """What is to be known of a zoo before a score on it is believed.

    Shortcuts are sought by boosted trees on one column at a time (texts by their lengths and the
    numbers in them), on the place of a network in the table, and on its architecture, fitted to the
    split train and held against labels of val.

    Args:
        zoo: with the splits train and val at least.
        label: the column that is predicted; without it, only networks and splits are looked at.
    """
    found = [*_shared(zoo), *_copies(zoo), *_near_copies(zoo), *_broken(zoo)]
    if label in zoo.table:
        found += [*_ties(zoo, label), *_shortcuts(zoo, label)]
    return Audit(tuple(found))


def _shared(zoo: Zoo) -> Iterator[Finding]:
    for column in SHARED:
        if column in zoo.table:
            splits = zoo.table.groupby(column)["split"].nunique()
            count = int((splits > 1).sum())
            if count:
                yield Finding("shared", column, f"{count} lie in more than one split.")


def _copies(zoo: Zoo) -> Iterator[Finding]:
    count = count_duplicates(zoo).get("across_splits", 0)
    if count:
        says = f"{count} networks repeat one of another split, or its neurons in another order."
        yield Finding("copies", "networks", says)


def _near_copies(zoo: Zoo) -> Iterator[Finding]:
    """Whether a network of val or test is far nearer to one of train than networks are."""
    for kind, spec in enumerate(zoo.specs):
        table = zoo.table[zoo.table["spec"] == kind]
        if len(table) < 4:
            continue
        values = _unordered(
            spec.parameters.slots, zoo.params[kind][table["row"].to_numpy(copy=True)]
        )
        split = table["split"].to_numpy()
        train, others = values[split == "train"], values[split != "train"]
        if len(train) < 3 or not len(others):
            continue
        usual = np.median(NearestNeighbors(n_neighbors=2).fit(train).kneighbors(train)[0][:, 1])
        nearest = NearestNeighbors(n_neighbors=1).fit(train).kneighbors(others)[0][:, 0]
        count = int((nearest < NEAR * usual).sum())
        if count:
            says = (
                f"{count} networks of val and test differ from one of train by less than "
                f"{NEAR:.0%} of what neighbours do, whatever the order and signs of neurons."
            )
            yield Finding("near_copies", f"architecture {kind}", says)


def _unordered(
    slots: Sequence, params: Float[Tensor, "N num_params"]
) -> Float[np.ndarray, "N num_params"]:
    """Sizes of the values of every tensor, in order, in units of their deviation."""
    parts = [
        params[:, slot.offset : slot.offset + slot.size].abs().sort(1).values for slot in slots
    ]
    values = torch.cat(parts, dim=1)
    return (values / values.std(0).clamp_min(1e-12)).nan_to_num(0.0).numpy()


def _broken(zoo: Zoo) -> Iterator[Finding]:
    is_dead, is_diverged = np.zeros(len(zoo), bool), np.zeros(len(zoo), bool)
    for kind, (spec, params) in enumerate(zip(zoo.specs, zoo.params, strict=True)):
        places = (zoo.table["spec"] == kind).to_numpy()
        own = params[zoo.table["row"].to_numpy()[places].copy()]
        sizes = own.abs().mean(1)
        is_bad = ~own.isfinite().all(1) | (sizes > HUGE * sizes.nanmedian())
        weights = [slot for slot in spec.parameters.slots if len(slot.shape) > 1]
        silent = [(own[:, s.offset : s.offset + s.size] == 0).all(1) for s in weights]
        is_diverged[places] = is_bad.numpy()
        is_dead[places] = torch.stack(silent).any(0).numpy() if silent else False
    for kind, is_so, why in (
        ("diverged", is_diverged, f"have weights that are not finite, or {HUGE:g} times the usual"),
        ("dead", is_dead, "have a layer whose weights are all zero"),
    ):
        if is_so.any():
            says = f"{is_so.sum()} {why}; the first is number {is_so.argmax()}."
            yield Finding(kind, "networks", says)


def _ties(zoo: Zoo, label: str) -> Iterator[Finding]:
    labels = pd.to_numeric(zoo.table[label], errors="coerce")
    if labels.isna().any() or _are_classes(zoo.table[label]):
        return
    for split in SPLITS:
        own = torch.from_numpy(labels[zoo.table["split"] == split].to_numpy(np.float64, copy=True))
        if len(own) > 1:
            ceiling = kendall_tau_ceiling(own)
            if 1 - ceiling**2 > TIED:
                says = (
                    f"{1 - ceiling**2:.0%} of pairs in {split} tie: tau is {ceiling:.3f} at most."
                )
                yield Finding("ties", label, says)


def _shortcuts(zoo: Zoo, label: str) -> Iterator[Finding]:
    table = zoo.table.reset_index(drop=True)
    is_train, is_val = ((table["split"] == split).to_numpy() for split in ("train", "val"))
    if is_train.sum() < 10 or is_val.sum() < 10:
        return
    columns = [name for name in table if name not in (*NOT_COLUMNS, label)]
    sources = {name: _features(table[name]) for name in columns}
    # Splits are often blocks of the table: a place counts within its split.
    places = table.groupby("split")["split"]
    sources["place in the table"] = (places.cumcount() / places.transform("size")).to_numpy(float)[
        :, None
    ]
    sources["architecture"] = _layouts(zoo)
    for what, features in sources.items():
        with threadpool_limits(1, user_api="openmp"):  # of trees as small as these
            says = _told_by(features, table[label], is_train, is_val)
        if says:
            yield Finding("shortcut", what, says)


def _told_by(
    features: Float[np.ndarray, "N _"],
    labels: pd.Series,
    is_train: Bool[np.ndarray, " N"],
    is_val: Bool[np.ndarray, " N"],
) -> str | None:
    """How well labels of val follow from these features; None: not better than by chance."""
    if not np.nanstd(features, axis=0).any():
        return None
    if _are_classes(labels):
        numbers = labels.astype("category").cat.codes.to_numpy()
        model = HistGradientBoostingClassifier(max_iter=25, random_state=SEED, min_samples_leaf=5)
        found = model.fit(features[is_train], numbers[is_train]).predict(features[is_val])
        right = int((found == numbers[is_val]).sum())
        rate = np.bincount(numbers[is_val]).max() / is_val.sum()
        chance = stats.binomtest(right, int(is_val.sum()), rate, alternative="greater").pvalue
        share = right / is_val.sum()
        says = f"classes of val are told from it alone at {share:.0%}, by guessing {rate:.0%}."
        return says if chance < CHANCE else None
    numbers = pd.to_numeric(labels, errors="coerce").to_numpy(np.float64)
    if not np.isfinite(numbers).all():
        return None
    model = HistGradientBoostingRegressor(max_iter=25, random_state=SEED, min_samples_leaf=5)
    found = model.fit(features[is_train], numbers[is_train]).predict(features[is_val])
    if not np.ptp(found.round(9)) or not np.ptp(numbers[is_val]):
        return None
    correlation, chance = stats.spearmanr(found, numbers[is_val])
    is_one = chance < CHANCE and correlation > MIN_CORRELATION
    return f"labels of val follow it alone, Spearman {correlation:.2f}." if is_one else None


def _features(column: pd.Series) -> Float[np.ndarray, "N _"]:
    """Numbers as they are; of texts the length, the first two numbers in it, and which it is."""
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float64)[:, None]
    texts = column.astype(str)
    numbers = texts.str.extractall(r"(\d+)")[0].astype(float).unstack().reindex(texts.index)
    parts = [texts.str.len(), texts.astype("category").cat.codes]
    parts += [numbers[name] for name in list(numbers)[:2]]
    return np.stack([part.to_numpy(np.float64) for part in parts], axis=1)


def _layouts(zoo: Zoo) -> Float[np.ndarray, "N 2"]:
    kinds = zoo.table["spec"].to_numpy()
    sizes = np.array([spec.num_params for spec in zoo.specs])
    return np.stack([kinds, sizes[kinds]], axis=1).astype(np.float64)


def _are_classes(labels: pd.Series) -> bool:
    if not pd.api.types.is_numeric_dtype(labels):
        return True
    is_whole = bool((labels == labels.round()).all())
    return is_whole and labels.nunique() <= MANY_VALUES
