"""What there is to download: task data, published zoos, results of relational graphs.

Links were taken from the publishers' own pages; where those name only a folder that a browser can
open, the entry has no url. The terms of the zoos' *code* are stated, those of their data are not.
"""

from collections.abc import Mapping
from pathlib import Path

from nn_graphs.download.fetching import fetch_files
from nn_graphs.download.files import Download, RemoteFile, google_drive_url
from nn_graphs.errors import check_known


def fetch(name: str, root: Path) -> Path:
    """Download `name`, one of `DOWNLOADS`, to `root/name` where it is not there yet.

    Returns:
        The folder with the files.

    Raises:
        NNGraphsError: where the name is unknown, or as `fetch_files`.
    """
    check_known(name, DOWNLOADS, asked=f"download {name!r}")
    return fetch_files(DOWNLOADS[name], root)


def _idx_files(bases: tuple[str, ...], hashes: Mapping[str, str]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(name, urls=tuple(base + name for base in bases), known_hash=known_hash)
        for name, known_hash in hashes.items()
    )


MNIST = Download(
    name="mnist",
    files=_idx_files(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        {
            "train-images-idx3-ubyte.gz": (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
            ),
            "train-labels-idx1-ubyte.gz": (
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
            ),
        },
    ),
    num_bytes=11_594_722,
    licence="CC BY-SA 3.0 (Yann LeCun, Corinna Cortes)",
    citation="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document "
    "recognition. Proceedings of the IEEE 86(11), 1998.",
)

FASHION_MNIST = Download(
    name="fashion_mnist",
    files=_idx_files(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        {
            "train-images-idx3-ubyte.gz": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
            ),
            "train-labels-idx1-ubyte.gz": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
            ),
        },
    ),
    num_bytes=30_878_645,
    licence="MIT (Zalando SE)",
    citation="Xiao, Rasul, Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking "
    "machine learning algorithms. arXiv:1708.07747, 2017.",
)

CIFAR10 = Download(
    name="cifar10",
    files=(
        RemoteFile(
            "cifar-10-binary.tar.gz",
            urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            # The publisher gives the md5 c32a1d4ab5d03f1284b67883e8d87530 of the same file.
            known_hash="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            page="https://www.cs.toronto.edu/~kriz/cifar.html",
        ),
    ),
    unpack=True,
    num_bytes=170_052_171,
    licence="none stated; to be cited where it is used (Alex Krizhevsky)",
    citation="Krizhevsky: Learning multiple layers of features from tiny images. Technical "
    "report, University of Toronto, 2009.",
)

TINY_IMAGENET = Download(
    name="tiny_imagenet",
    files=(
        RemoteFile(
            "tiny-imagenet-200.zip",
            urls=("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
            known_hash="md5:90528d7ca1a48142e341f4ef8d21d0de",  # as avalanche-lib states it
        ),
    ),
    unpack=True,
    num_bytes=248_100_043,
    licence="ImageNet's terms: research and teaching only (Fei-Fei Li et al.)",
    citation="Le, Yang: Tiny ImageNet visual recognition challenge. CS 231N, Stanford, 2015.",
)

# The second link of both is scikit-learn's copy, whose hash it states.
CALIFORNIA_HOUSING = Download(
    name="california_housing",
    files=(
        RemoteFile(
            "cal_housing.tgz",
            urls=(
                "https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.tgz",
                "https://ndownloader.figshare.com/files/5976036",
            ),
            known_hash="aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
        ),
    ),
    unpack=True,
    licence="none stated (StatLib)",
    citation="Pace, Barry: Sparse spatial autoregressions. Statistics and Probability Letters "
    "33, 1997.",
)

COVERTYPE = Download(
    name="covertype",
    files=(
        RemoteFile(
            "covtype.data.gz",
            urls=(
                "https://archive.ics.uci.edu/ml/machine-learning-databases/covtype/covtype.data.gz",
                "https://ndownloader.figshare.com/files/5976039",
            ),
            known_hash="614360d0257557dd1792834a85a1cdebfadc3c4f30b011d56afee7ffb5b15771",
        ),
    ),
    num_bytes=11_240_707,
    licence="CC BY 4.0 (Jock A. Blackard, Colorado State University)",
    citation="Blackard, Dean: Comparative accuracies of artificial neural networks and "
    "discriminant analysis in predicting forest cover types. Computers and Electronics in "
    "Agriculture 24, 1999.",
)
TABLES = (CALIFORNIA_HOUSING, COVERTYPE)


PROBEGEN = "https://raw.githubusercontent.com/jonkahana/ProbeGen/main/experiments"
"""Code of another paper, in which split files of Kofinas et al. lie at a stable address."""


def _split_file(place: str) -> RemoteFile:
    """A split file of Kofinas et al., at its place below `experiments` in their code too."""
    return RemoteFile(
        place.rpartition("/")[2],
        urls=(f"{PROBEGEN}/{place}",),
        page="https://github.com/mkofinas/neural-graphs",
    )


def _dws_zoo(
    name: str, *, archive: str, folder: str, splits: tuple[RemoteFile, ...] = ()
) -> Download:
    """A zoo of Navon et al.; `folder` is the part of its link that names the archive's folder."""
    base = "https://www.dropbox.com/sh/56pakaxe58z29mq"
    page = f"{base}/AABtWNkRYroLYe_cE3c90DXVa?dl=0&preview={archive}"
    return Download(
        name=name,
        files=(RemoteFile(archive, urls=(f"{base}/{folder}/{archive}?dl=1",), page=page), *splits),
        unpack=True,
        licence="not stated; the code beside it is MIT (Aviv Navon, Aviv Shamsian)",
        citation="Navon, Shamsian, Achituve, Fetaya, Chechik, Maron: Equivariant architectures "
        "for learning in deep weight spaces. ICML 2023.",
    )


def _nfn_zoo(name: str, *, archive: str, file_id: str | None = None) -> Download:
    """A zoo of Zhou et al.; their page links a folder, `file_id` is the file's in it if known."""
    page = "https://drive.google.com/drive/folders/15CdOTPWHqDcS4SwbIdm100rXkTYZPcC5"
    urls = () if file_id is None else (google_drive_url(file_id),)
    return Download(
        name=name,
        files=(RemoteFile(archive, urls=urls, page=page),),
        unpack=True,
        licence="not stated; the code beside it is MIT (Allan Zhou)",
        citation="Zhou, Yang, Burns, Cardace, Jiang, Sokota, Kolter, Finn: Permutation "
        "equivariant neural functionals. NeurIPS 2023.",
    )


INR_ZOOS = (
    _dws_zoo(
        "mnist_inrs",
        archive="mnist-inrs.zip",
        folder="AABrctdu2U65jGYr2WQRzmMna",
        splits=(_split_file("inr_classification/dataset/mnist_splits.json"),),
    ),
    _dws_zoo("fashion_mnist_inrs", archive="fmnist_inrs.zip", folder="AAAssoHq719OmSHSKKTiKKHGa"),
    _nfn_zoo("siren_mnist", archive="siren_mnist_wts.tar"),
    _nfn_zoo("siren_fashion_mnist", archive="siren_fashion_wts.tar"),
    _nfn_zoo(
        "siren_cifar10",
        archive="siren_cifar_wts.tar",
        file_id="14RUV3eN6-lSOr9XuwyKFQFVcqKl0L2bw",  # as linked by ScaleGMN's README
    ),
)


def _small_cnn_zoo(dataset: str, *, archive: str) -> Download:
    """Networks of Unterthiner et al. on one data set, with the split file of Zhou et al."""
    split = f"{dataset}_split.csv"
    repository = "https://raw.githubusercontent.com/AllanYangZhou/nfn"
    return Download(
        name=f"small_cnn_zoo_{dataset}",
        files=(
            RemoteFile(
                archive,
                urls=(f"https://storage.googleapis.com/gresearch/smallcnnzoo-dataset/{archive}",),
                page="https://github.com/google-research/google-research/tree/master/"
                "dnn_predict_accuracy",
            ),
            RemoteFile(
                split,
                urls=(f"{repository}/main/experiments/predict_gen_data_splits/{split}",),
                page="https://github.com/AllanYangZhou/nfn",
            ),
        ),
        unpack=True,
        licence="CC BY 4.0 (Thomas Unterthiner et al.); the split file: MIT (Allan Zhou)",
        citation="Unterthiner, Keysers, Gelly, Bousquet, Tolstikhin: Predicting neural network "
        "accuracy from weights. arXiv:2002.11448, 2020.",
    )


PARK_SPLITS = "cnn_park_splits.json"
CNN_ZOOS = (
    _small_cnn_zoo("cifar10", archive="cifar10.tar.xz"),
    _small_cnn_zoo("svhn", archive="svhn_cropped.tar.xz"),
    _small_cnn_zoo("mnist", archive="mnist.tar.xz"),
    _small_cnn_zoo("fashion_mnist", archive="fashion_mnist.tar.xz"),
    Download(
        name="cnn_wild_park",
        files=(
            RemoteFile(
                "cnn_wild_park.zip",
                urls=("https://zenodo.org/records/12797219/files/cnn_wild_park.zip?download=1",),
                page="https://zenodo.org/records/12797219",
            ),
            _split_file(f"cnn_generalization/dataset/{PARK_SPLITS}"),  # see the reader
        ),
        licence="as stated on the page of the record (zenodo.org/records/12797219)",
        citation="Kofinas, Knyazev, Zhang, Chen, Burghouts, Gavves, Snoek, Zhang: Graph neural "
        "networks for learning equivariant representations of neural networks. ICLR 2024.",
    ),
)

GRAPH2NN_COMMIT = "b6a67ccca99737d31b45aa4c938f6b7998050cb3"
GRAPH2NN = Download(
    name="graph2nn",
    files=(
        # Of a commit that GitHub packs when asked: the bytes may change, so no hash is known.
        RemoteFile(
            f"{GRAPH2NN_COMMIT}.zip",
            urls=(f"https://github.com/facebookresearch/graph2nn/archive/{GRAPH2NN_COMMIT}.zip",),
            page="https://github.com/facebookresearch/graph2nn/tree/main/analysis",
        ),
    ),
    unpack=True,
    licence="MIT (Facebook, Inc. and its affiliates)",
    citation="You, Leskovec, He, Xie: Graph structure of neural networks. ICML 2020.",
)

ALL = (MNIST, FASHION_MNIST, CIFAR10, TINY_IMAGENET, *TABLES, *INR_ZOOS, *CNN_ZOOS, GRAPH2NN)
DOWNLOADS: dict[str, Download] = {download.name: download for download in ALL}
