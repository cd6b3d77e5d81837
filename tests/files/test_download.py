"""Downloads go on where they stopped, are checked by size and leave nothing half done."""

import fcntl
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.files import download
from bench.files.d4rl import folder
from bench.files.download import DownloadError, fetch
from bench.files.flat import UnusableFile
from tests.support import files

CONTENT = bytes(range(256)) * 5000


class Handler(BaseHTTPRequestHandler):
    """Serves ``CONTENT``; the server's attributes say how well."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer, whole or in part."""
        server = self.server
        given = self.headers.get("Range")
        server.asked.append(given)
        if server.status:
            return self.answer(server.status, b"", {})
        content = server.content
        start = int(re.match(r"bytes=(\d+)-", given)[1]) if given and server.ranges else 0
        if start and start >= len(content):
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        headers = {}
        if start:
            first = start + server.shift
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        return self.answer(206 if start else 200, content[start:], headers)

    def answer(self, status, body, headers):
        """Send it; a server that breaks off sends `broken` bytes only."""
        server = self.server
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if server.says_length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body if server.broken is None else body[: server.broken])
        self.close_connection = server.broken is not None or not server.says_length

    def log_message(self, *_):
        """Be quiet."""


@pytest.fixture
def server():
    """Serve on a free port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.asked, server.status = CONTENT, [], None
        server.ranges, server.says_length, server.broken, server.shift = True, True, None, 0
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.url = f"http://127.0.0.1:{server.server_port}/data.hdf5"
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path):
    """Return where the file should go, in a folder that does not exist."""
    return tmp_path / "folder" / "data.hdf5"


def partial(path):
    return path.with_name("data.hdf5.part")


def arrived(path):
    """Return whether the whole file is there, and nothing else."""
    return path.read_bytes() == CONTENT and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_arrives(server, path, ranges, says_length):
    server.ranges, server.says_length = ranges, says_length
    fetch(server.url, path)
    assert arrived(path)
    assert server.asked == [None]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(server, path, ranges):
    server.ranges, server.broken = ranges, 400_000
    with pytest.raises(DownloadError, match="broke off; the same command goes on"):
        fetch(server.url, path)
    assert not path.exists()
    have = partial(path).stat().st_size
    assert 0 < have <= 400_000
    server.broken = None
    fetch(server.url, path)
    assert arrived(path)
    assert server.asked == [None, f"bytes={have}-"]


def test_a_part_that_is_complete_already_is_taken(server, path):
    path.parent.mkdir()
    partial(path).write_bytes(CONTENT)
    fetch(server.url, path)
    assert arrived(path)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_of_something_longer_is_thrown_away(server, path, ranges):
    server.ranges = ranges
    path.parent.mkdir()
    partial(path).write_bytes(CONTENT + b"more")
    fetch(server.url, path)
    assert arrived(path)


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_server_that_refuses_is_quoted_and_takes_no_part_away(server, path, status):
    server.status = status
    with pytest.raises(DownloadError, match=f"the server answers {status} "):
        fetch(server.url, path)
    assert not path.parent.exists()
    path.parent.mkdir()
    partial(path).write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match=f"the server answers {status} "):
        fetch(server.url, path)
    assert partial(path).read_bytes() == CONTENT[:1000]
    server.status = None
    fetch(server.url, path)
    assert arrived(path)


def test_another_part_than_was_asked_for_is_refused(server, path):
    server.shift = 7
    path.parent.mkdir()
    partial(path).write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match="another part"):
        fetch(server.url, path)
    assert partial(path).read_bytes() == CONTENT[:1000]


def test_a_wrong_size_is_no_file(server, path, monkeypatch):
    monkeypatch.setattr(download, "_total", lambda answer, start: len(CONTENT) + 1)
    with pytest.raises(DownloadError, match="bytes came of"):
        fetch(server.url, path)
    assert not path.exists()


def test_no_server_is_no_connection(server, path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="there is no connection to the server"):
        fetch(server.url, path)
    assert not path.parent.exists()


def test_a_server_that_falls_silent_is_given_up(server, path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    silent = threading.Event()
    monkeypatch.setattr(Handler, "do_GET", lambda self: silent.wait(5) and None)
    try:
        with pytest.raises(DownloadError, match=r"broke off|no answer"):
            fetch(server.url, path)
    finally:
        silent.set()


def test_of_two_processes_one_fetches(server, path):
    path.parent.mkdir()
    with partial(path).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process is fetching it"):
            fetch(server.url, path)
        # The other one's part is not taken away, though nothing has come yet.
        assert partial(path).exists()
    fetch(server.url, path)
    assert arrived(path)


def test_a_file_that_another_process_has_completed_meanwhile_is_kept(server, path, monkeypatch):
    asked = download._asked

    def slow(url, start):
        path.parent.mkdir()
        path.write_bytes(b"from the other one")
        return asked(url, start)

    monkeypatch.setattr(download, "_asked", slow)
    fetch(server.url, path)
    assert path.read_bytes() == b"from the other one"
    assert list(path.parent.iterdir()) == [path]


def test_a_d4rl_dataset_is_fetched_once_and_used(server, monkeypatch, tmp_path):
    made = files.write_d4rl(files.d4rl_columns())
    server.content = made.read_bytes()
    made.unlink()
    entry = files.d4rl_source().entry._replace(url=server.url)
    monkeypatch.setattr("bench.files.d4rl.d4rl_table", lambda: {files.HOPPER: entry})
    assert files.d4rl_source().facts().num_transitions == 12
    assert files.d4rl_source().facts().num_transitions == 12
    assert len(server.asked) == 1
    assert (folder() / "data.hdf5").read_bytes() == server.content


def test_a_d4rl_dataset_that_cannot_be_fetched_says_what_to_put_where(monkeypatch):
    entry = files.d4rl_source().entry._replace(url="http://127.0.0.1:9/x/hopper.hdf5")
    monkeypatch.setattr("bench.files.d4rl.d4rl_table", lambda: {files.HOPPER: entry})
    with pytest.raises(UnusableFile) as refused:
        files.d4rl_source().facts()
    for part in (str(folder() / "hopper.hdf5"), entry.url, "no connection", "D4RL_DATASET_DIR"):
        assert part in str(refused.value)
    assert not folder().exists()
