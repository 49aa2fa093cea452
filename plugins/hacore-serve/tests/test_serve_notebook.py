"""The page inside a notebook."""

import http.server
import re
import threading

import hacore_serve
import pytest

from hacore.errors import HacoreError

httpx = pytest.importorskip("httpx", reason="needs httpx, of the extra 'test'")


@pytest.fixture
def show(runs):
    """show("han", ...): as a notebook calls it; what still runs in the end is stopped."""
    pages = []

    def run(*names, **options):
        pages.append(hacore_serve.show([runs[name] for name in names], device="cpu", **options))
        return pages[-1]

    yield run
    for page in pages:
        page.stop()


def test_a_cell_shows_the_page_in_a_frame(show, runs):
    page = show("han", "adahan", height=500, examples=1)
    source, height = re.fullmatch(
        r'<iframe src="(\S+)" .*height="(\d+)".*</iframe>', page._repr_html_()
    ).groups()
    assert (source, height) == (page.address, "500")
    info = httpx.get(f"{source}/api/info", timeout=30).json()
    assert [run["name"] for run in info["runs"]] == ["han", "adahan"]
    assert len(info["examples"]) == 1
    question = info["examples"][0]["questions"][0]["question"]
    reply = httpx.post(f"{source}/api/ask", json={"question": question, "example": 0}, timeout=30).json()
    assert len(reply["kept"]) == 7


def test_only_notebooks_of_this_machine_may_frame_it(show):
    headers = httpx.get(show("han", examples=0).address, timeout=30).headers
    (allowed,) = re.findall(r"frame-ancestors (.*)", headers["content-security-policy"])
    assert "http://localhost:*" in allowed.split()
    assert not {"*", "http:", "https:", "http://*", "https://*"} & {*allowed.split()}
    assert "x-frame-options" not in headers


def test_the_same_runs_have_one_server_until_it_is_stopped(show):
    page = show("han", examples=0)
    assert show("han", examples=0) is page
    address = page.address
    page.stop()
    assert not page.running
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)
    again = show("han", examples=0)
    assert again is not page
    assert again.running


def test_one_run_is_enough(runs):
    page = hacore_serve.show(str(runs["han"]), device="cpu", examples=0)
    assert len(httpx.get(f"{page.address}/api/info", timeout=30).json()["runs"]) == 1
    page.stop()


def test_a_folder_without_a_run(tmp_path, names):
    with pytest.raises(HacoreError) as caught:
        hacore_serve.show(tmp_path / "none")
    names(str(caught.value), f"{tmp_path / 'none'}:", "no such run folder")


def test_a_browser_shows_the_frame(show, browser, tmp_path):
    page = show("han", examples=1)
    (tmp_path / "notebook.html").write_text(f"<!doctype html>{page._repr_html_()}")

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as notebook:
        threading.Thread(target=notebook.serve_forever, daemon=True).start()
        tab = browser.new_page()
        tab.goto(f"http://localhost:{notebook.server_port}/notebook.html")
        answer = tab.frame_locator("iframe").locator(".kept")
        answer.wait_for(timeout=20_000)
        assert "7 of 25 cells kept" in answer.inner_text()
        tab.close()
        notebook.shutdown()
