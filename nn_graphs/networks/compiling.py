"""Steps that are compiled where there is a compiler, and say so while it works."""

import logging
from collections.abc import Callable

import torch

from nn_graphs.progress import Progress

logger = logging.getLogger(__name__)


class CompiledIfPossible:
    """A function compiled for fixed shapes; eager, with one warning, where there is no compiler.

    Args:
        function: what is compiled, when it is first called.
        progress: shows "compiling" until the first call is done; without it nothing would move for
            as long as the compiler works.
        in_threads: several threads call it on the CPU. Python is then called once, not for each
            kernel, so that threads do not wait for each other; the compiler takes longer.
    """

    def __init__(
        self, function: Callable, progress: Progress | None = None, *, in_threads: bool = False
    ):
        self._eager, self._progress = function, progress
        options = {"cpp_wrapper": True} if in_threads else {}
        self._function = torch.compile(function, fullgraph=True, dynamic=False, options=options)
        self.is_ready = False  # once it was called, and compiled

    def __call__(self, *args):
        if self._progress is None:
            return self._run(*args)
        progress, self._progress = self._progress, None  # told of the first call alone
        progress.advance(0, {"step": "compiling"})
        result = self._run(*args)
        progress.advance(0, {})
        return result

    def _run(self, *args):
        try:
            result = self._function(*args)
            self.is_ready = True
            return result
        except Exception as error:
            if self._function is self._eager or not _is_compiler_failure(error):
                raise
            cause = " ".join(str(error).split("\n\n")[0].split())[:200]  # the first paragraph
            logger.warning("Cannot compile (%s); going on without.", cause)
            self._function = self._eager
            return self._eager(*args)


def _is_compiler_failure(error: Exception) -> bool:
    is_switched_off = "no compiled frames" in str(error)  # TORCH_COMPILE_DISABLE=1
    return is_switched_off or type(error).__module__.startswith(
        ("torch._inductor", "torch._dynamo")
    )
