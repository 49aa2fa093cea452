"""Downloading from a server that misbehaves, and unpacking archives that do."""

import hashlib
import io
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hacore_clevr import MD5, URL, DownloadConfig, hacore_declare
from hacore_clevr.download import download
from hacore_packing import fetch

from hacore.data_tools import Silent
from hacore.errors import DataError


class Heard(Silent):
    def __init__(self):
        super().__init__()
        self.messages, self.steps = [], []

    def message(self, text):
        self.messages.append(text)

    def progress(self, what, done, total):
        self.steps.append((what, done, total))


class Server:
    """Serves ``content`` at any address, and keeps what it was asked for.

    cuts: after how many bytes the body of each answer ends, in turn. statuses: answered instead, in turn.
    """

    def __init__(self, content):
        self.content, self.cuts, self.statuses = content, [], []
        self.ranges, self.headers, self.length = True, {"ETag": '"one"'}, True
        self.asked = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/data/CLEVR_mini.zip"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def answer(self, handler):
        asked = handler.headers.get("Range")
        self.asked.append((asked, handler.headers.get("If-Range")))
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        start, total = 0, len(self.content)
        if asked and self.ranges and handler.headers.get("If-Range") in (None, *self.headers.values()):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= total:
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{total}")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            handler.send_response(200)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        if self.length:
            handler.send_header("Content-Length", str(total - start))
        handler.end_headers()
        body = self.content[start:]
        handler.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def content(official):
    """The miniature data set as a zip archive with one folder, as the official one is."""
    return zipped(
        {path: path.read_bytes() for path in official.rglob("*") if path.is_file()}, official.parent
    )


@pytest.fixture
def server(content):
    instance = Server(content)
    yield instance
    instance.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(fetch, "PAUSES", (0.0, 0.0, 0.0))


def zipped(files, base=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(str(name.relative_to(base)) if base else name, data)
    return buffer.getvalue()


def run(server, output, tell=None, **options):
    options = {"md5": hashlib.md5(server.content).hexdigest(), **options}
    return download(DownloadConfig(output=str(output), url=server.url, **options), tell or Silent())


def same_files(one, other):
    def content(root):
        return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    return content(one) == content(other) != {}


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_whole(server, official, tmp_path):
    tell = Heard()
    outcome = run(server, tmp_path / "here", tell)
    assert outcome.problems == ()
    folder = tmp_path / "here" / "CLEVR_mini"
    assert outcome.summary["folder"] == str(folder)
    assert outcome.summary["splits"] == "train, val, test"
    assert outcome.summary["files"] == 16
    assert outcome.summary["MD5"].endswith(", as expected")
    assert same_files(folder, official)
    assert names(tmp_path / "here") == ["CLEVR_mini"]
    assert any("with what is unpacked it needs about" in text for text in tell.messages)
    assert {what for what, *_ in tell.steps} == {
        "downloading, MB",
        "comparing the MD5, MB",
        "unpacking, MB",
    }


def test_second_call_asks_for_nothing(server, tmp_path):
    run(server, tmp_path / "here")
    asked = len(server.asked)
    outcome = run(server, tmp_path / "here")
    assert outcome.summary["already there"] == str(tmp_path / "here" / "CLEVR_mini")
    assert outcome.summary["splits"] == "train, val, test"
    assert len(server.asked) == asked


def test_the_cache_is_the_default(server, tmp_path, monkeypatch):
    run(server, "")
    assert (tmp_path / "cache" / "clevr" / "CLEVR_mini" / "questions").is_dir()


def test_archive_can_be_kept(server, tmp_path):
    run(server, tmp_path / "here", keep_archive=True)
    assert names(tmp_path / "here") == ["CLEVR_mini", "CLEVR_mini.zip"]
    assert (tmp_path / "here" / "CLEVR_mini.zip").read_bytes() == server.content
    shutil.rmtree(tmp_path / "here" / "CLEVR_mini")
    run(server, tmp_path / "here")
    assert len(server.asked) == 1
    assert names(tmp_path / "here") == ["CLEVR_mini"]


@pytest.mark.parametrize(
    "headers",
    [{"ETag": '"one"'}, {"ETag": 'W/"weak"', "Last-Modified": "Tue, 24 Nov 2026 06:00:00 GMT"}, {}],
)
def test_cut_connections_are_gone_on_with(server, official, tmp_path, headers):
    server.headers = headers
    server.cuts = [1000, 500, 700]
    assert run(server, tmp_path / "here").problems == ()
    assert [asked for asked, _ in server.asked] == [None, "bytes=1000-", "bytes=1500-", "bytes=2200-"]
    validator = headers.get("Last-Modified", headers.get("ETag"))
    assert [condition for _, condition in server.asked] == [None, *[validator] * 3]
    assert same_files(tmp_path / "here" / "CLEVR_mini", official)


def test_interrupted_then_gone_on_with(server, official, tmp_path, monkeypatch):
    """Ctrl-C in the middle; the next call asks for the rest only."""
    monkeypatch.setattr(fetch, "PIECE", 400)

    class Stop(Silent):
        def message(self, text):
            assert "GB of it are here" not in text

        def progress(self, what, done, total):
            if (tmp_path / "here" / ".CLEVR_mini.zip.part").stat().st_size >= 1200:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(server, tmp_path / "here", Stop())
    assert names(tmp_path / "here") == [".CLEVR_mini.zip.part", ".CLEVR_mini.zip.part.json"]
    tell = Heard()
    run(server, tmp_path / "here", tell)
    assert server.asked == [(None, None), ("bytes=1200-", '"one"')]
    assert any("GB of it are here" in text for text in tell.messages)
    assert same_files(tmp_path / "here" / "CLEVR_mini", official)
    assert names(tmp_path / "here") == ["CLEVR_mini"]


def test_server_that_ignores_ranges(server, official, tmp_path):
    server.ranges = False
    server.cuts = [1000, 800]
    run(server, tmp_path / "here")
    assert [asked for asked, _ in server.asked] == [None, "bytes=1000-", "bytes=800-"]
    assert same_files(tmp_path / "here" / "CLEVR_mini", official)


def test_file_that_changes_meanwhile_is_not_mixed(server, official, tmp_path):
    new, server.content = server.content, b"old" * 2000
    server.cuts = [1000] + [0] * 4
    with pytest.raises(DataError, match=r"closed.*4 times.*1,000 bytes.*run"):
        run(server, tmp_path / "here")
    server.content, server.headers = new, {"ETag": '"two"'}
    assert run(server, tmp_path / "here").problems == ()
    assert same_files(tmp_path / "here" / "CLEVR_mini", official)


@pytest.mark.parametrize("length", [-200, 300])
def test_file_of_another_length_without_validator(server, official, tmp_path, length):
    """Nothing but the length tells that the server has another file now."""
    new = server.content
    server.content, server.headers = b"x" * (len(new) + length), {}
    server.cuts = [len(new) + length - 50] + [0] * 4
    with pytest.raises(DataError, match="4 times in a row"):
        run(server, tmp_path / "here")
    server.content = new
    assert run(server, tmp_path / "here").problems == ()
    assert same_files(tmp_path / "here" / "CLEVR_mini", official)


def test_server_that_does_not_say_the_length(server, official, tmp_path):
    server.length = False
    tell = Heard()
    run(server, tmp_path / "here", tell)
    assert any("does not say how large it is" in text for text in tell.messages)
    assert same_files(tmp_path / "here" / "CLEVR_mini", official)


def test_busy_server_is_asked_again(server, tmp_path):
    server.statuses = [503, 429, 500]
    assert run(server, tmp_path / "here").problems == ()
    assert len(server.asked) == 4


def test_server_that_fails_for_good(server, tmp_path):
    server.statuses = [404]
    with pytest.raises(DataError, match=r"404 Not Found.*--url"):
        run(server, tmp_path / "here")
    server.statuses = [503] * 4
    with pytest.raises(DataError, match=r"503.*4 times.*0 bytes.*run again"):
        run(server, tmp_path / "here")
    assert names(tmp_path / "here") == []


def test_no_server(server, tmp_path):
    server.close()
    with pytest.raises(DataError, match=r"Connection refused.*4 times.*0 bytes"):
        run(server, tmp_path / "here")


def test_wrong_md5(server, tmp_path):
    with pytest.raises(DataError, match=r"MD5 [0-9a-f]{32} .*0{32} .*removed"):
        run(server, tmp_path / "here", md5="0" * 32)
    assert names(tmp_path / "here") == []
    assert run(server, tmp_path / "here").problems == ()


def test_archive_put_there_is_compared_but_never_deleted(server, tmp_path):
    path = tmp_path / "here" / "CLEVR_mini.zip"
    path.parent.mkdir()
    path.write_bytes(b"something of the user's")
    with pytest.raises(DataError, match=r"MD5 .*CLEVR_mini.zip.*delete it and run again"):
        run(server, tmp_path / "here")
    assert path.read_bytes() == b"something of the user's"
    assert server.asked == []


def test_md5_can_be_skipped_and_that_is_said(server, tmp_path):
    tell = Heard()
    outcome = run(server, tmp_path / "here", tell, md5="")
    assert outcome.summary["MD5"] == "not compared, as --md5 is empty"
    assert "warning: the archive is not compared with an MD5, as --md5 is empty" in tell.messages


def test_no_room_is_said_before_anything_is_fetched(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2 * len(server.content) - 1))
    with pytest.raises(DataError, match=r"0.0 GB.*0.0 GB.*free.*make room or choose another folder"):
        run(server, tmp_path / "here")
    assert names(tmp_path / "here") == []


def limited(size):
    """Files cannot be longer than this."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_while_fetching(server, official, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "PIECE", 400)
    release = limited(1000)
    try:
        with pytest.raises(DataError, match=r"part: cannot be written.*make room and run again"):
            run(server, tmp_path / "here")
    finally:
        release()
    assert not (tmp_path / "here" / "CLEVR_mini").exists()
    run(server, tmp_path / "here")
    assert server.asked[1][0] == f"bytes={1000}-"
    assert same_files(tmp_path / "here" / "CLEVR_mini", official)


def test_interrupted_unpacking_starts_again_cleanly(server, official, tmp_path):
    class Stop(Silent):
        def progress(self, what, done, total):
            if what.startswith("unpacking"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(server, tmp_path / "here", Stop())
    assert names(tmp_path / "here") == ["CLEVR_mini.zip"]
    killed = tmp_path / "here" / ".CLEVR_mini.unpacking" / "CLEVR_mini"
    killed.mkdir(parents=True)
    (killed / "left.png").write_bytes(b"half")
    run(server, tmp_path / "here")
    assert len(server.asked) == 1
    assert same_files(tmp_path / "here" / "CLEVR_mini", official)
    assert names(tmp_path / "here") == ["CLEVR_mini"]


def test_truncated_archive(server, tmp_path):
    server.content = server.content[:-100]
    with pytest.raises(DataError, match=r"CLEVR_mini.zip: .*zip archive.*delete it and download"):
        run(server, tmp_path / "here", md5="")
    assert names(tmp_path / "here") == ["CLEVR_mini.zip"]


def test_archive_of_something_else(server, tmp_path):
    server.content = zipped({"top/readme": b"not CLEVR"})
    for _ in range(2):
        with pytest.raises(DataError, match=r"CLEVR_mini: .*not CLEVR.*delete it.*give another"):
            run(server, tmp_path / "here")


def test_options(tmp_path):
    config = DownloadConfig()
    assert (config.url, config.md5) == (URL, MD5)
    assert config.md5 == "b11922020e72d0cd9154779b2d3d07d2"
    (tool,) = [entry for entry in hacore_declare() if entry.kind == "download"]
    assert (tool.config, tool.argument) == (DownloadConfig, None)
    for url in ("file:///etc/passwd", "CLEVR.zip"):
        with pytest.raises(ValueError, match="must begin with https:// or http://"):
            DownloadConfig(url=url)
    with pytest.raises(ValueError, match=r"'abc'.*MD5.*32 digits"):
        DownloadConfig(md5="abc")
