"""Neural graphs: made of networks, run, moved by symmetries, batched, changed back into parameters.

What the stub beside this file names is imported when it is first asked for.

Where things are, from the bottom up: `parts/` (what a template is made of), `graph_structure`,
`topology/` (message passing), `neural_graph`, `graph_template`, `symmetry/`, `builder/` (from
operations to a template), `tracing/` (from modules to operations); on top of them `execution`,
`geometric_batch`, `mixed_templates`, `canonical_forms`, `augmentations` and `positional`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
