"""The layouts of files that can be read, by name."""

from nn_graphs.zoos.readers.dws import DWSFashionMnist, DWSMnist
from nn_graphs.zoos.readers.folder import Folder
from nn_graphs.zoos.readers.nfn import NFNSirens

FORMATS = {source.format: source for source in (DWSMnist, DWSFashionMnist, NFNSirens, Folder)}
