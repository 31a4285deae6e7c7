"""What a graph template is made of.

Groups of neurons (`node_groups`) and blocks of edges between them (`edge_blocks`); how a group puts
together what reaches it (`group_rules`), and what happens to values on their way to it (`steps`);
the kernels of convolutions, which are features of edges (`kernels`); where the graph shows each
parameter, and the way there and back (`parameter_places`); which neurons can be permuted, and which
signs, scales and phases go with that (`symmetries`).
"""
