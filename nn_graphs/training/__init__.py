"""Training of a model on a task with Lightning: the best epoch on val is scored on test, once.

A run lives in a folder: checkpoints, logs, and at the end `outcome.json`. Started again on the same
folder, an interrupted run goes on behind its last epoch and ends with the result that it would have
had; a finished one returns its outcome.

What the stub beside this file names is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
