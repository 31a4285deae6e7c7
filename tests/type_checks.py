"""Importing this file checks shapes in all of `nn_graphs` that is imported afterwards.

Only functions and dataclasses whose annotations name shapes are checked, by `jaxtyping` and
`beartype`: checks of all ten thousand take as long as the tests themselves, and mypy has read the
other types already.
"""

from collections.abc import Callable

import jaxtyping

check = jaxtyping.jaxtyped


def names_shapes(annotated: Callable | type) -> bool:
    """Whether an annotation of a function, or of a class's fields, is one of `jaxtyping`."""
    annotations = getattr(annotated, "__annotations__", {})
    return any("[Tensor, " in str(annotation) for annotation in annotations.values())


def jaxtyped(*, typechecker: Callable[[Callable], Callable]) -> Callable:
    """`jaxtyping.jaxtyped` for what names shapes; all else stays as it is."""

    def decorate(annotated):
        shaped = names_shapes(annotated)
        return check(annotated, typechecker=typechecker) if shaped else annotated

    return decorate


jaxtyping.jaxtyped = jaxtyped
jaxtyping.install_import_hook("nn_graphs", "beartype.beartype")
