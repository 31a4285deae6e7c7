"""Zoos of trained networks: their files, batches of graphs from them, making and reading them.

What the stub beside this file names is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
