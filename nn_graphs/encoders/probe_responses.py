"""What the neurons of networks answer to probes: points, or images, of which the mean over places.

In one stacked forward pass for each architecture; of probes alone are there gradients, unless the
parameters of the networks ask for some.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.encoders.features import Graphs
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.execution import execute, module_outputs, propagate
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.mixed_templates import MixedTemplates


class Respondents:
    """Networks of some architectures, that can be run on probes.

    Args:
        templates: of the networks.

    Raises:
        NNGraphsError: an architecture can't be run along its edges, or takes several inputs.
    """

    def __init__(self, templates: Sequence[GraphTemplate]):
        for template in templates:
            _check_runnable(template)
        self.templates = tuple(templates)
        self.takes_points = all(template.is_plain for template in templates)
        self._mixed: MixedTemplates | None = None

    def responses(
        self, graphs: Graphs, probes: Float[Tensor, "num_probes ..."]
    ) -> Float[Tensor, "*B num_nodes num_probes"]:
        """The answers of all neurons.

        Args:
            graphs: a stack, or a batch of several architectures.
            probes: what every network sees: `[num_probes, num_inputs]`, or images.

        Raises:
            NNGraphsError: a batch of networks of images does not tell its architectures.
        """
        if self.takes_points:
            return execute(graphs, probes)
        if isinstance(graphs, NeuralGraphStack):
            return _of_stack(graphs.with_own_kernels(), probes)
        if len(self.templates) == 1:
            stack = self.templates[0].stack_of(graphs).with_own_kernels()
            return _of_stack(stack, probes).flatten(0, 1)
        found = graphs.node_features.new_empty(len(graphs.node_features), len(probes))
        for rows, stack in self._stacks(graphs):
            found = found.index_copy(0, rows, _of_stack(stack, probes).flatten(0, 1))
        return found

    def outputs(
        self, graphs: Graphs, probes: Float[Tensor, "num_probes ..."]
    ) -> Float[Tensor, "B answers"]:
        """The answers of output neurons alone, of each network in a row."""
        if self.takes_points or not isinstance(graphs, NeuralGraphStack):
            answers = graphs.output_values(self.responses(graphs, probes))
            return answers.reshape(graphs.num_graphs, -1)
        outputs = module_outputs(graphs.with_own_kernels(), probes)
        return torch.cat([values.transpose(1, 2).flatten(1) for values in outputs], dim=1)

    def _stacks(self, graphs: Graphs) -> Iterator[tuple[Tensor, NeuralGraphStack]]:
        """Stacks of a batch, and the rows of their neurons in it."""
        if self._mixed is None:
            self._mixed = MixedTemplates(self.templates)
        for numbers, stack in self._mixed.stacks_of(graphs):
            places = torch.arange(stack.template.num_nodes, device=graphs.ptr.device)
            yield (graphs.ptr[numbers].unsqueeze(1) + places).flatten(), stack


def _of_stack(
    graphs: NeuralGraphStack, probes: Float[Tensor, "num_probes ..."]
) -> Float[Tensor, "B num_nodes num_probes"]:
    groups = graphs.template.groups
    parts = []
    for group, values in zip(groups, propagate(graphs, probes), strict=True):
        channels = values.movedim(group.axis, 2)  # [B, num_probes, width, *places]
        answers = channels.flatten(3).mean(-1) if channels.ndim > 3 else channels
        parts.append(answers.transpose(1, 2))
    return torch.cat(parts, dim=1)


def _check_runnable(template: GraphTemplate) -> None:
    kinds = sum(group.kind.name == "INPUT" for group in template.groups)
    if template.is_runnable and kinds == 1:
        return
    raise NNGraphsError(
        f"run networks of {template.widths} on probes",
        found=f"they take {kinds} inputs, and "
        f"{'can' if template.is_runnable else 'cannot'} be run along the edges of their graphs.",
        do="Choose an encoder that looks at weights alone.",
    )
