"""Networks as data, populations of them as one tensor, and the engines that train these.

What the stub beside this file names is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
