"""Pruning weights of any module by masks; for whole neurons see `nn_graphs.graphs.removal`.

- `pruning`: `prune` and `prune_in_rounds`, with an amount (`amounts`), a scope (`mask_choice`) and
  a saliency.
- Saliencies: `simple_saliencies` (magnitude, chance), `loss_saliencies` (SNIP, GraSP),
  `synaptic_flow`, `optimal_brain` (damage, layer-wise surgeon), or any function of yours;
  `scoring` is what they share.
- `attached_masks`: masks as parametrizations; `torch_masks`: to and from `torch.nn.utils.prune`;
  `plain_layers`: masks made permanent.
- `gradual_pruning`, `iterative_tickets`, `dynamic_sparsity`: pruning and training together;
  `density_curves` compares them.

What the stub beside this file names is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
