"""Architectures, networks and models that the tests of the encoders share."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.features import GraphFeatures, InputSettings
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel, ParameterHead
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.product_gnn import ProductGNN
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.scalegmn import ScaleGMN
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.encoders.vgae.structure_encoder import StructureEncoder
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.positional import LaplacianEncoding, ReturnProbabilities
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from tests.encoders.reference import Network

SINE, RELU, TANH = Activation("sine", 30.0), Activation("relu"), Activation("tanh")
NUM_CLASSES = 4


def inr(*layer_layout: int) -> GraphTemplate:
    """A SIREN whose outputs are moved by 0.5, as in the INRs of Navon et al., 2023."""
    return template_from_spec(NetworkSpec.mlp(layer_layout, activation=SINE, offset=0.5))


def skipping() -> GraphTemplate:
    """Skips that join a part of the neurons, a layer without bias, one of width 1."""
    layers = (
        LayerSpec(4, RELU),
        LayerSpec(6, TANH, has_bias=False, skips=(1,)),
        LayerSpec(1, RELU),
        LayerSpec(3, TANH, skips=(0, 2)),
        LayerSpec(2, offset=0.5),
    )
    return template_from_spec(NetworkSpec(2, layers))


def small() -> GraphTemplate:
    return inr(2, 3, 2)


def linear_map() -> GraphTemplate:
    """No hidden neurons at all."""
    return inr(2, 2)


TEMPLATES: dict[str, Callable[[], GraphTemplate]] = {
    "inr": lambda: inr(2, 5, 4, 2),
    "skipping": skipping,
    "small": small,
    "linear_map": linear_map,
}


def networks(template: GraphTemplate, count: int, *, seed: int = 0) -> Tensor:
    """Normal parameters in float64, with some that are exactly zero."""
    generator = torch.Generator().manual_seed(seed)
    params = torch.randn(count, template.num_params, dtype=torch.float64, generator=generator) / 3
    params[:, ::7] = 0
    return params


SMALL_NGT = {
    "node_dim": 16,  # 8 heads of the set transformer divide it
    "edge_dim": 6,
    "attention_dim": 8,
    "node_hidden_dim": 14,
    "edge_hidden_dim": 10,
    "num_layers": 3,
    "num_heads": 2,
    "dropout": 0.0,
}
SMALL_GNN = {"dim": 8, "num_layers": 3, "dropout": 0.0}

EncoderMaker = Callable[[Sequence[GraphTemplate], WeightStatistics | None], nn.Module]


def _gnn(**options) -> EncoderMaker:
    return lambda templates, statistics: NGGNN(templates, statistics, **SMALL_GNN | options)


def _product(**options) -> EncoderMaker:
    sizes = {"dim": 8, "hidden_dim": 12, "num_layers": 3}
    return lambda templates, statistics: ProductGNN(templates, statistics, **sizes | options)


def _scalegmn(**options) -> EncoderMaker:
    sizes = {"dim": 8, "num_layers": 3}
    return lambda templates, statistics: ScaleGMN(templates, statistics, **sizes | options)


def _ngt(**options) -> EncoderMaker:
    return lambda templates, statistics: NGT(templates, statistics, **SMALL_NGT | options)


def _structure(**options) -> EncoderMaker:
    """Without noise and random signs, so that training mode too has nothing random in it."""
    sizes = {"dim": 8, "num_heads": 2, "attention_dim": 5, "noise_scale": 0.0}
    options = {"has_random_signs": False} | sizes | options
    return lambda templates, statistics: StructureEncoder(templates, statistics, **options)


ENCODERS: dict[str, EncoderMaker] = {
    "gnn": _gnn(),
    "gnn_forward": _gnn(is_bidirectional=False),
    "gnn_plain_values": _gnn(fourier_sigma=None),
    "gnn_probes": _gnn(num_probes=5),
    "gnn_residuals": _gnn(has_residuals=True),
    "gnn_layer_norm": _gnn(norm="layer"),
    "gnn_rms_norm": _gnn(norm="rms", has_residuals=True),
    "gnn_no_norm": _gnn(norm="none", has_residuals=True),
    "gnn_probes_activations": _gnn(num_probes=5, has_activation_embedding=True),
    "gnn_gates": _gnn(
        modulation="gate",
        aggregators=("sum", "max"),
        scalers=("attenuation", "identity", "amplification"),
        activation="gelu",
        jumping_knowledge="cat",
        has_reverse_features=False,
    ),
    "gnn_without": _gnn(
        modulation="none",
        has_edge_updates=False,
        jumping_knowledge="max",
        has_forward_degrees=True,
        inputs=InputSettings(is_normalised=False, has_positions=False, num_frequencies=5),
    ),
    "product": _product(),
    "product_probes_activations": _product(
        num_probes=5, probes="deep_linear", has_activation_embedding=True
    ),
    "scalegmn": _scalegmn(),
    "scalegmn_forward": _scalegmn(is_bidirectional=False, scale_form="published"),
    "scalegmn_nets": _scalegmn(messages="nets"),
    "scalegmn_nets_forward": _scalegmn(
        messages="nets", is_bidirectional=False, scale_form="published"
    ),
    "scalegmn_probes_activations": _scalegmn(
        num_probes=5, probes="deep_linear", has_activation_embedding=True
    ),
    "structure": _structure(encoding=ReturnProbabilities(4)),
    "structure_laplacian": _structure(
        encoding=LaplacianEncoding(3, is_weighted=True, is_equivariant=True)
    ),
    "structure_attention": _structure(
        convolution="attention", num_layers=2, encoding=LaplacianEncoding(3, is_equivariant=True)
    ),
    "structure_forward": _structure(is_bidirectional=False),
    "structure_without_edges": _structure(convolution="attention", has_edge_features=False),
    "ngt": _ngt(),
    "ngt_without": _ngt(has_modulation=False, has_edge_updates=False),
    "ngt_edges": _ngt(attention="edges", has_last_edge_update=True),
    "ngt_reverse": _ngt(has_reverse_features=True, has_last_edge_update=True),
    "ngt_plain_values": _ngt(fourier_sigma=None),
    "ngt_cls_token": _ngt(has_cls_token=True),
    "ngt_probes": _ngt(num_probes=5),
    "ngt_probes_activations": _ngt(num_probes=5, has_activation_embedding=True),
    "ngt_edges_probes": _ngt(attention="edges", has_reverse_features=True, num_probes=5),
}


def make_encoder(name: str, templates: Sequence[GraphTemplate]) -> nn.Module:
    """A small encoder in float64, normalised by statistics of networks of the templates."""
    torch.manual_seed(0)
    dims = GraphDims.of(templates)
    populations = [(template, networks(template, 6, seed=9)) for template in templates]
    encoder = ENCODERS[name](templates, WeightStatistics.measure(dims, populations))
    return encoder.double()


def classifier(encoder: nn.Module, dims: GraphDims, method: str = "cat", **options) -> GraphModel:
    pooling = Pooling(
        method, dims=dims, node_dim=encoder.node_dim, edge_dim=encoder.edge_dim, **options
    )
    return GraphModel(encoder, GraphHead(pooling, hidden_dims=[7], out_dim=NUM_CLASSES)).double()


def editor(encoder: nn.Module, dims: GraphDims, **options) -> GraphModel:
    """A model that changes networks, with factors that show what it does."""
    head = ParameterHead(encoder.node_dim, encoder.edge_dim, dims=dims, **options)
    nn.init.normal_(head.new.bias_factor)
    nn.init.normal_(head.new.weight_factor)
    return GraphModel(encoder, head).double()


def randomise(module: nn.Module, *, seed: int = 1) -> None:
    """Values for every parameter, those that begin as zeros or ones too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
            parameter.add_(0.2 * noise)


def plain_features(dims: GraphDims, statistics: WeightStatistics) -> GraphFeatures:
    """Input features of the values alone: no Fourier features, no probes."""
    return GraphFeatures(
        dims,
        statistics,
        node_dim=4,
        edge_dim=4,
        fourier_sigma=None,
        has_reverse_features=False,
        weights_on="forward",
        num_probes=0,
        has_activation_embedding=False,
    )


def assert_equal_gradients_as_edge_list(model: nn.Module, stack: NeuralGraphStack) -> None:
    """A stack's blocks and its edge lists give every parameter one gradient."""
    gradients = []
    for graphs in (stack, Batch.from_data_list(list(stack))):
        model.zero_grad()
        model(graphs).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert gradients[0]
    assert_close(*gradients, rtol=1e-9, atol=1e-9)


def formula(shape: Sequence[int], number: int) -> Tensor:
    """Values that need no random generator, for numbers that are kept in the repository."""
    places = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
    return torch.sin(1.7 * places + 0.9 * number).reshape(shape) / 2


def fill_by_formula(module: nn.Module) -> None:
    """Fills all but what the architectures decide (degrees)."""
    state = module.state_dict()
    filled = [name for name in state if not name.endswith("mean_log_degree")]
    module.load_state_dict(
        state | {name: formula(state[name].shape, number) for number, name in enumerate(filled)}
    )


def as_reference(template: GraphTemplate, params: Tensor) -> Network:
    """One INR in the words of the reference."""
    tensors = template.parameters.unflatten(params.double())
    first, last = template.groups[1], template.groups[-1]
    return Network(
        layer_layout=tuple(group.width for group in template.groups),
        weights=[value for name, value in tensors.items() if name.endswith("weight")],
        biases=[value for name, value in tensors.items() if name.endswith("bias")],
        omega_0=first.activation.parameter,
        offset=last.offset,
    )


def reference_state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().double() for name, value in module.state_dict().items()}
