"""The vectors that an encoder makes of the networks of a zoo."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nn_graphs.encoders.features import GraphFeatures, Graphs
from nn_graphs.encoders.norms import BatchNorm
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.mixed_templates import MixedTemplates
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.networks.activations import ACTIVATION_NAMES
from nn_graphs.progress import progress_bar
from nn_graphs.threads import side_by_side
from nn_graphs.zoos.batches import check_finite, make_templates
from nn_graphs.zoos.zoo import Zoo

CORE_VALUES = 1_200_000  # numbers that a core works on without waiting for memory
DEVICE_VALUES = 100_000_000  # the same on an accelerator
UNKNOWN_VALUES = 64  # per neuron and edge, of encoders that don't say
FEWEST_ALIKE = 4  # networks of an architecture that are worth a stack of their own


@runtime_checkable
class GraphEncoder(Protocol):
    """What makes a vector of a neural graph: a `VGAE`, or any encoder as a `PooledEncoder`.

    Attributes:
        dims: sizes that it was made for.
    """

    dims: GraphDims

    def embed(self, graphs: Graphs) -> Tensor: ...


@dataclass(frozen=True)
class _Block:
    """Networks that are embedded together: of one architecture, or as a mixed batch.

    Attributes:
        numbers: of the networks, in the zoo.
        kind: number of their architecture; None: of several.
    """

    numbers: Int[np.ndarray, "B"]
    kind: int | None


def embed(
    encoder: nn.Module, zoo: Zoo, *, block_size: int | None = None
) -> Float[np.ndarray, "N dim"]:
    """One vector per network of a zoo, in its order.

    Networks are embedded in blocks, side by side, on the encoder's device, outside of training mode
    and without gradients. What a network's vector is depends on no other network.

    Of architectures that the encoder was not made for: further hidden layers count as the last one
    that it knows, in what is learned or measured per layer.

    Args:
        encoder: a `VGAE`, or a `PooledEncoder`; `load_encoder` gives either.
        zoo: of any architectures.
        block_size: networks in a block; None: as many as stay in the processor's cache.

    Raises:
        NNGraphsError: it makes no vectors of graphs, or vectors that depend on other graphs too;
            kernels are larger than those that it was made for, or inputs and outputs more where it
            tells them apart; an activation is none of its table; weights are not finite.
    """
    _check_encoder(encoder)
    check_finite(zoo)
    templates = make_templates(zoo)
    for template in templates:
        _check_template(encoder, template)
    like = next(encoder.parameters())
    blocks = [*_blocks(encoder, zoo, templates, block_size, is_on_cpu=like.device.type == "cpu")]
    mixed = None
    if any(block.kind is None for block in blocks):
        mixed = MixedTemplates(templates, kernel_size=encoder.dims.kernel_size)

    def embedded(block: _Block) -> np.ndarray:
        with torch.no_grad():
            graphs = _graphs(block, zoo, templates, mixed, like).to(like.device)
            return encoder.embed(graphs).cpu().numpy()

    rows: dict[int, np.ndarray] = {}
    num_workers = None if like.device.type == "cpu" else 1
    bar = progress_bar(len(zoo), unit="networks", description="embedding")
    with bar, _not_training(encoder):
        found = side_by_side(embedded, blocks, num_workers=num_workers)
        for block, vectors in zip(blocks, found, strict=True):
            rows.update(zip(block.numbers.tolist(), vectors, strict=True))
            bar.advance(len(vectors))
    return np.stack([rows[number] for number in range(len(zoo))])


@contextmanager
def _not_training(encoder: nn.Module) -> Iterator[None]:
    """Within it, no module is in training mode; behind it, those are that were."""
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def _blocks(
    encoder: nn.Module,
    zoo: Zoo,
    templates: Sequence[GraphTemplate],
    block_size: int | None,
    *,
    is_on_cpu: bool,
) -> Iterator[_Block]:
    """Stacks of architectures with several networks, mixed batches of all others."""
    kinds = zoo.table["spec"].to_numpy()
    counts = np.bincount(kinds, minlength=len(templates))
    is_stack = (counts >= FEWEST_ALIKE) | (len(templates) == 1)
    is_stack &= [template.has_regular_blocks for template in templates]
    costs = np.array([_values(encoder, template) for template in templates])
    limit = CORE_VALUES if is_on_cpu else DEVICE_VALUES
    for kind in np.flatnonzero(is_stack & (counts > 0)):
        numbers = np.flatnonzero(kinds == kind)
        size = block_size or max(1, limit // costs[kind])
        for first in range(0, len(numbers), size):
            yield _Block(numbers[first : first + size], int(kind))
    others = np.flatnonzero(~is_stack[kinds])
    if block_size:
        run = np.arange(len(others)) // block_size
    else:
        run = (costs[kinds[others]].cumsum() - 1) // limit
    for number in np.unique(run):
        yield _Block(others[run == number], None)


def _values(encoder: nn.Module, template: GraphTemplate) -> int:
    """Numbers that the encoder makes of a network."""
    count = getattr(encoder, "values_per_graph", None)
    values = None if count is None else count(template.num_nodes, template.num_edges)
    if values is None:
        values = UNKNOWN_VALUES * (template.num_nodes + template.num_edges)
    return max(1, int(values))


def _graphs(
    block: _Block,
    zoo: Zoo,
    templates: Sequence[GraphTemplate],
    mixed: MixedTemplates | None,
    like: Tensor,
) -> Graphs:
    """The graphs of a block, in the precision of the encoder."""
    if block.kind is not None:
        return templates[block.kind].stack(zoo.take(block.numbers).to(like.dtype))
    kinds, places = (zoo.table[name].to_numpy()[block.numbers] for name in ("spec", "row"))
    params = [zoo.params[kind][row] for kind, row in zip(kinds, places, strict=True)]
    return mixed.batch(torch.from_numpy(kinds), [values.to(like.dtype) for values in params])


def _check_encoder(encoder: nn.Module) -> None:
    if not isinstance(encoder, GraphEncoder):
        raise NNGraphsError(
            f"embed networks by {type(encoder).__qualname__}",
            found="it makes no vector of a graph (it has no method `embed`, or no `dims`).",
            do="Give a VGAE, a PooledEncoder(encoder, pooling), or a trained model.as_encoder().",
        )
    for module in encoder.modules():
        if isinstance(module, BatchNorm) and not getattr(module, "has_running_averages", False):
            raise NNGraphsError(
                f"embed networks by {type(encoder).__qualname__}",
                found="its norm is over whole batches, so that vectors depend on what else is "
                "embedded.",
                do="Train it with norm='graph', or another one that sees single networks.",
            )


def _check_template(encoder: nn.Module, template: GraphTemplate) -> None:
    """Makes sure that the encoder knows kernels of this size, and inputs and outputs where needed.

    Raises:
        NNGraphsError: it does not.
    """
    dims, asked = encoder.dims, f"embed networks of the architecture {template.widths}"
    if not _fits(template.kernel_size, dims.kernel_size):
        raise NNGraphsError(
            asked,
            found=f"their largest kernel is {list(template.kernel_size)}, the encoder was made for "
            f"{list(dims.kernel_size)}.",
            do="Train an encoder on networks with kernels as large.",
        )
    features = [part for part in encoder.modules() if isinstance(part, GraphFeatures)]
    needed = GraphDims.of([template]).num_activations
    tables = [part.activation_embedding for part in features if part.activation_embedding]
    if any(table.num_embeddings < needed for table in tables):
        raise NNGraphsError(
            asked,
            found=f"they have the activation {ACTIVATION_NAMES[needed - 1]}, of which the encoder "
            "has no vector.",
            do=f"Make the encoder with InputSettings(num_activations={needed}) or more.",
        )
    if not any(hasattr(part, "positions") for part in features):
        return
    for kind, known in (("input", dims.num_inputs), ("output", dims.num_outputs)):
        count = template.num_neurons(NeuronKind[kind.upper()])
        if count > known:
            raise NNGraphsError(
                asked,
                found=f"they have {count} {kind}s, and the encoder tells {known} apart.",
                do="Train it on networks with as many, or an encoder without neuron features "
                "(StructureEncoder with has_neuron_features=False).",
            )


def _fits(kernel: tuple[int, ...], largest: tuple[int, ...]) -> bool:
    """Whether a kernel lies in another one; of fewer axes, on its last ones."""
    padded = (1,) * (len(largest) - len(kernel)) + kernel
    return len(padded) == len(largest) and all(map(int.__le__, padded, largest))
