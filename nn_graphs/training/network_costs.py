"""What a model needs of a network, and to say something of it: its place in a table of costs.

Multiply-adds are those of products of matrices and of convolutions, per network: the difference of
batches of several sizes, so that what a batch takes once (composed maps, generated probes) is left
out. torch's own counter (`torch.utils.flop_counter`) does it, and is right for these. It does not
see products element by element: FiLM and gates, scaled statistics, weights times vectors along the
edges of lists. Networks are therefore counted as stacks, where the last are products of matrices,
but for architectures whose edges are in no regular blocks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nn_graphs.encoders.features import Graphs, num_network_inputs
from nn_graphs.graphs.execution import execute, propagate
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.tasks.task import Task
from nn_graphs.threads import one_thread

NUM_COUNTED = 4  # networks of val, of which the mean is taken
BATCH_SIZES = (1, 3)


@dataclass(frozen=True)
class NetworkCosts:
    """What a model costs, per network.

    Attributes:
        encoder_madds: multiply-adds of the model itself.
        query_madds: multiply-adds of running the network at probes.
        access: what is read: "weights", "probes", or both ("weights+probes").
        views: networks of one and the same image in training, the mean.
    """

    encoder_madds: float
    query_madds: float
    access: str
    views: float


def network_costs(model: nn.Module, task: Task) -> NetworkCosts:
    """The costs of a model of a task, found by running it on some networks of val.

    Modules that run networks say at what by a method `queries`; those that look at nothing else
    say `reads_weights = False`.
    """
    was_training = model.training
    model.eval()
    try:
        with one_thread():
            counts = [_costs_at(model, task, place) for place in _places(task)]
    finally:
        model.train(was_training)
    totals, queries = (sum(each) / len(counts) for each in zip(*counts, strict=True))
    return NetworkCosts(totals - queries, queries, access_class(model), _views(task))


def access_class(model: nn.Module) -> str:
    """What a model reads of networks, see `NetworkCosts`."""
    reads_weights = all(getattr(module, "reads_weights", True) for module in model.modules())
    kinds = ["weights"] * reads_weights + ["probes"] * bool(_queries(model))
    return "+".join(kinds)


def multiply_adds(function: Callable[[], object]) -> int:
    """Those of products of matrices, and of convolutions, in a call."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        function()
    return counter.get_total_flops() // 2


def query_multiply_adds(model: nn.Module, template: GraphTemplate) -> int:
    """Multiply-adds of running a network of an architecture wherever a model asks it."""
    total = 0
    for probes in _queries(model):
        stack = template.stack(probes.new_zeros(1, template.num_params))
        if template.is_plain:
            points = probes[:1, : num_network_inputs(stack)]
            total += len(probes) * multiply_adds(lambda s=stack, p=points: execute(s, p))
        else:
            images = probes[:1]
            total += len(probes) * multiply_adds(lambda s=stack, p=images: propagate(s, p))
    return total


def _queries(model: nn.Module) -> list[Tensor]:
    """The probes of all modules that run networks at some."""
    with torch.no_grad():
        found = [module.queries() for module in model.modules() if hasattr(module, "queries")]
    return [probes for probes in found if probes is not None]


def _places(task: Task) -> list[int]:
    """Some networks of val, evenly from its first to its last."""
    last = len(task.dataset("val")) - 1
    places = torch.linspace(0, last, min(NUM_COUNTED, last + 1)).round().long()
    return places.tolist()


def _costs_at(model: nn.Module, task: Task, place: int) -> tuple[float, float]:
    """Multiply-adds for one network, and those of running it among them."""
    device = next(iter(model.parameters()), torch.empty(0)).device
    dataset = task.dataset("val")
    template = dataset.templates[int(task.zoo.table["spec"].iloc[dataset.indices[place]])]

    def count(size: int) -> int:
        graphs = _alike(dataset.batch([place] * size)[0], template).to(device)
        return multiply_adds(lambda: model(graphs))

    few, many = (count(size) for size in BATCH_SIZES)
    per_network = (many - few) / (BATCH_SIZES[1] - BATCH_SIZES[0])
    return per_network, float(query_multiply_adds(model, template))


def _alike(graphs: Graphs, template: GraphTemplate) -> Graphs:
    """Copies of one network as a stack, where messages can be passed over its blocks of edges."""
    if isinstance(graphs, NeuralGraphStack) or not template.has_regular_blocks:
        return graphs
    return template.stack_of(graphs).with_own_kernels()


def _views(task: Task) -> float:
    table = task.zoo.table
    if "source_id" not in table:
        return 1.0
    of_training = table[table["split"] == "train"]
    return round(len(of_training) / max(1, of_training["source_id"].nunique()), 2)
