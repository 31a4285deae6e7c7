"""From torch modules to templates, through the ATen operations of an exported program.

Where things are:

- `from_module`: `trace` itself, and the table of all rules.
- `exported_program`: what torch.export makes of a module; norms and activations that are spelt out
  by hand get their names; what its inputs are.
- `tracer` goes through the program, one rule per operation, and keeps what is known of each value:
  a number in the list of operations (`written_operations`), a constant, data, or an arrangement of
  channels over several axes (`arrangement`).
- The rules: `layer_rules` (what has parameters), `activation_rules`, `arithmetic_rules` (sums and
  products), `pooling_rules` (on places), `moving_rules` (of channels and places),
  `attention_rules`, `recurrent_rules`.
"""

from nn_graphs.graphs.tracing.from_module import Unknown, trace, traceable_operations

__all__ = ["Unknown", "trace", "traceable_operations"]
