"""The layouts of files that can be read, by name."""

from nn_graphs.zoos.readers.dws import DWSFashionMnist, DWSMnist
from nn_graphs.zoos.readers.folder import Folder
from nn_graphs.zoos.readers.nfn import NFNSirens
from nn_graphs.zoos.readers.small_cnn_zoo import SmallCNNZoo
from nn_graphs.zoos.readers.wild_park import WildPark

SOURCES = (DWSMnist, DWSFashionMnist, NFNSirens, SmallCNNZoo, WildPark, Folder)
FORMATS = {source.format: source for source in SOURCES}
