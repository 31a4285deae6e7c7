"""Which neurons of graphs may change their sign or scale, and vectors that don't see it.

A hidden neuron of an odd activation may be multiplied by -1, one of a positively homogeneous
activation by a positive number: its bias and its weights from others, while its weights to others
are divided by it, and the network computes the same. Templates know which neurons may
(`GraphTemplate.factor_id`).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nn_graphs.encoders.features import Graphs
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.topology import Topology

SIGN, SCALE = 1, 2  # of `factor_id`


@dataclass(frozen=True)
class NeuronFactors:
    """By what neurons, or the targets of edges, may be multiplied.

    Attributes:
        signs: which may change their sign; None: none may.
        scales: which may be multiplied by a positive number; None: none may.
        is_fixed: which may not be multiplied by anything.
    """

    signs: Bool[Tensor, "*rows 1"] | None
    scales: Bool[Tensor, "*rows 1"] | None
    is_fixed: Bool[Tensor, "*rows 1"]

    @classmethod
    def of(cls, graphs: Graphs) -> "NeuronFactors":
        """Those of the neurons of graphs, in a shape that broadcasts against their vectors.

        Raises:
            NNGraphsError: the graphs don't tell.
        """
        if isinstance(graphs, NeuralGraphStack):
            factor_id = graphs.factor_id.view(1, -1, 1)
            has_signs, has_scales = graphs.template.factors
        else:
            _check_told(graphs)
            factor_id = graphs["factor_id"].unsqueeze(1)
            has_signs = bool((factor_id & SIGN).any())
            has_scales = bool((factor_id & SCALE).any())
        return cls(
            (factor_id & SIGN) > 0 if has_signs else None,
            (factor_id & SCALE) > 0 if has_scales else None,
            factor_id == 0,
        )

    def without_scales(self) -> "NeuronFactors":
        """The same neurons where scales are known to be what they are."""
        is_fixed = torch.ones_like(self.is_fixed) if self.signs is None else ~self.signs
        return replace(self, scales=None, is_fixed=is_fixed)

    def of_targets(self, topology: Topology) -> "tuple[NeuronFactors, ...]":
        """Of the target of every edge, part by part."""
        rows = (self.signs, self.scales, self.is_fixed)
        parts = [None if each is None else topology.targets(each.float()) for each in rows]
        count = len(parts[-1])
        of_parts = ([None] * count if part is None else [v > 0 for v in part] for part in parts)
        return tuple(NeuronFactors(*each) for each in zip(*of_parts, strict=True))

    def of_unit_scale(self, values: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        """Vectors of mean square 1 where there are scales; the others as they are."""
        return values if self.scales is None else torch.where(self.scales, unit(values), values)

    def canonical(self, values: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        """What no sign and no scale changes: of unit scale, and absolute values where signs are."""
        values = self.of_unit_scale(values)
        if self.signs is None:
            return values
        with torch.no_grad():  # absolute values where signs are, in fewer passes than by `where`
            sign = torch.copysign(values.new_ones(()), values)
            factor = sign.mul_(self.signs).add_(~self.signs)
        return values * factor


def unit(values: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
    """Vectors of mean square 1; zeros stay. No size of the values overflows, nor is lost."""
    largest = values.detach().abs().amax(-1, keepdim=True)  # of which the result knows nothing
    is_zero = largest == 0
    values = values / torch.where(is_zero, 1.0, largest)
    return values * (values.square().mean(-1, keepdim=True) + is_zero).rsqrt()


def _check_told(graphs: Graphs) -> None:
    if "factor_id" not in graphs:
        raise NNGraphsError(
            "tell which neurons of a graph may change their sign or scale",
            found="it does not say (factor_id).",
            do="Make it by a template: template(params), template.stack(params), MixedTemplates.",
        )
