"""Zoos, tasks and encoders by the names that the command line knows, and scores of any predictions.

What the stub beside this file names is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
