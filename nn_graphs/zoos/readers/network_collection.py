"""Networks of any mix of architectures, gathered one by one without holding them in memory.

They are written to an unnamed file as they come, which is mapped when all are there: of as many
gigabytes of weights, only what is being written is in memory.
"""

import mmap
import tempfile
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.graphs.architecture_specs import AnySpec

BUFFER_BYTES = 1 << 22


class Collection:
    """Networks that were found so far.

    Args:
        scratch: folder of the unnamed file; None: the system's for temporary files.
    """

    def __init__(self, scratch: str | Path | None = None):
        self._file = tempfile.TemporaryFile(dir=scratch, buffering=BUFFER_BYTES)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._numbers: dict[AnySpec, int] = {}
        self._spec: list[int] = []  # of each network, the number of its architecture

    def __len__(self) -> int:
        return len(self._spec)

    def add(self, spec: AnySpec, params: Float[Tensor, "num_params"]) -> None:
        """Adds one network, whose weights become float32."""
        self.add_many(spec, params.unsqueeze(0))

    def add_many(self, spec: AnySpec, params: Float[Tensor, "B num_params"]) -> None:
        """Adds networks of one architecture."""
        number = self._numbers.setdefault(spec, len(self._numbers))
        self._spec += [number] * len(params)
        self._file.write(params.detach().float().contiguous().numpy())

    @property
    def specs(self) -> tuple[AnySpec, ...]:
        """The distinct architectures, in the order in which they came."""
        return tuple(self._numbers)

    def places(self) -> pd.DataFrame:
        """The columns `spec` and `row` of a zoo's table."""
        spec = pd.Series(self._spec, dtype=np.int64)
        return pd.DataFrame({"spec": spec, "row": spec.groupby(spec).cumcount()})

    def params(self) -> tuple[Float[Tensor, "_ _"], ...]:
        """Per architecture `[N_k, num_params_k]`; where its networks came in a row, not copied."""
        values = self._map()
        sizes = np.array([spec.num_params for spec in self.specs], dtype=np.int64)
        numbers = np.array(self._spec, dtype=np.int64)
        stops = np.cumsum(sizes[numbers])
        return tuple(
            _rows(values, stops[numbers == number] - size, size)
            for number, size in enumerate(sizes.tolist())
        )

    def _map(self) -> Float[Tensor, "num_values"]:
        self._file.flush()
        if self._file.tell() == 0:
            return torch.empty(0)
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
        return torch.from_numpy(np.frombuffer(mapped, dtype=np.float32))


def _rows(
    values: Float[Tensor, "num_values"], starts: np.ndarray, size: int
) -> Float[Tensor, "N {size}"]:
    """The vectors of `size` values at these places."""
    first = int(starts[0])
    if len(starts) * size == starts[-1] + size - first:
        return values[first : first + len(starts) * size].view(len(starts), size)
    return torch.stack([values[start : start + size] for start in starts.tolist()])
