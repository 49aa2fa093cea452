"""Small trained runs, a server on a free port, and people who talk to it."""

import base64
import io
import shutil
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from PIL import Image

import hacore
from hacore.spec import load_spec

SPEC = """
name = "{name}"
data = {{ use = "sort-of-clevr", images = 40, held_out = 5, validation = 5 }}
image_encoder = {{ use = "small-cnn", channels = [4, 8], strides = [4] }}
question_encoder = {{ use = "lstm", embedding = 8, hidden = 8 }}
fuser = {{ use = "multiply", width = 8 }}
selector = {selector}
aggregator = {{ use = "sum-pool" }}
[train]
steps = 2
batch_images = 4
threads = 1
warmup_steps = 0
[eval]
baseline_steps = 0
"""
# A browser that talks to nobody but the server.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--disable-quic"),
)
SELECTORS = {
    "han": '{ use = "l2-topk", k = 7 }',
    "adahan": '{ use = "adahan" }',
    "san": '{ use = "soft-attention" }',
}


@pytest.fixture(scope="session")
def train(tmp_path_factory):
    """train(name, selector): folder of a run of a second; their data are in a cache of their own."""
    folder = tmp_path_factory.mktemp("serve")

    def run(name, selector):
        (folder / f"{name}.toml").write_text(SPEC.format(name=name, selector=selector))
        spec = load_spec(folder / f"{name}.toml")
        return hacore.run(spec, runs=folder / "runs", device="cpu", report=False)[0].path

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HACORE_CACHE", str(folder / "cache"))
        yield run


@pytest.fixture(scope="session")
def runs(train):
    """{"han", "adahan", "san": folder of a run}."""
    return {name: train(name, selector) for name, selector in SELECTORS.items()}


@pytest.fixture(scope="session")
def models(runs):
    """The trained models, by name."""
    return {name: hacore.load(path, device="cpu") for name, path in runs.items()}


@pytest.fixture(scope="session")
def serving(models):
    """with serving(limits=..., names=["han"]) as address: a server with an example or two.

    others: trained models to serve after those.
    """
    uvicorn = pytest.importorskip("uvicorn")
    from hacore_serve.app import make_app
    from hacore_serve.examples import examples_of
    from hacore_serve.limits import Limits

    examples = examples_of(models["han"], 3)

    @contextmanager
    def run(limits=None, names=("han", "adahan", "san"), hosts=(), examples=examples, others=()):
        chosen = [*(models[name] for name in names), *others]
        app = make_app(chosen, examples=examples, limits=limits or Limits(rate=0), hosts=hosts)
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", proxy_headers=False))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                while not server.started:
                    assert thread.is_alive()
                    time.sleep(0.01)
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join(20)

    return run


@pytest.fixture(scope="session")
def address(serving):
    """Of a server of all runs, without a limit on the rate."""
    with serving() as address:
        yield address


@pytest.fixture
def client(address):
    """A person who talks to it without a browser."""
    httpx = pytest.importorskip("httpx", reason="needs httpx: pip install -e 'plugins/hacore-serve[test]'")
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def as_file():
    """as_file(image, "PNG", ...): the bytes of an image file."""

    def run(image, form="PNG", **options):
        if not isinstance(image, Image.Image):
            image = Image.fromarray(image)
        file = io.BytesIO()
        image.save(file, form, **options)
        return file.getvalue()

    return run


@pytest.fixture(scope="session")
def encode():
    """encode(bytes): as a request holds a file."""
    return lambda data: base64.b64encode(data).decode()


# Of a module, as a running Playwright keeps others from running an event loop.
@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: pip install -e 'plugins/hacore-serve[test]'"
    )
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs chromium, as in 'apt install chromium'")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """visit(viewport=...): the page, ready; errors of its scripts and requests elsewhere fail the test."""
    wrong, contexts = [], []

    def run(address=address, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        context.on(
            "request", lambda request: request.url.startswith(f"{address}/") or wrong.append(request.url)
        )
        page = context.new_page()
        page.on(
            "console",
            lambda message: "Content Security Policy" in message.text and wrong.append(message.text),
        )
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        return page

    yield run
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def page(visit):
    """The page at the width of a desk."""
    return visit(viewport={"width": 1280, "height": 900})
