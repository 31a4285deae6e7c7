"""A zoo: trained networks of one or many architectures with a table about them, in one file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.architecture_specs import AnySpec, template_of_spec
from nn_graphs.graphs.parts.node_groups import shown_layout
from nn_graphs.zoos.storage import ZooContents, read_zoo_file, write_zoo_file

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Zoo:
    """A population of trained networks.

    Attributes:
        specs: the distinct architectures: a `NetworkSpec` of a chain of layers, a `TracedSpec` of
            any other module.
        params: per architecture `[N_k, num_params_k]` float32, mapped from the file; writing to it
            does not change the file.
        table: one row per network. Columns `spec` and `row` say where its parameters are; others
            are free, by convention `label`, `split` (train, val or test), `run` (which training run
            it comes from), `step` (optimizer steps) and `source_id` (what it was trained on).
        metadata: how the zoo was made, as JSON data.
    """

    specs: tuple[AnySpec, ...]
    params: tuple[Float[Tensor, "_ _"], ...]  # [N_k, num_params_k], each of its own shape
    table: pd.DataFrame
    metadata: Mapping = field(default_factory=dict)

    def __post_init__(self):
        for number, (spec, params) in enumerate(zip(self.specs, self.params, strict=True)):
            if params.shape[1] != spec.num_params:
                raise NNGraphsError(
                    f"make a zoo of {len(self.table)} networks",
                    found=f"architecture {number} has {spec.num_params} parameters, "
                    f"its networks have {params.shape[1]}.",
                    do="Give params [N, num_params] in the order of spec.parameters.",
                )

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, which: int | slice | Sequence[int] | np.ndarray) -> Any:
        """The `NeuralGraph` of one network, or the `Zoo` of several, as torch-geometric has it.

        Kernels are in the middle of the zoo's largest, so that all graphs fit in one batch. A
        graph says its architecture (`template_id [1]`, its place in `specs`) and, where the table
        has numbers in the column `label`, its label (`y [1]`).

        Raises:
            IndexError: there are not so many networks.
        """
        if isinstance(which, slice):
            return self.select(range(len(self))[which])
        if not isinstance(which, int | np.integer):
            return self.select(which)
        place = range(len(self))[which]
        kind, row = (int(self.table[name].iloc[place]) for name in ("spec", "row"))
        graph = self._templates.batch(torch.tensor([kind]), [self.params[kind][row]])[0]
        if "label" in self.table and self.table["label"].dtype.kind in "iuf":
            graph.y = torch.tensor([self.table["label"].iloc[place].item()])
        return graph

    def __iter__(self) -> Iterator:
        """The neural graphs of all networks."""
        return (self[number] for number in range(len(self)))

    @cached_property
    def _templates(self) -> Any:
        """The `MixedTemplates` of all architectures."""
        # Slow to import, and not needed in processes that fit networks.
        from nn_graphs.graphs.mixed_templates import MixedTemplates

        return MixedTemplates([template_of_spec(spec) for spec in self.specs])

    def __repr__(self) -> str:
        """How many networks of what: `Zoo(64 networks of 1 architecture (2-8-8-1), train 64)`."""
        kinds = f"{len(self.specs)} architecture{'s' if len(self.specs) != 1 else ''}"
        if len(self.specs) == 1:
            kinds += f" ({shown_layout(self.spec.layer_layout)})"
        line = f"{len(self):,} network{'s' if len(self) != 1 else ''} of {kinds}"
        counts = self.table["split"].value_counts() if "split" in self.table else {}
        splits = " / ".join(f"{split} {counts[split]:,}" for split in SPLITS if split in counts)
        return f"Zoo({line}, {splits})" if splits else f"Zoo({line})"

    @classmethod
    def single(
        cls,
        spec: AnySpec,
        params: Float[Tensor, "N num_params"],
        table: pd.DataFrame,
        metadata: Mapping | None = None,
    ) -> "Zoo":
        """A zoo of one architecture, whose table rows are in the order of `params`.

        Raises:
            NNGraphsError: there are more or fewer rows than networks.
        """
        if len(table) != len(params):
            raise NNGraphsError(
                f"make a zoo of {len(params)} networks",
                found=f"its table has {len(table)} rows.",
                do="Give one row per network.",
            )
        located = table.assign(spec=0, row=np.arange(len(table)))
        return cls((spec,), (params,), located, metadata or {})

    @property
    def spec(self) -> AnySpec:
        """The architecture of a zoo that has only one.

        Raises:
            NNGraphsError: the zoo has several.
        """
        if len(self.specs) != 1:
            raise NNGraphsError(
                "take the architecture of the zoo",
                found=f"it has {len(self.specs)}.",
                do="Use zoo.specs, and the column `spec` of zoo.table.",
            )
        return self.specs[0]

    def indices(self, split: str) -> Int[np.ndarray, "M"]:
        """Numbers (rows of the table) of the networks of a split.

        Raises:
            NNGraphsError: no network is of this split.
        """
        splits = self.table.get("split", pd.Series(dtype=object))
        found = np.flatnonzero(splits.to_numpy() == split)
        if not len(found):
            known = ", ".join(sorted(set(splits))) or "none"
            raise NNGraphsError(
                f"take the split {split!r} of the zoo",
                found=f"the splits in its column `split` are: {known}.",
                do="Choose one of these.",
            )
        return found

    def take(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Float[Tensor, "B num_params"]:
        """Parameters of the networks with these numbers, all of one architecture, as a copy.

        Raises:
            NNGraphsError: they are of several architectures, or none is asked for.
        """
        numbers = np.asarray(indices)
        kinds = np.unique(self.table["spec"].to_numpy()[numbers]) if len(numbers) else ()
        if len(kinds) != 1:
            raise NNGraphsError(
                f"stack the parameters of {len(numbers)} networks",
                found=f"they are of {len(kinds)} architectures.",
                do="Take networks of one architecture at a time.",
            )
        rows = torch.from_numpy(self.table["row"].to_numpy()[numbers])
        return self.params[int(kinds[0])][rows]

    def select(self, indices: Sequence[int] | Int[np.ndarray, "M"]) -> "Zoo":
        """The zoo of these networks alone, in this order; parameters are not copied."""
        table = self.table.iloc[np.asarray(indices)].reset_index(drop=True)
        return Zoo(self.specs, self.params, table, self.metadata)

    def keep_first(self, number: int | None, *, split: str) -> "Zoo":
        """The zoo with the first `number` networks of a split, and all of the others.

        With None, all stay.

        Raises:
            NNGraphsError: the split has fewer, or none would stay.
        """
        if number is None:
            return self
        indices = self.indices(split)
        if not 0 < number <= len(indices):
            raise NNGraphsError(
                f"keep {number} networks of the split {split!r}",
                found=f"it has {len(indices)}.",
                do=f"Choose a number from 1 to {len(indices)}.",
            )
        return self.select(np.setdiff1d(np.arange(len(self)), indices[number:]))

    def without_unused_specs(self) -> "Zoo":
        """The same networks without architectures that none of them has."""
        used, numbers = np.unique(self.table["spec"].to_numpy(), return_inverse=True)
        return Zoo(
            tuple(self.specs[kind] for kind in used),
            tuple(self.params[kind] for kind in used),
            self.table.assign(spec=numbers),
            self.metadata,
        )

    def save(self, path: str | Path) -> Path:
        """Writes the zoo to `path`; a file that is there is replaced only when all is written.

        Raises:
            NNGraphsError: a column of the table holds neither numbers nor strings, or has a name
                that cannot be kept; there can be no file at `path`.
        """
        contents = ZooContents(self.specs, self.params, self.table, self.metadata)
        write_zoo_file(Path(path), contents)
        return Path(path)

    @classmethod
    def open(cls, path: str | Path) -> "Zoo":
        """Opens a zoo file; parameters are mapped, not read.

        Raises:
            NNGraphsError: there is no such file, it is truncated, or no zoo of this format.
        """
        return cls(*read_zoo_file(Path(path)))
