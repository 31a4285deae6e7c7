"""The level of modules: a node for every call of a submodule, an edge where one reads another."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
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
    draft = PlanDraft(np.zeros(0, dtype=np.float32))
    leaves = {name for name, child in module.named_modules() if not next(child.children(), None)}
    reached: dict[Node, tuple[int, ...]] = {}
    called: dict[str, int] = {}
    edges: dict[tuple[int, int], None] = {}
    user_inputs = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            is_input = node.name in user_inputs
            reached[node] = (draft.new_layer(node.name, "input", (1,)),) if is_input else ()
        elif node.op == "call_function":
            sources = {n for source in node.all_input_nodes for n in reached.get(source, ())}
            if not sources or _is_bookkeeping(node):
                reached[node] = tuple(sorted(sources))
                continue
            layer = _layer_of(draft, node, leaves, called)
            edges |= dict.fromkeys((source, layer) for source in sorted(sources - {layer}))
            reached[node] = (layer,)
        elif node.op == "output":
            specs = program.graph_signature.output_specs
            for value, spec in zip(node.args[0], specs, strict=True):
                if spec.kind is OutputKind.USER_OUTPUT and isinstance(value, Node):
                    _mark_outputs(draft, reached[value])
    for source, target in sorted(edges, key=lambda pair: pair[::-1]):
        ends = {"sources": draft.ids(source), "targets": draft.ids(target)}
        draft.bundles.append(SingleEdges(source, target, **ends))
    return draft.finished("module", ParameterLayout(()))


def _is_bookkeeping(node: Node) -> bool:
    """What computes no tensor: sizes, items of a list of results."""
    target: Callable | str = node.target
    return not isinstance(target, torch._ops.OpOverload) or "assert" in str(target)


def _layer_of(draft: PlanDraft, node: Node, leaves: set[str], called: dict[str, int]) -> int:
    """The node of the call that an operation belongs to, made when it is first met."""
    stack = list(node.meta.get("nn_module_stack", {}).items())
    key, path = (stack[-1][0], stack[-1][1][0]) if stack else ("", "")
    if path not in leaves or not path:
        operation = str(node.target).split(".")[1]
        return draft.new_layer(f"{path}/{operation}" if path else operation, "function", (1,))
    if key not in called:
        called[key] = draft.new_layer(path, "module", (1,))
    return called[key]


def _mark_outputs(draft: PlanDraft, layers: tuple[int, ...]) -> None:
    for layer in layers:
        draft.layers[layer] = replace(draft.layers[layer], is_output=True)
