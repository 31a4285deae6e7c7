"""Archives: unpacked whole, or not at all."""

import gzip
import re
import tarfile
import tracemalloc
import zipfile

import pytest

from nn_graphs.download.unpacking import unpack
from nn_graphs.errors import NNGraphsError
from tests.download.server import file_names, make_archive

NAMES = ["zoo.zip", "zoo.tar", "zoo.tar.gz"]
NETS = {f"nets/{digit}s/net{number}.pth": b"%d" % number for digit in "01" for number in range(3)}


@pytest.fixture
def write(tmp_path):
    """`write(name, members)` puts an archive into a folder; returns its path."""

    def write(name: str, members: dict[str, bytes]):
        path = tmp_path / name
        path.write_bytes(make_archive(name, members))
        return path

    return write


@pytest.mark.parametrize("name", NAMES)
def test_a_single_folder_takes_the_name_of_the_archive(write, name):
    archive = write(name, NETS)
    folder = unpack(archive)
    assert folder == archive.parent / "zoo"
    assert file_names(archive.parent) == sorted(["zoo", name])
    for member, content in NETS.items():
        assert (folder / member.removeprefix("nets/")).read_bytes() == content


@pytest.mark.parametrize("name", NAMES)
def test_several_members_are_put_into_one_folder(write, name):
    folder = unpack(write(name, {**NETS, "splits.json": b"{}"}))
    assert file_names(folder) == ["nets", "splits.json"]
    assert file_names(folder / "nets/0s") == ["net0.pth", "net1.pth", "net2.pth"]


@pytest.mark.parametrize("name", NAMES)
def test_a_single_file_stays_in_its_folder(write, name):
    assert file_names(unpack(write(name, {"weights.npy": b"1"}))) == ["weights.npy"]


def test_what_macos_adds_to_a_zip_file_is_left_out(write):
    folder = unpack(write("zoo.zip", {**NETS, "__MACOSX/nets/0s/._net0.pth": b"fork"}))
    assert file_names(folder) == ["0s", "1s"]


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_are_zip_files_themselves(write, name):
    """torch.save writes zip files, and a tar file that ends with one looks like one."""
    checkpoint = make_archive("net.zip", {"data.pkl": b"weights"})
    folder = unpack(write(name, {"nets/net0.pth": checkpoint, "nets/net1.pth": checkpoint}))
    assert (folder / "net1.pth").read_bytes() == checkpoint


@pytest.mark.parametrize("name", NAMES)
def test_what_is_unpacked_is_left_alone(write, name):
    archive = write(name, NETS)
    (unpack(archive) / "0s/net0.pth").write_bytes(b"kept")
    assert (unpack(archive) / "0s/net0.pth").read_bytes() == b"kept"


@pytest.mark.parametrize("name", NAMES)
def test_an_interruption_leaves_nothing_under_the_final_name(write, monkeypatch, name):
    archive, seen = write(name, NETS), []
    kind = zipfile.ZipFile if name.endswith(".zip") else tarfile.TarFile
    extract = kind.extract

    def extract_some(self, member, *args, **options):
        seen.append(member)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return extract(self, member, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "extract", extract_some)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive)
    assert file_names(archive.parent) == sorted([name, "zoo.part"])
    (archive.parent / "zoo.part/stale").write_bytes(b"")
    assert file_names(unpack(archive)) == ["0s", "1s"]
    assert file_names(archive.parent) == sorted(["zoo", name])


@pytest.mark.parametrize(
    ("name", "kept", "message"),
    [
        ("zoo.zip", 0.9, "neither a zip nor a tar file"),
        ("zoo.tar", 512 * 4, "it breaks off"),  # two of six members, whole
        ("zoo.tar", 512 * 4 + 100, "truncated header|breaks off"),
        ("zoo.tar.gz", 0.5, "ended before the end-of-stream"),
        ("zoo.tar.gz", 15, "ended before the end-of-stream|neither"),
    ],
)
def test_a_cut_archive_is_not_unpacked(write, name, kept, message):
    archive = write(name, NETS)
    content = archive.read_bytes()
    archive.write_bytes(content[: kept if kept > 1 else int(kept * len(content))])
    with pytest.raises(NNGraphsError, match=f"unpack {re.escape(str(archive))}.*({message})"):
        unpack(archive)
    assert not (archive.parent / "zoo").exists()


def test_a_member_that_does_not_match_its_checksum(write):
    archive = write("zoo.zip", {"nets/net.pth": b"weights" * 100})
    content = bytearray(archive.read_bytes())
    content[45] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(NNGraphsError, match="Delete it and download it again"):
        unpack(archive)


@pytest.fixture
def escaping(tmp_path):
    """`escaping(name)` puts an archive with a member `../../escaped` two folders down."""

    def write(name: str):
        archive = tmp_path / "a/b" / name
        archive.parent.mkdir(parents=True)
        archive.write_bytes(make_archive(name, {"file": b"1", "../../escaped": b"2"}))
        return archive

    return write


@pytest.mark.parametrize("name", ["zoo.tar", "zoo.tar.gz"])
def test_a_tar_file_that_would_write_elsewhere_is_refused(tmp_path, escaping, name):
    with pytest.raises(NNGraphsError, match="outside the destination"):
        unpack(escaping(name))
    assert file_names(tmp_path) == ["a"]
    assert file_names(tmp_path / "a") == ["b"]


def test_a_zip_file_that_would_write_elsewhere_stays_inside(tmp_path, escaping):
    assert file_names(unpack(escaping("zoo.zip"))) == ["escaped", "file"]  # as zipfile does it
    assert file_names(tmp_path) == ["a"]


def test_a_hard_link_finds_what_it_links_to(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"weights")
    (tmp_path / "same.pth").hardlink_to(tmp_path / "net.pth")
    with tarfile.open(tmp_path / "zoo.tar", "w") as archive:
        for name in ("net.pth", "same.pth"):
            archive.add(tmp_path / name, name)
    assert (unpack(tmp_path / "zoo.tar") / "same.pth").read_bytes() == b"weights"


def tar_file(path, *members: tarfile.TarInfo, mode="w:gz"):
    with tarfile.open(path, mode) as packed:
        for member in members:
            packed.addfile(member)
    return path


@pytest.mark.parametrize("place", [-1, -5])
@pytest.mark.parametrize("ending", ["tar.gz", "tar.bz2", "tar.xz"])
def test_a_wrong_checksum_is_noticed(tmp_path, ending, place):
    path = tmp_path / f"zoo.{ending}"
    with tarfile.open(path, f"w:{ending[4:]}") as packed:
        packed.addfile(tarfile.TarInfo("a.pth"))
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(NNGraphsError, match="unpack"):
        unpack(path)
    assert not (tmp_path / "zoo").exists()


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def test_a_link_out_of_the_single_folder_is_refused(tmp_path):
    """Inside of the archive it leads nowhere else; once the folder has moved up, it would."""
    inside = tarfile.TarInfo("nets/a.pth")
    path = tar_file(tmp_path / "zoo.tar.gz", inside, link("nets/b.pth", "../secret"))
    with pytest.raises(NNGraphsError, match=r"link b\.pth leads outside, to \.\./secret"):
        unpack(path)
    assert not (tmp_path / "zoo").exists()
    links = link("nets/b.pth", "a.pth"), link("nets/c/d.pth", "../a.pth")
    folder = unpack(tar_file(tmp_path / "good.tar.gz", inside, *links))
    assert (folder / "c/d.pth").resolve() == (folder / "a.pth").resolve()


def test_an_archive_grows_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr("nn_graphs.download.bounded_stream.SMALL", 1 << 16)
    for name in ("zoo.zip", "zoo.tar.gz"):
        path = tmp_path / name
        path.write_bytes(make_archive(name, {"a.pth": bytes(1 << 25), "b.pth": b""}))
        with pytest.raises(NNGraphsError, match="unpacked, it has more than"):
            unpack(path)
        assert not (tmp_path / "zoo").exists()


def test_a_header_is_not_taken_into_memory_whatever_it_says(tmp_path):
    """A name of 100 MB, which tarfile would read whole."""
    path = tmp_path / "zoo.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        header = tarfile.TarInfo("././@LongLink")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 100 << 20
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(100):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(NNGraphsError, match="a header in it has 104,857,600 bytes"):
        unpack(path)
    assert tracemalloc.get_traced_memory()[1] < 30 << 20
    tracemalloc.stop()
