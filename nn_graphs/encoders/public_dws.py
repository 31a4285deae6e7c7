"""DWSNets that were trained with public code, as models of ours.

The classifier and the model of new parameters of AvivNavon/DWSNets (Navon et al., ICML 2023) and of
its copy in mkofinas/neural-graphs. Numbers of layers and channels, set attention, batch norms and
skips are read off the tensors; the reduction, the heads and whether fewer inputs have skips too are
not in them: they come from the configuration, with the public defaults for what it leaves out, or
are given.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from nn_graphs.encoders.equivariant.set_maps import Reduction
from nn_graphs.encoders.equivariant.space_maps import MapSettings
from nn_graphs.encoders.heads import GraphModel
from nn_graphs.encoders.public_checkpoints import PublicCheckpoint, load_public
from nn_graphs.encoders.published_dws import ChangeHead, PublishedDWSNet, ReducedHead
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.graphs.graph_template import GraphTemplate

State = Mapping[str, Tensor]

BLOCK = re.compile(r"(weight|bias)_to_(weight|bias)\.layers\.(\d+)_(\d+)\.")
PART_NAMES = (  # of theirs within a layer, and ours
    (r"(set_layer|layer)\.set_layer\.", "map."),
    (r"layer\.", "map."),
    (r"lin_all\.", "each."),
    (r"lin_n\.", "by_target."),
    (r"lin_m\.", "by_source."),
    (r"lin_both\.", "everywhere."),
)
SET_NAMES = (
    ("mab.fc_q.", "query."),
    ("mab.fc_k.", "key."),
    ("mab.fc_v.", "value."),
    ("mab.fc_o.", "out."),
    ("Gamma.", "each."),
    ("Lambda.", "common."),
    ("attn.query", "query"),
    ("down_sample.set_layer.", "down."),
    ("up_sample.set_layer.", "up."),
)
ASKED = "make a DWSNet of a checkpoint of the public code"


def is_dws(checkpoint: PublicCheckpoint) -> bool:
    """Whether the tensors are those of a DWSNet."""
    return any(".weight_to_weight." in name for name in checkpoint.state)


def dws_from_public_code(
    checkpoint: PublicCheckpoint,
    templates: Sequence[GraphTemplate],
    *,
    statistics: WeightStatistics | None = None,
    num_heads: int | None = None,
    reduction: Reduction | None = None,
) -> GraphModel:
    """A trained DWSNet, in evaluation mode; for the arguments see `model_from_public_code`.

    Raises:
        NNGraphsError: the checkpoint does not fit the architecture, or something is not known.
    """
    if len(templates) != 1:
        raise NNGraphsError(
            ASKED,
            found=f"{len(templates)} architectures are given.",
            do="Give the one that it was trained on.",
        )
    (template,) = templates
    _check_inputs(checkpoint)
    state, is_classifier = _without_prefix(checkpoint.state)
    _check_depth(state, template)
    settings = _settings(state, checkpoint, reduction=reduction, num_heads=num_heads)
    has_norms = any(name.startswith("layers.1.weights_bn.") for name in state)
    dropout = float(checkpoint.setting("model.dropout_rate", 0.0))
    encoder = PublishedDWSNet(
        template,
        statistics,
        dims=_dims(state),
        settings=settings,
        has_skip="skip.weight" in state,
        has_batch_norm=has_norms,
        dropout=dropout,
        **_layer_options(state, checkpoint),
    )
    if is_classifier:
        head = _classes(state, encoder, reduction=settings.reduction, dropout=dropout)
    else:
        head = ChangeHead(GraphDims.of(templates))
        state = _with_factors(state, len(template.blocks))
    model = GraphModel(encoder, head)
    naming = _Naming(len(template.blocks), step=4 if has_norms else 3)
    load_public(model, {naming.own(name): value for name, value in state.items()})
    return model.eval()


def _layer_options(state: State, checkpoint: PublicCheckpoint) -> dict[str, Any]:
    """What stands around the maps of a layer; with fewer inputs there is a skip in any case."""
    down = state.get("layers.0.down_sample.set_layer.Gamma.0.weight")
    if down is None:
        return {"has_layer_skips": "layers.0.skip.0.weight" in state}
    has_skips = _told(checkpoint, "add_layer_skip", None, default=False)
    return {"has_layer_skips": has_skips, "num_sampled": len(down)}


def _classes(
    state: State, encoder: PublishedDWSNet, *, reduction: Reduction, dropout: float
) -> ReducedHead:
    weights = _numbered(state, r"clf\.layer\.(\d+)\.weight$")
    return ReducedHead(
        encoder.spaces,
        dim=encoder.edge_dim,
        reduction=reduction,
        out_dim=len(weights[-1]),
        num_layers=len(weights),
        dropout=dropout,
    )


def _check_inputs(checkpoint: PublicCheckpoint) -> None:
    """Raises where networks were normalised by numbers that the checkpoint has not."""
    if checkpoint.entry("data.normalize"):
        raise NNGraphsError(
            ASKED,
            found="its networks were normalised weight by weight (data.normalize), by a file that "
            "is not in it.",
            do="Set data.normalize to False in PublicCheckpoint.config, and give the model "
            "template.stack((params - mean) / std).",
        )


def _without_prefix(state: State) -> tuple[State, bool]:
    """Tensors by their names in the model of new parameters, and whether it is a classifier's."""
    if not any(name.startswith("clf.") for name in state):
        return state, False
    return {name.removeprefix("layers."): value for name, value in state.items()}, True


def _num_weights(state: State) -> int:
    """How many weights a network has, that is, the pairs of its biases on the diagonal."""
    return len(_numbered(state, r"layers\.0\.bias_to_bias\.layers\.(\d+)_\1\."))


def _check_depth(state: State, template: GraphTemplate) -> None:
    found = _num_weights(state)
    if found != len(template.blocks):
        raise NNGraphsError(
            ASKED,
            found=f"it is of networks with {found} weights, and {template.widths} has "
            f"{len(template.blocks)}.",
            do="Give the architecture that it was trained on.",
        )


def _numbered(state: State, pattern: str) -> list[Any]:
    """Values whose names match, one for each number, by their numbers."""
    found = {int(m[1]): value for name, value in state.items() if (m := re.match(pattern, name))}
    return [found[number] for number in sorted(found)]


def _dims(state: State) -> list[int]:
    """Channels behind every layer: what the first bias gets of itself."""
    item = (
        r"layers\.(\d+)\.bias_to_bias\.layers\.0_0\.layer\.set_layer\.(mab\.fc_q|Gamma\.0)\.weight"
    )
    return [len(value) for value in _numbered(state, item)]


def _settings(
    state: State,
    checkpoint: PublicCheckpoint,
    *,
    reduction: Reduction | None,
    num_heads: int | None,
) -> MapSettings:
    last = _num_weights(state) - 1
    block = "layers.0.bias_to_bias.layers"
    is_attention = f"{block}.0_0.layer.set_layer.mab.fc_q.weight" in state
    reduction = _told(checkpoint, "reduction", reduction, default="max")
    check_known(reduction, get_args(Reduction), asked=f"take the {reduction} over neurons")
    if is_attention:
        num_heads = _told(checkpoint, "num_heads", num_heads, default=8)
    pattern = rf"layers\.0\.bias_to_bias\.layers\.{last}_{last}\.layer\.(\d+)\.weight$"
    return MapSettings(
        reduction=reduction,
        set_map="attention" if is_attention else "difference",
        num_heads=num_heads or 1,
        num_layers=len(_numbered(state, pattern)),
        has_bias=f"{block}.{last}_{last}.layer.0.bias" in state,
        is_local=f"{block}.0_{last}.layer.0.weight" not in state,
    )


def _told(checkpoint: PublicCheckpoint, name: str, given: Any, *, default: Any) -> Any:
    """What is given, else what the configuration says; what that leaves out has a public default.

    Raises:
        NNGraphsError: nothing is given, and there is no whole configuration, or only a reference.
    """
    if given is not None:
        return given
    entry = checkpoint.entry(f"model.{name}")
    found = checkpoint.setting(f"model.{name}")
    if found is not None:
        return found
    if entry is not None or "DWSModel" not in str(checkpoint.entry("model._target_")):
        raise NNGraphsError(
            ASKED,
            found=f"nothing beside its tensors tells {name}.",
            do=f"Give it ({default!r} by default there): as an argument of model_from_public_code, "
            f"or in PublicCheckpoint(state, {{'model': {{'{name}': ...}}}}).",
        )
    return default


def _with_factors(state: State, num_weights: int) -> State:
    """What new parameters are multiplied by, as one tensor each; 1 where there are no factors."""
    rest = {k: v for k, v in state.items() if not re.match(r"(weight|bias)_scale\.", k)}
    for kind in ("weight", "bias"):
        scales = _numbered(state, rf"{kind}_scale\.(\d+)$")
        like = next(iter(state.values()))
        rest[f"{kind}_factor"] = torch.stack(scales) if scales else like.new_ones(num_weights)
    return rest


@dataclass(frozen=True)
class _Naming:
    """From names of theirs to ours.

    Attributes:
        num_weights: of a network; biases come before weights among the spaces.
        step: modules from one layer to the next, which are numbered together there.
    """

    num_weights: int
    step: int

    def own(self, name: str) -> str:
        if name in ("weight_factor", "bias_factor"):
            return f"head.new.{name}"
        if name.startswith("clf.layer."):
            return name.replace("clf.layer.", "head.mlp.")
        found = re.match(r"layers\.(\d+)\.(.+)$", name)
        if found is None:
            return f"encoder.{name}"
        number, rest = int(found[1]) // self.step, found[2]
        norm = re.match(r"(weight|bias)(?:s|es)_bn\.(\d+)\.(.+)$", rest)
        if norm is not None:
            return f"encoder.norms.{number}.norms.{self._space(norm[1], norm[2])}.{norm[3]}"
        return f"encoder.layers.{number}.{self._part(rest)}"

    def _part(self, name: str) -> str:
        """A name of theirs within a layer."""
        prefix = ""
        found = BLOCK.match(name)
        if found is not None:
            source, target = (self._space(found[n], found[n + 2]) for n in (1, 2))
            prefix, name = f"maps.maps.{source}_{target}.", name[found.end() :]
            for pattern, own in PART_NAMES:
                if re.match(pattern, name):
                    name = re.sub(pattern, own, name, count=1)
                    break
        for theirs, own in SET_NAMES:
            name = name.replace(theirs, own)
        return prefix + name

    def _space(self, kind: str, number: str) -> int:
        """The place of a bias or weight among the spaces."""
        return int(number) + (self.num_weights if kind == "weight" else 0)
