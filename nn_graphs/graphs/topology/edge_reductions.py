"""Values of edges, reduced by who receives them: in two ways, of which the faster is kept.

`scatter` adds each value to its receiver, in whatever order they come, by torch's `index_add` and
`scatter_reduce`. `segment` sorts values by their receivers, in an order that is found once, and
reduces runs, by `torch_geometric.utils.segment`: by torch-scatter's kernels where that is
installed, else by torch's own. Both are the same function with the same gradient, which tied values
share evenly (those kernels' own gradients do not); `experiments/benchmarks`
(`bench_edge_reductions.py`) times both, forward and backward, and `WAYS` holds what was faster.
"""

from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.utils import segment

Operation = Literal["sum", "max", "min"]
Way = Literal["scatter", "segment"]
WAYS: dict[Operation, Way] = {"sum": "scatter", "max": "scatter", "min": "scatter"}
NEUTRAL = {"max": float("-inf"), "min": float("inf")}


class Receivers:
    """Who receives each value.

    Args:
        receiver: of each value.
        count: how many receivers there are; some may receive nothing, which is 0.
    """

    def __init__(self, receiver: Int[Tensor, "values"], count: int):
        self.receiver, self.count = receiver, count
        self.num_received = torch.bincount(receiver, minlength=count)

    def reduce(
        self, values: Float[Tensor, "values dim"], operation: Operation, *, way: Way | None = None
    ) -> Float[Tensor, "count dim"]:
        """The sum, the largest or the smallest of what each receives; ties share the gradient.

        Args:
            values: one row each.
            operation: of these three.
            way: None: the faster one.
        """
        if (way or WAYS[operation]) == "segment":
            if operation == "sum":
                return self._reduced_runs(values, "sum")
            return _Extreme.apply(values, self, operation)
        if operation == "sum":
            empty = values.new_zeros(self.count, values.shape[1])
            return empty.index_add(0, self.receiver, values)
        index = self.receiver.unsqueeze(1).expand_as(values)
        start = values.new_full((self.count, values.shape[1]), NEUTRAL[operation])
        extreme = start.scatter_reduce(0, index, values, f"a{operation}")
        return torch.where(self.num_received.unsqueeze(1) > 0, extreme, 0.0)

    def _reduced_runs(self, values: Tensor, operation: Operation) -> Tensor:
        return segment(values.index_select(0, self._order), self._starts, operation)

    @cached_property
    def _order(self) -> Int[Tensor, "values"]:
        return self.receiver.argsort(stable=True)

    @cached_property
    def _starts(self) -> Int[Tensor, "count_and_one"]:
        """Where the run of each receiver begins, and where the last one's ends."""
        ends = self.num_received.cumsum(0)
        return torch.cat([ends.new_zeros(1), ends])


class _Extreme(torch.autograd.Function):
    """The largest or smallest of what each receives, in runs."""

    @staticmethod
    def forward(ctx, values, receivers, operation):
        extreme = receivers._reduced_runs(values, operation)
        ctx.receivers = receivers
        ctx.save_for_backward(values, extreme)
        return extreme

    @staticmethod
    def backward(ctx, gradient):
        values, extreme = ctx.saved_tensors
        receivers = ctx.receivers
        wins = (values == extreme.index_select(0, receivers.receiver)).to(values.dtype)
        share = gradient / receivers._reduced_runs(wins, "sum").clamp_min(1)
        return wins * share.index_select(0, receivers.receiver), None, None
