"""From the ATen operations of an exported program to those of the builder.

Where things are:

- `tracer` goes through the program, one rule per operation, and keeps what is known of each value:
  a number in the list of operations (`written`), a constant, data, or an arrangement of channels
  over several axes (`arrangement`). `inputs` finds out what inputs are, `tables` writes parameters
  that are values.
- `rules` collects the rules: `layers`, `pointwise`, `elementwise`, `products`, `embeddings`,
  `recurrent`; `places` and `moving` move places and channels.
- `patterns` gives operations that are spelt out by hand their names, before anything else.
"""
