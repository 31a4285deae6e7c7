"""nn_graphs: learning from the weights of neural networks.

What the stub beside this file names is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
