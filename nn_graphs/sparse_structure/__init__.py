"""What the structure of sparse networks tells: sampled, trained, measured, pruned, searched.

What the stub beside this file names is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
