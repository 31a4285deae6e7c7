"""What a graph template is made of.

Groups of neurons and blocks of edges between them (`groups`); how a group puts together what
reaches it (`rules`), and what happens to values on their way to it (`steps`); the kernels of
convolutions, which are features of edges (`kernels`).
"""
