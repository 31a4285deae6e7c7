"""Downloads by name: where files come from, what they must hash to, whom to cite."""

from nn_graphs.download.download_registry import DOWNLOADS, fetch
from nn_graphs.download.fetching import fetch_files
from nn_graphs.download.files import Download, RemoteFile

__all__ = ["DOWNLOADS", "Download", "RemoteFile", "fetch", "fetch_files"]
