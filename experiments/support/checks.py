"""Checks a whole config against the signatures it will be bound to, before anything is built."""

import inspect
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from beartype import BeartypeConf
from beartype.door import is_bearable
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from nn_graphs.errors import NNGraphsError
from nn_graphs.ranges import Count, PositiveInt, Seed, range_faults

INT_IS_FLOAT = BeartypeConf(is_pep484_tower=True)
OWN = {
    "seed": Seed,
    "seeds": Sequence[Seed],
    "num_train": PositiveInt | None,
    "chunk_size": PositiveInt | None,
    "num_workers": PositiveInt | None,
    "part": Count,
    "num_parts": PositiveInt,
}
"""Of what experiments have beside what is built."""


def check_config(config: DictConfig) -> int:
    """Makes sure that every `_target_` exists and takes what the config gives it.

    Returns:
        The number of targets that were checked.

    Raises:
        NNGraphsError: with all faults together, or all values that must be given and are not.
    """
    missing = sorted(_missing(OmegaConf.to_container(config), ""))
    if missing:
        raise NNGraphsError(
            "use this configuration",
            found=f"{', '.join(missing)} must be given.",
            do=f"Add {' '.join(f'{key}=...' for key in missing)}.",
        )
    content = OmegaConf.to_container(config, resolve=True)
    targets = list(_targets(content, ""))
    faults = [*_own_faults(content)]
    faults += [fault for path, node in targets for fault in _faults(path, node)]
    if faults:
        raise NNGraphsError(
            "use this configuration",
            found=f"{len(faults)} value(s) do not fit:\n  " + "\n  ".join(faults) + "\n",
            do="Correct them; `python main.py --cfg job` prints the whole configuration.",
        )
    return len(targets)


def _missing(node: Any, path: str) -> Iterator[str]:
    """Values that a config leaves to the user (`???`).

    `OmegaConf.missing_keys` raises where another value is made of such a one.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _missing(value, f"{path}.{key}".lstrip("."))
    elif node == "???":
        yield path


def _own_faults(content: dict) -> Iterator[str]:
    for key, hint in OWN.items():
        if key not in content:
            continue
        value = content[key]
        if not _fits(value, hint):
            yield f"{key}: {value!r} is not {_readable(hint)}"
        yield from (f"{key}: {fault}" for fault in range_faults(hint, value))
    seeds = content.get("seeds", [0])
    if not seeds or len(set(seeds)) < len(seeds):
        yield f"seeds: {seeds} are none, or one of them is there twice"
    part, num_parts = content.get("part", 0), content.get("num_parts", 1)
    if _fits(part, int) and _fits(num_parts, int) and part >= num_parts > 0:
        yield f"part: {part} is not less than num_parts, {num_parts}"


def _targets(node, path: str) -> Iterator[tuple[str, dict]]:
    if isinstance(node, dict):
        if _is_target(node):
            yield path, node
        for key, value in node.items():
            yield from _targets(value, f"{path}.{key}".lstrip("."))


def _faults(path: str, node: dict) -> Iterator[str]:
    try:
        target = get_object(node["_target_"])
    except (ImportError, AttributeError, ValueError) as error:
        cause = " ".join(str(error).split())
        yield f"{path}._target_: {node['_target_']} cannot be imported ({cause})"
        return
    function = target.__init__ if inspect.isclass(target) else target
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(function, include_extras=True)
    plain_hints = typing.get_type_hints(function)
    takes_others = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for key, value in node.items():
        if key.startswith("_"):
            continue
        if key not in parameters:
            if not takes_others:
                yield f"{path}.{key}: unknown; {node['_target_']} takes {', '.join(parameters)}"
        elif not (_is_target(value) or _fits(value, hints.get(key, Any))):
            yield f"{path}.{key}: {value!r} is not {_readable(plain_hints[key])}"
        else:
            yield from (f"{path}.{key}: {one}" for one in range_faults(hints.get(key, Any), value))


def _is_target(value: Any) -> bool:
    return isinstance(value, dict) and "_target_" in value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type; of a list, beartype would look at one item, at random."""
    if not isinstance(value, list):
        return is_bearable(value, hint, conf=INT_IS_FLOAT)
    items = [(item,) * len(value) for item in value] or [()]
    return all(is_bearable(item, hint, conf=INT_IS_FLOAT) for item in items)


def _readable(annotation) -> str:
    return annotation.__name__ if inspect.isclass(annotation) else str(annotation)
