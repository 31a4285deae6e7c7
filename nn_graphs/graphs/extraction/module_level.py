"""The level of modules: a node for every call of a submodule, an edge where one reads another."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node

from nn_graphs.graphs.extraction.edge_bundles import SingleEdges
from nn_graphs.graphs.extraction.graph_plan import GraphPlan, PlanDraft
from nn_graphs.graphs.tracing.exported_program import exported
from nn_graphs.networks.parameters import ParameterLayout


def module_plan(module: nn.Module, inputs: tuple[Tensor, ...]) -> GraphPlan:
    """The plan of the graph of submodules, in the order in which they run.

    A call of a module without submodules is one node, called by its path, with a number from the
    second call on; what a module with submodules computes itself is a node for each operation,
    as `block/add`. The tracer need not know the operations.

    Raises:
        NNGraphsError: torch.export cannot follow the module.
    """
    program = exported(module, inputs)
    program.graph.eliminate_dead_code()
    leaves = {name for name, child in module.named_modules() if not next(child.children(), None)}
    calls = _Calls(program, leaves - {""})
    for node in program.graph.nodes:
        if node.op == "placeholder":
            calls.add_placeholder(node)
        elif node.op == "call_function":
            calls.add_operation(node)
        elif node.op == "output":
            calls.mark_outputs(node)
    return calls.draft.finished("module", ParameterLayout(()))


class _Calls:
    """The calls of submodules that have been found so far."""

    def __init__(self, program: ExportedProgram, leaves: set[str]):
        self.signature, self.leaves = program.graph_signature, leaves
        self.draft = PlanDraft(np.zeros(0, dtype=np.float32))
        self.reached: dict[Node, set[int]] = {}  # by whose layers a value is made
        self.called: dict[str, int] = {}
        self.edges: set[tuple[int, int]] = set()

    def add_placeholder(self, node: Node) -> None:
        """An input is a node; a parameter is none."""
        is_input = node.name in self.signature.user_inputs
        self.reached[node] = {self.draft.new_layer(node.name, "input", (1,))} if is_input else set()

    def add_operation(self, node: Node) -> None:
        """An operation is part of a call, or a node; what depends on no input is neither."""
        sources = {n for source in node.all_input_nodes for n in self.reached.get(source, ())}
        if not sources or _is_bookkeeping(node):
            self.reached[node] = sources
            return
        layer = self._layer(node)
        for source in sorted(sources - {layer}):
            if (source, layer) not in self.edges:
                self.edges.add((source, layer))
                ends = {"sources": self.draft.ids(source), "targets": self.draft.ids(layer)}
                self.draft.bundles.append(SingleEdges(source, layer, **ends))
        self.reached[node] = {layer}

    def mark_outputs(self, node: Node) -> None:
        """What makes the module's outputs is marked."""
        layers = self.draft.layers
        for value, spec in zip(node.args[0], self.signature.output_specs, strict=True):
            if spec.kind is OutputKind.USER_OUTPUT and isinstance(value, Node):
                for layer in self.reached[value]:
                    layers[layer] = replace(layers[layer], is_output=True)

    def _layer(self, node: Node) -> int:
        """The node of the call that an operation belongs to, made when it is first met."""
        stack = list(node.meta.get("nn_module_stack", {}).items())
        key, path = (stack[-1][0], stack[-1][1][0]) if stack else ("", "")
        if path not in self.leaves:
            operation = str(node.target).split(".")[1]
            return self.draft.new_layer(
                f"{path}/{operation}" if path else operation, "function", (1,)
            )
        if key not in self.called:
            self.called[key] = self.draft.new_layer(path, "module", (1,))
        return self.called[key]


def _is_bookkeeping(node: Node) -> bool:
    """What computes no tensor: sizes, items of a list of results."""
    target: Callable | str = node.target
    return not isinstance(target, torch._ops.OpOverload) or "assert" in str(target)
