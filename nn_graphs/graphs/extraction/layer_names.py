"""Names of the layers of extracted graphs, from the parameters that they show."""

from collections import Counter

from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.group_rules import Normalization
from nn_graphs.graphs.parts.node_groups import NeuronKind, NodeGroup


def group_names(template: GraphTemplate) -> list[str]:
    """A name for each group of neurons: its parameters' module, or else what it does.

    Where a module stands several times, its name has a number from the second time on.
    """
    names = []
    for number, group in enumerate(template.groups):
        slots = [block.weight for block in template.blocks if block.target == number]
        slot = next((slot for slot in [*slots, group.bias] if slot is not None), None)
        names.append(_rule_name(group) if slot is None else slot.name.rpartition(".")[0])
        names[-1] = names[-1] or slot.name
    counts: Counter[str] = Counter()
    for number, name in enumerate(names):
        counts[name] += 1
        names[number] = name if counts[name] == 1 else f"{name}#{counts[name]}"
    return names


def _rule_name(group: NodeGroup) -> str:
    if group.kind is NeuronKind.INPUT:
        return "input"
    if isinstance(group.rule, Normalization):
        return f"{group.rule.kind}_norm" if "softmax" not in group.rule.kind else group.rule.kind
    return type(group.rule).__name__.lower()
