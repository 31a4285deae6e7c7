"""An architecture that is known by its template: any module that can be traced, as data.

It stands beside `NetworkSpec` in a zoo, and has what a zoo asks of one. No code is needed to have
the graphs of its networks; to run the networks by themselves, their module is.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nn_graphs.graphs.parts.node_groups import shown_layout
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot
from nn_graphs.networks.spec import NetworkSpec

if TYPE_CHECKING:
    from nn_graphs.graphs.graph_template import GraphTemplate


@dataclass(frozen=True, repr=False)
class TracedSpec:
    """A traced architecture; equal ones are equal, and can be keys.

    Parameters are called as in the module, and lie in its order: parameters, then buffers of
    floating-point numbers, such as the running statistics of batch norm.

    Attributes:
        text: the template as JSON, see `nn_graphs.graphs.template_json`.
    """

    text: str

    @classmethod
    def of(cls, template: "GraphTemplate") -> "TracedSpec":
        """The architecture of a template.

        Raises:
            NNGraphsError: the template cannot be kept in a file.
        """
        from nn_graphs.graphs.template_json import template_to_json  # slow, as `template`

        return cls(template_to_json(template))

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "TracedSpec":
        """The architecture whose `to_json` has been read as these data."""
        return cls(json.dumps(data["template"], sort_keys=True))

    def to_json(self) -> str:
        """As it stands in the file of a zoo, in the place of a `NetworkSpec`."""
        return f'{{"template": {self.text}}}'

    def __repr__(self) -> str:
        return f"TracedSpec({shown_layout(self.layer_layout)}: {self.num_params} parameters)"

    @cached_property
    def template(self) -> "GraphTemplate":
        """The graph template, made of the text.

        Raises:
            NNGraphsError: the text is damaged, or names what is not known.
        """
        # Tracing takes seconds to import, and a zoo is opened by many that need no graphs.
        from nn_graphs.graphs.template_json import template_from_json

        return template_from_json(self.text)

    @cached_property
    def parameters(self) -> ParameterLayout:
        """Where each parameter and buffer lies in the flat vector."""
        return ParameterLayout(
            tuple(
                ParameterSlot(
                    slot["name"],
                    tuple(slot["shape"]),
                    slot["offset"],
                    tuple(slot.get("aliases", ())),
                )
                for slot in self._data["parameters"]
            )
        )

    @property
    def num_params(self) -> int:
        return self.parameters.num_params

    @property
    def layer_layout(self) -> tuple[int, ...]:
        """Numbers of neurons, or channels, of all groups of neurons, from input to output."""
        return tuple(group["width"] for group in self._data["groups"])

    @cached_property
    def _data(self) -> dict[str, Any]:
        return json.loads(self.text)


AnySpec = NetworkSpec | TracedSpec
"""The architecture of networks in a zoo."""


def template_of_spec(spec: AnySpec) -> "GraphTemplate":
    """The graph template of an architecture, however it is described."""
    from nn_graphs.graphs.builder import template_from_spec  # slow, as `TracedSpec.template`

    return spec.template if isinstance(spec, TracedSpec) else template_from_spec(spec)
