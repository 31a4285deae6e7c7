"""Learned updates by name, and parts of updates by the names that files know them by."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.learned_optimizers.factored_features import FactoredFeatures
from nn_graphs.learned_optimizers.graph_network import GraphNetwork
from nn_graphs.learned_optimizers.learned_update import LearnedUpdate
from nn_graphs.learned_optimizers.log_features import LogFeatures
from nn_graphs.learned_optimizers.momentum_features import MomentumFeatures
from nn_graphs.learned_optimizers.parameter_mlp import ParameterMLP
from nn_graphs.learned_optimizers.tensor_lstm import TensorLSTM
from nn_graphs.learned_optimizers.update_forms import AdamWithCorrection, DirectionTimesExponent

PUBLISHED_FORM = DirectionTimesExponent(1e-2, 1e-2)  # of Kofinas et al.

UPDATES: dict[str, Callable[[], LearnedUpdate]] = {
    "mlp": lambda: LearnedUpdate(MomentumFeatures(), ParameterMLP(), DirectionTimesExponent()),
    "factored_mlp": lambda: LearnedUpdate(
        FactoredFeatures(), ParameterMLP((4, 4)), DirectionTimesExponent()
    ),
    "published_ff": lambda: LearnedUpdate(LogFeatures(), ParameterMLP((64, 64)), PUBLISHED_FORM),
    "published_lstm": lambda: LearnedUpdate(LogFeatures(), TensorLSTM(), PUBLISHED_FORM),
    "published_ng_gnn": lambda: LearnedUpdate(LogFeatures(), GraphNetwork(64, 8), PUBLISHED_FORM),
    "ng_gnn": lambda: LearnedUpdate(MomentumFeatures(), GraphNetwork(), DirectionTimesExponent()),
    "hybrid_mlp": lambda: LearnedUpdate(MomentumFeatures(), ParameterMLP(), AdamWithCorrection()),
    "hybrid_ng_gnn": lambda: LearnedUpdate(
        MomentumFeatures(), GraphNetwork(), AdamWithCorrection()
    ),
}

PARTS: dict[str, type] = {
    "momentum_features": MomentumFeatures,
    "log_features": LogFeatures,
    "factored_features": FactoredFeatures,
    "parameter_mlp": ParameterMLP,
    "tensor_lstm": TensorLSTM,
    "graph_network": GraphNetwork,
    "direction_times_exponent": DirectionTimesExponent,
    "adam_with_correction": AdamWithCorrection,
}
NAMES = {part: name for name, part in PARTS.items()}


def make_update(name: str) -> LearnedUpdate:
    """The learned update of a name, one of `UPDATES`.

    Raises:
        NNGraphsError: there is no such update.
    """
    check_known(name, UPDATES, asked=f"make the learned update {name!r}")
    return UPDATES[name]()


def describe_update(update: LearnedUpdate) -> dict[str, dict[str, Any]]:
    """The parts of an update and their settings, as JSON data.

    Raises:
        NNGraphsError: a part is of a class without a name.
    """
    described = {}
    for field in dataclasses.fields(update):
        part = getattr(update, field.name)
        if type(part) not in NAMES:
            raise NNGraphsError(
                "describe a learned update",
                found=f"its {field.name} are of the class {type(part).__qualname__}.",
                do=f"Add that to nn_graphs.learned_optimizers.registry.PARTS, beside "
                f"{', '.join(PARTS)}.",
            )
        described[field.name] = {"kind": NAMES[type(part)], **dataclasses.asdict(part)}
    return described


def update_from_description(description: Mapping[str, Mapping[str, Any]]) -> LearnedUpdate:
    """The update that `describe_update` described.

    Raises:
        NNGraphsError: a part is unknown here, or has other settings.
    """
    parts = {}
    for name in ("features", "model", "form"):
        settings = dict(description.get(name, {}))
        kind = settings.pop("kind", None)
        check_known(str(kind), PARTS, asked=f"make the {name} of a learned update")
        try:
            parts[name] = PARTS[kind](**settings)
        except TypeError as error:
            raise NNGraphsError(
                f"make the {name} of a learned update",
                found=f"{kind} has other settings than {', '.join(settings)} ({error}).",
                do="Use the version of nn_graphs that described it.",
            ) from error
    return LearnedUpdate(**parts)
