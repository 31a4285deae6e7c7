"""Templates as JSON: the form in which an architecture that was traced stands in files.

The parts of a template are dataclasses of numbers, names and tuples. They are written as objects
that name their class (`is`) and hold the fields that differ from its defaults. Reading makes
objects of the classes in `CLASSES` and of no others, and takes no steps but the operations that
`trace` knows: nothing in a file is imported or run. Symmetries are found anew.
"""

import base64
import dataclasses
import json
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts import group_rules, steps
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock, EdgeKind
from nn_graphs.graphs.parts.node_groups import NeuronKind, NodeGroup
from nn_graphs.graphs.symmetry.finding import find_symmetries
from nn_graphs.graphs.tracing import traceable_operations
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot

RULES = (
    *(group_rules.Sum, group_rules.Product, group_rules.Choice, group_rules.Normalization),
    *(group_rules.OneHot, group_rules.Match, group_rules.Pairing, group_rules.Modulation),
    group_rules.Directions,
    *(group_rules.Memory, group_rules.Opaque, group_rules.Shared, group_rules.HeadTotal),
)
STEPS = (steps.Step, steps.Reshape, steps.Unfollowed, steps.Convolution)
PARTS = (NodeGroup, EdgeBlock, ParameterSlot, Activation)
CLASSES = {known.__name__: known for known in (*PARTS, *RULES, *STEPS)}
ENUMS = {known.__name__: known for known in (NeuronKind, EdgeKind)}
DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float64, torch.int64, torch.bool)}


def template_to_json(template: GraphTemplate) -> str:
    """The groups, blocks, parameters and masks of a template; equal templates give equal texts.

    Raises:
        NNGraphsError: it holds something else than the classes of this file, numbers and names.
    """
    parts = {
        "groups": template.groups,
        "blocks": template.blocks,
        "parameters": template.parameters.slots,
        "masks": [[slot, _packed(mask)] for slot, mask in template.masks.items()],
    }
    return json.dumps({name: _plain(value) for name, value in parts.items()}, sort_keys=True)


def template_from_json(text: str) -> GraphTemplate:
    """The template that `template_to_json` has written.

    Raises:
        NNGraphsError: this is no such text, or names classes or operations that are not known.
    """
    try:
        parts = {name: _made(value) for name, value in json.loads(text).items()}
        groups, blocks = parts["groups"], parts["blocks"]
        masks = {slot: _unpacked(*packed) for slot, packed in parts["masks"]}
        return GraphTemplate(
            groups=groups,
            blocks=blocks,
            parameters=ParameterLayout(parts["parameters"]),
            symmetries=find_symmetries(groups, blocks, masks),
            masks=masks,
        )
    # Damage shows as nearly any exception there is.
    except Exception as error:
        cause = error.found if isinstance(error, NNGraphsError) else repr(error)
        raise NNGraphsError(
            "read the template of a traced architecture",
            found=cause,
            do="Read the networks into the zoo again, by the module that they are of.",
        ) from error


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {"is": "mapping", "entries": [[key, _plain(entry)] for key, entry in value.items()]}
    name = type(value).__name__
    if isinstance(value, Enum) and name in ENUMS:
        return {"is": name, "value": value.value}
    if isinstance(value, torch.dtype) and str(value) in DTYPES:
        return {"is": "dtype", "name": str(value)}
    if CLASSES.get(name) is not type(value):
        raise _not_known(f"it holds {value!r}.")
    _check_operation(value)
    fields = [field for field in dataclasses.fields(value) if field.init]
    own = {field.name: getattr(value, field.name) for field in fields}
    changed = {
        field.name: _plain(own[field.name])
        for field in fields
        if field.default is dataclasses.MISSING or own[field.name] != field.default
    }
    return {"is": name, **changed}


def _made(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(map(_made, data))
    if not isinstance(data, dict):
        return data
    fields = dict(data)
    name = fields.pop("is", None)
    if name == "mapping":
        return {key: _made(entry) for key, entry in fields["entries"]}
    if name == "dtype":
        return DTYPES[fields["name"]]
    if name in ENUMS:
        return ENUMS[name](fields["value"])
    if name not in CLASSES:
        raise _not_known(f"it names {name!r}.")
    made = CLASSES[name](**{key: _made(entry) for key, entry in fields.items()})
    _check_operation(made)
    return made


def _check_operation(value: Any) -> None:
    """Steps are run by the names of their operations; those that `trace` follows do no harm."""
    if isinstance(value, steps.Step) and value.operation not in _operations():
        raise _not_known(f"it has a step {value.operation!r}, which trace does not know.")


@cache
def _operations() -> frozenset[str]:
    return frozenset(traceable_operations())


def _packed(mask: Bool[Tensor, "..."]) -> list:
    bits = np.packbits(mask.cpu().numpy())
    return [list(mask.shape), base64.b64encode(bits.tobytes()).decode()]


def _unpacked(shape: tuple[int, ...], text: str) -> Bool[Tensor, "..."]:
    bits = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    values = np.unpackbits(bits, count=int(np.prod(shape))).astype(bool)
    return torch.from_numpy(values).reshape(shape)


def _not_known(found: str) -> NNGraphsError:
    return NNGraphsError(
        "keep a traced architecture in a file",
        found=found,
        do="Use a module whose operations are those of nn_graphs.graphs.traceable_operations().",
    )
