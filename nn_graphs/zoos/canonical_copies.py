"""A zoo whose networks have canonical signs and phases, see `nn_graphs.graphs.canonical_forms`."""

from collections.abc import Collection
from dataclasses import replace

from nn_graphs.graphs.canonical_forms import CanonicalKind, canonical_params
from nn_graphs.zoos.batches import make_templates
from nn_graphs.zoos.zoo import Zoo


def canonical_zoo(zoo: Zoo, *, kinds: Collection[CanonicalKind] | CanonicalKind) -> Zoo:
    """The same zoo, each network replaced by its canonical copy; nothing where `kinds` is empty.

    Raises:
        NNGraphsError: a kind is unknown.
    """
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if not kinds:
        return zoo
    params = tuple(
        canonical_params(template, values, kinds=kinds)
        for template, values in zip(make_templates(zoo), zoo.params, strict=True)
    )
    return replace(zoo, params=params, metadata={**zoo.metadata, "canonical": sorted(kinds)})
