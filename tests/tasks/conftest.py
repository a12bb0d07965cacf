import os
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from snnrobust.tasks import sources


@pytest.fixture
def needs_data() -> Callable[[str], Path]:
    """Path of a source's file, or a skip that says what is missing."""

    def path_of(name: str) -> Path:
        source = sources.get(name)
        path = Path(os.environ.get(sources.ENVIRONMENT, "")) / source.path
        if not (os.environ.get(sources.ENVIRONMENT) and path.is_file()):
            pytest.skip(f"{sources.ENVIRONMENT} has no {source.path}")
        return path

    return path_of


@pytest.fixture
def nowhere(monkeypatch, tmp_path) -> Path:
    """An empty data folder as SNNROBUST_DATA, and an empty cache."""
    monkeypatch.setenv(sources.ENVIRONMENT, str(tmp_path / "environment"))
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "environment").mkdir()
    return tmp_path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path) -> Iterator[tuple[str, Path]]:
    """A publisher on loopback: its address and the folder it serves."""
    folder = tmp_path / "published"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}", folder
        http.shutdown()
        thread.join()
