"""Numbers that settings may take, said with their types and checked where they are given.

    @in_ranges
    @dataclass(frozen=True)
    class Settings:
        num_epochs: PositiveInt = 200
        dropout: Probability = 0.0
        chunk_size: PositiveInt | None = None

Configs are checked against the same annotations before anything is made.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from numbers import Real
from typing import Annotated, Any, TypeVar

from nn_graphs.errors import NNGraphsError

Checked = TypeVar("Checked", bound=Callable)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; an end may be left out. NaN is in none.

    `str` of it is what a number has to be, e.g. "at least 1".
    """

    low: int | float = -math.inf
    high: int | float = math.inf
    has_low: bool = True
    has_high: bool = True

    def __contains__(self, value: Real) -> bool:
        is_above = self.low <= value if self.has_low else self.low < value
        is_below = value <= self.high if self.has_high else value < self.high
        return bool(is_above and is_below)  # also of numpy's numbers

    def __str__(self) -> str:
        low = f"{'at least' if self.has_low else 'more than'} {self.low}"
        high = f"{'at most' if self.has_high else 'less than'} {self.high}"
        ends = [low] if self.low > -math.inf else []
        if self.high < math.inf:
            ends.append(high)
        elif not self.has_high:
            ends.append("finite")
        return " and ".join(ends) or "a number"


PositiveInt = Annotated[int, Range(1)]
Count = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
PositiveFloat = Annotated[float, Range(0, math.inf, has_low=False, has_high=False)]
NonNegative = Annotated[float, Range(0, math.inf, has_high=False)]
Share = Annotated[float, Range(0, 1)]
Probability = Annotated[float, Range(0, 1, has_high=False)]


def range_faults(hint: Any, value: Any) -> list[str]:
    """What values of an annotated type should be and are not, in words, e.g. "0 is not at least 1".

    Of a union, the kind of number that the value is counts; of a sequence or mapping, every item.
    """
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [
            fault for item in value for part in _items(hint) for fault in range_faults(part, item)
        ]
    if isinstance(value, bool) or not isinstance(value, Real):
        return []
    return [f"{value} is not {one}" for one in _ranges(hint) if value not in one]


def in_ranges(made: Checked) -> Checked:
    """Makes a class or function refuse numbers that its annotations exclude, all faults together.

    The call raises NNGraphsError.
    """
    called = made.__init__ if inspect.isclass(made) else made
    signature = inspect.signature(called)

    @wraps(called)
    def checked(*args, **kwargs):
        _check(made.__name__, called, _bound(signature, args, kwargs))
        return called(*args, **kwargs)

    if not inspect.isclass(made):
        return checked
    made.__init__ = checked
    return made


def _check(name: str, called: Callable, values: Mapping[str, Any]) -> None:
    hints = _hints(called)
    faults = [
        f"{key}: {fault}"
        for key, value in values.items()
        for fault in range_faults(hints.get(key, Any), value)
    ]
    if faults:
        raise NNGraphsError(
            f"make {name} of these values", found="; ".join(faults) + ".", do="Correct them."
        )


def _bound(signature: inspect.Signature, args: tuple, kwargs: dict) -> Mapping[str, Any]:
    try:
        return signature.bind(*args, **kwargs).arguments
    except TypeError:  # which the call itself tells better
        return {}


@cache
def _hints(called: Callable) -> dict[str, Any]:
    return typing.get_type_hints(called, include_extras=True)


def _ranges(hint: Any) -> Iterator[Range]:
    """Those of a number, not of items of a sequence."""
    if typing.get_origin(hint) is Annotated:
        yield from (one for one in hint.__metadata__ if isinstance(one, Range))
    elif _is_union(hint):
        for part in typing.get_args(hint):
            yield from _ranges(part)


def _items(hint: Any) -> Iterator[Any]:
    """The types of the items of a sequence, or of the values of a mapping."""
    if _is_union(hint):
        for part in typing.get_args(hint):
            yield from _items(part)
    elif args := [one for one in typing.get_args(hint) if one is not Ellipsis]:
        yield args[-1]


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)
