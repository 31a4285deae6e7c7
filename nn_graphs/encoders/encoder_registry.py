"""Encoders by name: what made them is told as JSON data, from which they are made again.

A class is given a name by `registered`, and then remembers the arguments of its instances. Sizes
stand for templates, and statistics are left out: they are buffers, which come with the weights.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from torch import nn

from nn_graphs.encoders.features import InputSettings
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.positional import LaplacianEncoding, RandomFeatures, ReturnProbabilities
from nn_graphs.graphs.positional_encoding import PositionalEncoding

ENCODINGS: dict[str, type[PositionalEncoding]] = {
    "laplacian": LaplacianEncoding,
    "random": RandomFeatures,
    "return_probabilities": ReturnProbabilities,
}
_CLASSES: dict[str, type[nn.Module]] = {}
_NAMES: dict[type[nn.Module], str] = {}
Class = TypeVar("Class", bound=type[nn.Module])


def registered(name: str) -> Callable[[Class], Class]:
    """A decorator that gives a class of modules a name by which files know it.

    Its arguments may be numbers, texts, None, lists of these, `templates` (or their `GraphDims`),
    `InputSettings`, positional encodings, and modules of registered classes; `statistics` must be
    kept as buffers.

    Raises:
        NNGraphsError: another class has this name.
    """

    def register(cls: Class) -> Class:
        if name in _CLASSES and _CLASSES[name].__qualname__ != cls.__qualname__:
            raise NNGraphsError(
                f"register the encoder {cls.__qualname__} as {name!r}",
                found=f"that is the name of {_CLASSES[name].__qualname__}.",
                do="Choose another name.",
            )
        _CLASSES[name], _NAMES[cls] = cls, name
        cls.__init__ = _remembering(cls.__init__)
        return cls

    return register


def _remembering(init: Callable) -> Callable:
    """A constructor that keeps its arguments, as those of the class itself."""
    signature = inspect.signature(init)

    @wraps(init)
    def constructor(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        _, *arguments = bound.arguments.items()
        self._arguments = {name: _kept(name, value) for name, value in arguments}

    return constructor


def _kept(name: str, value: Any) -> Any:
    """An argument as it is remembered: without whole templates and statistics."""
    if name == "statistics":
        return None
    return GraphDims.of(value) if name == "templates" else value


def describe_encoder(encoder: nn.Module) -> dict[str, Any]:
    """How an encoder was made, as JSON data.

    Raises:
        NNGraphsError: it, or what it is made of, is of no registered class.
    """
    name = _NAMES.get(type(encoder))
    if name is None:
        raise NNGraphsError(
            f"describe the encoder {type(encoder).__qualname__}",
            found=f"its class is none of those with a name: {', '.join(sorted(_CLASSES))}.",
            do="Give it one: @nn_graphs.encoders.registered('name').",
        )
    settings = {key: _described(key, value) for key, value in encoder._arguments.items()}
    return {"class": name, "settings": settings}


def make_encoder(description: Mapping[str, Any]) -> nn.Module:
    """An encoder of new weights, as `describe_encoder` told it.

    Raises:
        NNGraphsError: no class has its name, or it does not take these settings.
    """
    name = description.get("class")
    if name not in _CLASSES:
        raise NNGraphsError(
            f"make an encoder of the class {name!r}",
            found=f"those with a name are {', '.join(sorted(_CLASSES))}.",
            do="Import the file that registers it.",
        )
    settings = {key: _made(value) for key, value in dict(description.get("settings", {})).items()}
    try:
        return _CLASSES[name](**settings)
    except TypeError as error:
        raise NNGraphsError(
            f"make an encoder of the class {name!r}",
            found=f"it does not take these settings ({error}).",
            do="Use the version of nn_graphs that it comes from.",
        ) from error


def _described(key: str, value: Any) -> Any:
    if isinstance(value, nn.Module):
        return describe_encoder(value)
    if isinstance(value, GraphDims):
        return {"dims": vars(value)}
    if isinstance(value, InputSettings):
        return {"inputs": vars(value)}
    for name, kind in ENCODINGS.items():
        if type(value) is kind:
            parameters = inspect.signature(kind).parameters
            return {"encoding": name, "settings": {key: getattr(value, key) for key in parameters}}
    if isinstance(value, list | tuple):
        return [_described(key, each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise NNGraphsError(
        f"describe the setting {key} of an encoder",
        found=f"it is of {type(value).__qualname__}.",
        do="Make it of numbers, texts, positional encodings and registered modules.",
    )


def _made(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_made, value))
    if not isinstance(value, dict):
        return value
    if "dims" in value:
        sizes = dict(value["dims"])
        return GraphDims(**sizes | {"kernel_size": tuple(sizes["kernel_size"])})
    if "inputs" in value:
        return InputSettings(**value["inputs"])
    if "encoding" in value:
        return ENCODINGS[value["encoding"]](**value["settings"])
    return make_encoder(value)
