"""What can be downloaded, as data: files, where they are offered, what they must hash to."""

from dataclasses import dataclass

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


@dataclass(frozen=True)
class RemoteFile:
    """A file that is offered somewhere.

    Attributes:
        name: its name on disk.
        urls: where the same bytes are offered, tried in this order. None: the publisher offers the
            file to browsers alone, and it must be fetched by hand.
        known_hash: sha256, or `md5:` and an md5; None where nobody published one.
        page: where a browser finds the file; must be given where there are no urls.
    """

    name: str
    urls: tuple[str, ...] = ()
    known_hash: str | None = None
    page: str | None = None

    @property
    def is_by_hand(self) -> bool:
        """Whether the file must be fetched by hand."""
        return not self.urls

    @property
    def is_archive(self) -> bool:
        return self.name.endswith(ARCHIVES)


@dataclass(frozen=True)
class Download:
    """Files that belong together.

    Attributes:
        name: as in `fetch(name, root)`; also the folder under the root.
        files: what to download.
        licence: on what terms the publisher offers the files.
        citation: what to cite where they are used.
        unpack: whether those of the files that are archives (zip, tar) are to be unpacked, each
            beside itself into a folder that has its name without the endings.
        num_bytes: of all files together; None where it is not known.
    """

    name: str
    files: tuple[RemoteFile, ...]
    licence: str
    citation: str
    unpack: bool = False
    num_bytes: int | None = None

    @property
    def is_by_hand(self) -> bool:
        """Whether a file of it must be fetched by hand."""
        return any(file.is_by_hand for file in self.files)


def google_drive_url(file_id: str) -> str:
    """Where Google Drive offers a public file, of whatever size.

    For a large file Drive first shows a page that asks whether to go on without a virus scan;
    `confirm` is the answer.
    """
    base = "https://drive.usercontent.google.com/download"
    return f"{base}?id={file_id}&export=download&confirm=t"
