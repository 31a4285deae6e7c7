"""One training step on convolutional networks, as published and here, from flat parameters on.

A step makes the batch, then does forward, binary cross-entropy, backward and AdamW; settings are
the published ones of the CNN Wild Park (NG-GNN) and of the Small CNN Zoo.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from benchmarks.published_cnns import PublishedCNNGNN, PublishedCNNTransformer, dense_sample
from torch import Tensor, nn
from torch_geometric.data import Batch

from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.mixed_templates import MixedTemplates
from nn_graphs.memory import keep_freed_memory
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.training import TrainingSettings, accumulate_gradients, supervised

PARK_ACTIVATIONS = ("relu", "gelu", "tanh", "sigmoid", "leaky_relu")
GNN = {"num_layers": 4, "dropout": 0.0, "is_bidirectional": False, "fourier_sigma": 3.0}
TRANSFORMER = {
    "node_dim": 128,
    "edge_dim": 64,
    "attention_dim": 256,
    "node_hidden_dim": 256,
    "edge_hidden_dim": 128,
    "num_layers": 4,
    "num_heads": 8,
}
PLAIN = ("gnn_published", "transformer_published")
OURS = ("gnn", "transformer_all_pairs", "transformer_edges")
VARIANTS = (*PLAIN, *OURS)


@dataclass(frozen=True)
class CNNStepSetting:
    """What is timed.

    Attributes:
        variant: one of `VARIANTS`.
        networks: "park" (drawn as the Wild Park's), "zoo" (the Small CNN Zoo's architecture), or
            "chain" (three convolutions of one size; architectures differ in activations).
        batch_size: networks per step.
        num_architectures: how many different ones are in a batch, but for the zoo.
        channels, kernel_size: of a chain.
        dim: of NG-GNN.
    """

    variant: str
    networks: str = "park"
    batch_size: int = 32
    num_architectures: int = 32
    channels: int = 16
    kernel_size: int = 3
    dim: int = 64


def make_specs(setting: CNNStepSetting) -> list[NetworkSpec]:
    """The architectures of a batch."""
    if setting.networks == "zoo":
        return [small_cnn_zoo_spec()]
    if setting.networks == "chain":
        widths, kernels = (3, *[setting.channels] * 3), [setting.kernel_size] * 3
        orders = list(product(PARK_ACTIVATIONS, repeat=3))[: setting.num_architectures]
        return [wild_park_spec(widths, kernels, activations=names) for names in orders]
    generator = random.Random(0)
    return [_draw_park_spec(generator) for _ in range(setting.num_architectures)]


def _draw_park_spec(generator: random.Random) -> NetworkSpec:
    """Two to five convolutions with the published choices of sizes, activations and residuals."""
    depth = generator.randint(2, 5)
    return wild_park_spec(
        (3, *(generator.choice((4, 8, 16, 32)) for _ in range(depth))),
        [generator.choice((3, 5, 7)) for _ in range(depth)],
        activations=[generator.choice(PARK_ACTIVATIONS) for _ in range(depth)],
        residuals=[-1, *(generator.choice((-1, *range(n))) for n in range(depth - 1))],
    )


def make_model(setting: CNNStepSetting, templates: Sequence[GraphTemplate]) -> nn.Module:
    torch.manual_seed(0)
    dims = GraphDims.of(templates)
    if setting.variant == "gnn_published":
        return PublishedCNNGNN(dims, in_degrees(templates), dim=setting.dim)
    if setting.variant == "transformer_published":
        return PublishedCNNTransformer(dims, **TRANSFORMER)
    if setting.variant == "gnn":
        encoder = NGGNN(templates, dim=setting.dim, has_activation_embedding=True, **GNN)
        hidden_dims = [setting.dim, setting.dim]
    else:
        attention = setting.variant.removeprefix("transformer_")
        encoder = NGT(
            templates,
            attention=attention,
            dropout=0.0,
            fourier_sigma=1.0,
            has_activation_embedding=True,
            **TRANSFORMER,
        )
        hidden_dims = [TRANSFORMER["node_dim"]]
    pooling = Pooling("cat", dims=dims, node_dim=encoder.node_dim, edge_dim=encoder.edge_dim)
    return GraphModel(encoder, GraphHead(pooling, hidden_dims=hidden_dims, out_dim=1))


def in_degrees(templates: Sequence[GraphTemplate]) -> Tensor:
    """How many neurons of all architectures have 0, 1, 2, ... incoming edges."""
    degrees = [
        torch.bincount(t.structure().edge_index[1], minlength=t.num_nodes) for t in templates
    ]
    return torch.bincount(torch.cat(degrees))


def batch_maker(setting: CNNStepSetting, templates: Sequence[GraphTemplate]) -> Callable:
    """A function that makes the batch of networks at their initial values."""
    torch.manual_seed(0)
    kinds = torch.arange(setting.batch_size) % len(templates)
    params = [0.1 * torch.randn(templates[kind].num_params) for kind in kinds.tolist()]
    if setting.variant in PLAIN:
        size = GraphDims.of(templates).kernel_size
        pairs = [(templates[kind], p) for kind, p in zip(kinds.tolist(), params, strict=True)]
        return lambda: Batch.from_data_list([dense_sample(t, p, size) for t, p in pairs])
    if len(templates) == 1:
        stacked = torch.stack(params)
        return lambda: templates[0].stack(stacked)
    mixed = MixedTemplates(templates)
    return lambda: mixed.batch(kinds, params)


def prepare_cnn_step(
    setting: CNNStepSetting, *, accumulate: Callable[..., Tensor] = accumulate_gradients
) -> Callable[[], float]:
    """A function that does one training step and says the loss.

    `accumulate` is how our gradients are computed.
    """
    templates = [template_from_spec(spec) for spec in make_specs(setting)]
    model, make_batch = make_model(setting, templates), batch_maker(setting, templates)
    labels = torch.linspace(0, 1, setting.batch_size)
    optimizer = TrainingSettings().make_optimizer(model)
    if setting.variant in OURS:
        keep_freed_memory()  # as training does

    def loss_fn(outputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(outputs.squeeze(1), labels)

    def step() -> float:
        optimizer.zero_grad()
        batch = make_batch()
        if setting.variant in PLAIN:
            loss = loss_fn(model(batch), labels)
            loss.backward()
        else:
            loss = accumulate(model, supervised(loss_fn), (batch, labels))
        optimizer.step()
        return loss.item()

    return step
