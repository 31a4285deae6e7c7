"""Models that were trained with the public code of neural graphs, as models of ours.

Checkpoints of NG-GNN and NG-T of mkofinas/neural-graphs (Kofinas et al., ICLR 2024), and of DWSNets
(`public_dws.py`). All sizes are read off the tensors; what tensors do not tell (heads, aggregators,
statistics of weights) is in the configuration that the public code saves beside them, or is given.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from nn_graphs.encoders.equivariant.set_maps import Reduction
from nn_graphs.encoders.features import InputSettings
from nn_graphs.encoders.gnn import NGGNN, STATISTICS
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.norms import NormName
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.public_checkpoints import (
    Names,
    PublicCheckpoint,
    load_public,
    read_public_checkpoint,
    renamed,
)
from nn_graphs.encoders.public_dws import dws_from_public_code, is_dws
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate

INPUTS = "construct_graph."
INPUT_NAMES: Names = (
    (r"construct_graph\.pos_embed$", "encoder.features.positions"),
    (r"construct_graph\.proj_weight\.0\.b$", "encoder.features.weight_embedding.0.frequencies"),
    (r"construct_graph\.proj_bias\.0\.b$", "encoder.features.bias_embedding.0.frequencies"),
    (r"construct_graph\.proj_weight\.", "encoder.features.weight_embedding."),
    (r"construct_graph\.proj_bias\.", "encoder.features.bias_embedding."),
    (r"construct_graph\.proj_(node|edge)_in\.", r"encoder.features.\1_in."),
    (r"construct_graph\.gpf\.inputs$", "encoder.features.probe_features.probes"),
    (r"construct_graph\.gpf\.proj\.", "encoder.features.probe_features.projections."),
    (r"construct_graph\.act_emb\.embedding\.", "encoder.features.activation_embedding."),
    (r"proj_out\.", "head.mlp."),
)
GNN_NAMES: Names = (
    (r"gnn\.convs\.(\d+)\.aggr_module\.avg_deg_log$", r"encoder.layers.\1.mean_log_degree"),
    (r"gnn\.convs\.(\d+)\.edge_encoder\.", r"encoder.layers.\1.modulation."),
    (r"gnn\.convs\.(\d+)\.pre_nns\.0\.0\.", r"encoder.layers.\1.message."),
    (r"gnn\.convs\.(\d+)\.post_nns\.0\.0\.", r"encoder.layers.\1.update."),
    (r"gnn\.convs\.(\d+)\.lin\.", r"encoder.layers.\1.out."),
    (r"gnn\.norms\.", "encoder.norms."),
    (r"gnn\.edge_update\.(\d+)\.lin_e\.", r"encoder.edge_updates.\1.from_edge."),
    (r"gnn\.edge_update\.(\d+)\.lin_s\.", r"encoder.edge_updates.\1.from_source."),
    (r"gnn\.edge_update\.(\d+)\.lin_t\.", r"encoder.edge_updates.\1.from_target."),
    (r"gnn\.edge_update\.(\d+)\.lin1\.", r"encoder.edge_updates.\1.out."),
    (r"gnn\.lin\.", "encoder.jump."),
)
TRANSFORMER_NAMES: Names = (  # their "source" of a pair is the neuron that attends
    (r"cls_token$", "encoder.cls_token"),
    (r"layers\.(\d+)\.self_attn\.qkv_(node|edge)\.", r"encoder.node_updates.\1.attention.from_\2."),
    (r"layers\.(\d+)\.self_attn\.proj_out\.", r"encoder.node_updates.\1.attention.out."),
    (r"layers\.(\d+)\.lin0\.", r"encoder.node_updates.\1.attended."),
    (r"layers\.(\d+)\.node_ln([01])\.", r"encoder.node_updates.\1.norms.\2."),
    (r"layers\.(\d+)\.node_mlp\.", r"encoder.node_updates.\1.feed_forward."),
    (r"layers\.(\d+)\.edge_updates\.edge_mlp0\.lin0_e\.", r"encoder.edge_updates.\1.from_edges."),
    (r"layers\.(\d+)\.edge_updates\.edge_mlp0\.lin0_s\.", r"encoder.edge_updates.\1.from_target."),
    (r"layers\.(\d+)\.edge_updates\.edge_mlp0\.lin0_t\.", r"encoder.edge_updates.\1.from_source."),
    (r"layers\.(\d+)\.edge_updates\.edge_mlp0\.lin1\.", r"encoder.edge_updates.\1.mixed."),
    (r"layers\.(\d+)\.edge_updates\.edge_mlp1\.", r"encoder.edge_updates.\1.feed_forward."),
    (r"layers\.(\d+)\.edge_updates\.eln([01])\.", r"encoder.edge_updates.\1.norms.\2."),
)
UNREAD = re.compile(r"\.avg_deg_lin$|^construct_graph\.spatial_embed$")


def model_from_public_code(
    checkpoint: PublicCheckpoint | str | Path,
    templates: Sequence[GraphTemplate],
    *,
    statistics: WeightStatistics | None = None,
    num_heads: int | None = None,
    norm: NormName = "published",
    reduction: Reduction | None = None,
) -> GraphModel:
    """A trained NG-GNN, NG-T or DWSNet of the public code, whose outputs are those of the original.

    Args:
        checkpoint: or the path of its file.
        templates: the architectures of the networks; positions and kernels must be as many as in
            training.
        statistics: that weights and biases were normalised by; None: those of the configuration,
            or none (there DWSNets have none).
        num_heads: of NG-T, and of a DWSNet that attends; None: that of the configuration.
        norm: of NG-GNN; "published" takes the mini-batch together, as the original does in
            evaluation too; "graph" takes every graph by itself, with the same parameters.
        reduction: of a DWSNet, what it takes of neurons; None: that of the configuration.

    Returns:
        The model in evaluation mode, in the checkpoint's precision; a DWSNet that writes parameters
        gives the graphs of the new networks.

    Raises:
        NNGraphsError: the checkpoint is of another model, or does not fit the architectures.
    """
    if not isinstance(checkpoint, PublicCheckpoint):
        checkpoint = read_public_checkpoint(checkpoint)
    if is_dws(checkpoint):
        return dws_from_public_code(
            checkpoint, templates, statistics=statistics, num_heads=num_heads, reduction=reduction
        )
    state = {k: v for k, v in checkpoint.state.items() if not UNREAD.search(k)}
    dims = GraphDims.of(templates)
    if statistics is None:
        statistics = _statistics(checkpoint.setting("data.stats"), dims)
    if any(name.startswith("gnn.convs.") for name in state):
        encoder = _gnn(state, checkpoint, templates, statistics, norm)
        names = GNN_NAMES
    elif any(name.startswith("layers.0.self_attn.") for name in state):
        encoder = _transformer(state, checkpoint, templates, statistics, num_heads)
        state = _parts_first(state, encoder.node_updates[0].attention.num_heads)
        names = TRANSFORMER_NAMES
    else:
        raise NNGraphsError(
            "make a model of a checkpoint of the public code",
            found=f"it holds {', '.join(list(state)[:3])}, ..., of no NG-GNN, NG-T or DWSNet.",
            do="Give a checkpoint of one of these; others have other functions here.",
        )
    model = GraphModel(encoder, _head(state, checkpoint, encoder, dims))
    load_public(model, renamed(state, (*INPUT_NAMES, *names)))
    return model.eval()


def _gnn(
    state: Mapping[str, Tensor],
    checkpoint: PublicCheckpoint,
    templates: Sequence[GraphTemplate],
    statistics: WeightStatistics | None,
    norm: NormName,
) -> NGGNN:
    backbone = "model.gnn_backbone."
    is_film = checkpoint.setting(backbone + "modulate_edges", _has_film(state))
    is_gated = is_film and checkpoint.setting(backbone + "gating_edges", False)
    has_updates = any(name.startswith("gnn.edge_update.") for name in state)
    jumps = checkpoint.setting(backbone + "jk", "cat" if "gnn.lin.weight" in state else "none")
    return NGGNN(
        templates,
        statistics,
        dim=len(state[INPUTS + "proj_node_in.weight"]),
        num_layers=_count(state, r"gnn\.convs\.(\d+)\."),
        dropout=float(checkpoint.setting(backbone + "dropout", 0.0)),
        is_bidirectional=_num_channels(state, templates) == 3,
        norm=norm,
        aggregators=tuple(checkpoint.setting(backbone + "aggregators", STATISTICS)),
        scalers=tuple(checkpoint.setting(backbone + "scalers", ("identity", "amplification"))),
        activation=checkpoint.setting(backbone + "act", "silu"),
        modulation="gate" if is_gated else "film" if is_film else "none",
        has_edge_updates=has_updates,
        jumping_knowledge=jumps,
        std_form="published",
        has_forward_degrees=True,
        **_input_options(state, checkpoint),
    )


def _transformer(
    state: Mapping[str, Tensor],
    checkpoint: PublicCheckpoint,
    templates: Sequence[GraphTemplate],
    statistics: WeightStatistics | None,
    num_heads: int | None,
) -> NGT:
    num_heads = num_heads or checkpoint.setting("model.n_heads")
    if num_heads is None:
        raise NNGraphsError(
            "make an NG-T of a checkpoint of the public code",
            found="no configuration beside its tensors says how many heads it has.",
            do="Give num_heads (8 in most published runs).",
        )
    attention_dim = len(state["layers.0.self_attn.qkv_node.weight"]) // 3
    num_layers = _count(state, r"layers\.(\d+)\.self_attn\.")
    updated = "layers.{}.edge_updates.edge_mlp0.lin0_e.weight"
    hidden = state.get(updated.format(0))
    return NGT(
        templates,
        statistics,
        node_dim=len(state[INPUTS + "proj_node_in.weight"]),
        edge_dim=len(state[INPUTS + "proj_edge_in.weight"]),
        attention_dim=attention_dim,
        node_hidden_dim=len(state["layers.0.node_mlp.0.weight"]),
        edge_hidden_dim=1 if hidden is None else len(hidden),
        num_layers=num_layers,
        num_heads=num_heads,
        dropout=float(checkpoint.setting("model.dropout", 0.0)),
        has_reverse_features=_num_channels(state, templates) == 3,
        has_cls_token="cls_token" in state,
        has_modulation=len(state["layers.0.self_attn.qkv_edge.weight"]) == 4 * attention_dim,
        has_layer_norms="layers.0.node_ln0.weight" in state,
        has_edge_updates=hidden is not None,
        has_last_edge_update=updated.format(num_layers - 1) in state,
        **_input_options(state, checkpoint),
    )


def _input_options(state: Mapping[str, Tensor], checkpoint: PublicCheckpoint) -> dict[str, Any]:
    """What the input stage has, of options that both encoders share."""
    _check_inputs(state)
    frequencies = state.get(INPUTS + "proj_weight.0.b")
    probes = state.get(INPUTS + "gpf.inputs")
    table = state.get(INPUTS + "act_emb.embedding.weight")
    options = {} if frequencies is None else {"num_frequencies": len(frequencies)}
    return {
        "fourier_sigma": None if frequencies is None else 1.0,  # the frequencies are loaded
        "num_probes": 0 if probes is None else probes.shape[-2],
        "has_activation_embedding": table is not None,
        "inputs": InputSettings(
            has_positions=checkpoint.setting("model.graph_constructor.use_pos_embed", True),
            num_activations=None if table is None else len(table),
            **options,
        ),
    }


def _check_inputs(state: Mapping[str, Tensor]) -> None:
    """Raises where the input stage is one that ours has not."""
    found = []
    if any(key.startswith(INPUTS + "proj_mlp_weight.") for key in state):
        found.append("linear maps have a projection of their own (linear_as_conv=False)")
    for part in ("proj_weight", "proj_bias"):
        if not any(key.startswith(f"{INPUTS}{part}.") for key in state):
            found.append(f"it has no {part} (zero_out_weights or zero_out_bias)")
    if found:
        raise NNGraphsError(
            "take over the input stage of a checkpoint of the public code",
            found=f"{found[0]}.",
            do="See docs/public_code.md; train the model here instead.",
        )


def _statistics(stats: Any, dims: GraphDims) -> WeightStatistics | None:
    """Constants per layer, as configurations of the public code have them."""
    if not isinstance(stats, Mapping) or not stats:
        return None
    values = [
        torch.tensor([first, *map(float, stats[f"{kind}_{name}"])])
        for kind in ("biases", "weights")
        for name, first in (("mean", 0.0), ("std", 1.0))
    ]
    if any(len(value) != dims.num_layers for value in values):
        raise NNGraphsError(
            f"normalise networks of {dims.num_layers - 1} layers of weights",
            found=f"the configuration has statistics of {len(values[0]) - 1}.",
            do="Give the architectures that the checkpoint was trained on, or statistics.",
        )
    return WeightStatistics(*values)


def _head(
    state: Mapping[str, Tensor],
    checkpoint: PublicCheckpoint,
    encoder: NGGNN | NGT,
    dims: GraphDims,
) -> GraphHead:
    """Pooling and the layers behind it; poolings with parameters are not taken over."""
    method = checkpoint.setting("model.pooling_method", "cat")
    if method in ("mean_edge", "max_edge"):
        raise NNGraphsError(
            "take over the pooling of a checkpoint of the public code",
            found=f"{method} is there over all pairs of neurons, here over edges.",
            do="Train the model here instead.",
        )
    if isinstance(encoder, NGT) and encoder.cls_token is not None:
        method = "cls_token"
    layer = checkpoint.setting("model.pooling_layer_idx", "last")
    pooling = Pooling(
        method, layer=layer, dims=dims, node_dim=encoder.node_dim, edge_dim=encoder.edge_dim
    )
    biases = sorted(
        (int(name.split(".")[1]), len(value))
        for name, value in state.items()
        if re.fullmatch(r"proj_out\.\d+\.bias", name)
    )
    *hidden, out = (size for _, size in biases)
    return GraphHead(pooling, hidden_dims=hidden, out_dim=out)


def _has_film(state: Mapping[str, Tensor]) -> bool:
    """Whether edges scale and shift messages, rather than stand beside their ends."""
    message = state["gnn.convs.0.pre_nns.0.0.weight"]
    return message.shape[1] == 2 * len(message)


def _num_channels(state: Mapping[str, Tensor], templates: Sequence[GraphTemplate]) -> int:
    """How many kernels describe an edge: its own, or also the opposite one and the sum."""
    first = state.get(INPUTS + "proj_weight.0.b")
    if first is None:
        first = state[INPUTS + "proj_weight.0.weight"]
    return first.shape[1] // GraphDims.of(templates).num_edge_values


def _count(state: Iterable[str], pattern: str) -> int:
    return 1 + max(int(found[1]) for name in state if (found := re.match(pattern, name)))


def _parts_first(state: Mapping[str, Tensor], num_heads: int) -> dict[str, Tensor]:
    """Rows of queries, keys and values: by part and then by head, where theirs are by head first.

    Every head has its parts side by side there.
    """
    changed = dict(state)
    for name, value in state.items():
        if re.search(r"\.self_attn\.qkv_(node|edge)\.weight$", name):
            node_name = re.sub(r"qkv_\w+\.weight$", "qkv_node.weight", name)
            attention_dim = len(state[node_name]) // 3
            changed[name] = rearrange(
                value,
                "(heads parts rows) dim -> (parts heads rows) dim",
                heads=num_heads,
                parts=len(value) // attention_dim,
            )
    return changed
