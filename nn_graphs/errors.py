"""The one error class: what was asked, what was found, what to do about it."""

from collections.abc import Iterable
from difflib import get_close_matches
from functools import partial


class NNGraphsError(Exception):
    """Bad input, told in one message.

    Args:
        asked: what the caller wanted, e.g. `"open data/digits.h5 as a zoo"`.
        found: what stood in the way, with numbers, shapes and paths.
        do: what the user can do about it.
    """

    def __init__(self, asked: str, *, found: str, do: str):
        self.asked, self.found, self.do = asked, found, do
        super().__init__(asked, found, do)

    def __str__(self) -> str:
        return f"Cannot {self.asked}: {self.found} {self.do}"

    def __reduce__(self):
        """Errors pass from process to process as they are."""
        return partial(type(self), found=self.found, do=self.do), (self.asked,)


def check_known(name: str, known: Iterable[str], *, asked: str) -> None:
    """A name out of a list of them.

    Raises:
        NNGraphsError: it is another; with what was `asked`, the nearest name and all there are.
    """
    names = tuple(known)
    if name not in names:
        near = get_close_matches(str(name), names, n=1)
        found = f"there is no {name!r}" + (f", but {near[0]!r}." if near else ".")
        raise NNGraphsError(asked, found=found, do=f"Choose one of {', '.join(names)}.")
