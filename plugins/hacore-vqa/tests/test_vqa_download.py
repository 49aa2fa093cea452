"""Fetching VQA v2: archives from a server, resumed, checked, unpacked in their places."""

import hashlib
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
import pytest
from hacore_packing import fetch
from hacore_vqa import DownloadConfig, PrepareConfig, download
from hacore_vqa.prepare import prepare_v2

from hacore.data_tools import Silent
from hacore.errors import DataError


class Server:
    """Serves archives by their names; ``cuts``: after how many bytes the answers end, in turn."""

    def __init__(self, archives):
        self.archives, self.cuts, self.asked = archives, [], []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def answer(self, handler):
        folder, _, name = handler.path.strip("/").partition("/")
        start = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.asked.append((folder, name, start))
        content = self.archives.get(name)
        if content is None:
            handler.send_error(404)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("ETag", '"one"')
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        body = content[start:]
        handler.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def archives(v2):
    """The archives that the official servers have, of the miniature."""
    contents = {}
    for archive in download.ARCHIVES:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            for name in archive.holds:
                for path in sorted((v2 / name).iterdir()) if archive.image else [v2 / name]:
                    file.write(path, str(path.relative_to(v2)))
        contents[archive.name] = buffer.getvalue()
    return contents


@pytest.fixture
def server(archives):
    instance = Server(archives)
    yield instance
    instance.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(fetch, "PAUSES", (0.0, 0.0))


@pytest.fixture
def published(archives, monkeypatch):
    """As if the published MD5s were those of the miniature."""
    digests = {name: hashlib.md5(content).hexdigest() for name, content in archives.items()}
    table = tuple(
        attrs.evolve(archive, md5=archive.md5 and digests[archive.name]) for archive in download.ARCHIVES
    )
    monkeypatch.setattr(download, "ARCHIVES", table)


def run(server, output, **options):
    urls = {"url": f"{server.url}/texts/", "images_url": f"{server.url}/zips"}
    return download.download(DownloadConfig(output=str(output), **urls, **options), Silent())


def content(root):
    return {
        path.relative_to(root): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != download.MEMORY
    }


def test_everything_is_fetched_and_can_be_prepared(server, published, v2, tmp_path):
    output = tmp_path / "there"
    outcome = run(server, output)
    assert content(output) == content(v2)
    assert [folder for folder, *_ in server.asked] == ["texts"] * 5 + ["zips"] * 3
    notes = outcome.summary["archives"]
    assert notes["train2014.zip"].endswith(", as expected")
    assert notes["test2015.zip"].endswith(", now remembered")
    assert outcome.summary["next"] == f"hacore data prepare vqa-v2 {output}"
    assert not prepare_v2(PrepareConfig(root=str(output), size=(8, 12), workers=1), Silent()).problems


def test_what_is_there_is_not_fetched_again(server, published, tmp_path):
    run(server, tmp_path / "there")
    server.asked.clear()
    assert set(run(server, tmp_path / "there").summary["archives"].values()) == {"already there"}
    assert not server.asked


def test_parts(server, published, tmp_path):
    outcome = run(server, tmp_path / "there", images=False, test=False)
    assert len(outcome.summary["archives"]) == 4
    assert {path.suffix for path in content(tmp_path / "there")} == {".json"}
    assert len(run(server, tmp_path / "there", test=False).summary["archives"]) == 6
    assert (tmp_path / "there" / "val2014").is_dir()
    assert not (tmp_path / "there" / "test2015").exists()


def test_goes_on_where_it_stopped(server, published, v2, tmp_path):
    server.cuts = [10**9] * 5 + [200, 200]
    output = tmp_path / "there"
    run(server, output)
    starts = [start for _, name, start in server.asked if name == "train2014.zip"]
    assert starts == [0, 200, 400]
    assert content(output) == content(v2)


def test_another_checksum_is_refused(server, tmp_path):
    with pytest.raises(DataError, match=r"train2014.zip: MD5 .*0da8c0bd.*--images-url"):
        run(server, tmp_path / "there")
    assert not (tmp_path / "there" / "train2014").exists()
    assert not (tmp_path / "there" / "train2014.zip").exists()


def test_a_remembered_checksum_holds(server, published, tmp_path):
    output, name = tmp_path / "there", "v2_Questions_Val_mscoco.zip"
    run(server, output, images=False)
    (output / "v2_OpenEnded_mscoco_val2014_questions.json").unlink()
    assert run(server, output, images=False).summary["archives"][name].endswith(", as expected")
    (output / "v2_OpenEnded_mscoco_val2014_questions.json").unlink()
    server.archives[name] = server.archives["v2_Questions_Train_mscoco.zip"]
    with pytest.raises(DataError, match=rf"{name}: MD5 .*--url"):
        run(server, output, images=False)


def test_archives_can_be_kept(server, published, tmp_path):
    run(server, tmp_path / "there", images=False, keep_archives=True)
    kept = {path.name for path in (tmp_path / "there").glob("*.zip")}
    assert kept == {archive.name for archive in download.ARCHIVES if not archive.image}


def test_what_the_server_does_not_have(server, published, tmp_path):
    del server.archives["val2014.zip"]
    with pytest.raises(DataError, match=r"val2014.zip: .*404 .*--images-url"):
        run(server, tmp_path / "there")
    assert (tmp_path / "there" / "train2014").is_dir()


def test_an_archive_of_something_else(server, published, tmp_path):
    name = "v2_Questions_Val_mscoco.zip"
    server.archives[name] = server.archives["v2_Questions_Train_mscoco.zip"]
    with pytest.raises(DataError, match=rf"{name}: .*no v2_OpenEnded_.*_questions.json.*delete it"):
        run(server, tmp_path / "there")


def test_memory_is_readable(server, published, tmp_path):
    run(server, tmp_path / "there", images=False)
    memory = json.loads((tmp_path / "there" / download.MEMORY).read_text())
    assert (
        memory[f"{server.url}/texts/v2_Questions_Test_mscoco.zip"]
        == hashlib.md5(server.archives["v2_Questions_Test_mscoco.zip"]).hexdigest()
    )


def test_addresses_are_the_official_ones():
    config = DownloadConfig()
    assert config.url == "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa"
    assert config.images_url == "http://images.cocodataset.org/zips"
    with pytest.raises(ValueError, match="must begin with https:// or http://"):
        DownloadConfig(url="ftp://somewhere")
