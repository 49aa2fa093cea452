"""What the server answers: the models' own answers, to everybody theirs."""

import http.client
import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hacore_serve.examples import examples_of
from PIL import Image

httpx = pytest.importorskip("httpx", reason="needs httpx: pip install -e 'plugins/hacore-serve[test]'")

NAMES = ("han", "adahan", "san")
QUESTION = "is the red object on the left?"


def close(value):
    """Compares nested values; the last bits of floats do not count."""
    if isinstance(value, dict):
        return {key: close(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [close(part) for part in value]
    return pytest.approx(value, rel=1e-4, abs=1e-4) if isinstance(value, float) else value


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).integers(0, 256, (60, 90, 3)).astype(np.uint8)


def ask(client, **asked):
    response = client.post("/api/ask", json={"question": QUESTION, **asked})
    assert response.status_code == 200, response.text
    return response.json()


def test_answers_are_those_of_the_models(client, models, image, as_file, encode):
    file = encode(as_file(image))
    for run, name in enumerate(NAMES):
        reply = models[name].ask(image, QUESTION)
        answer = ask(client, image=file, run=run)
        expected = {**reply.as_dict(), "run": run, "value": None}
        expected["presence"] = reply.seen.presence.tolist()
        expected["brightness"] = reply.seen.brightness.tolist()
        assert answer == close(expected)


def test_a_slider_s_value_is_an_option_of_the_selector(client, models, image, as_file, encode):
    file = encode(as_file(image))
    for run, option, value in [(0, "k", 3), (0, "k", 25), (1, "threshold", 0.3), (1, "threshold", 20.0)]:
        reply = models[NAMES[run]].ask(image, QUESTION, selector={option: value})
        answer = ask(client, image=file, run=run, value=value)
        assert answer["kept"] == close(reply.as_dict()["kept"])
        assert answer["answers"] == close(reply.as_dict()["answers"])
        assert answer["value"] == value
    counts = [len(ask(client, image=file, value=value)["kept"]) for value in (1, 12, None)]
    assert counts == [1, 12, 7]


def test_the_page_is_told_of_runs_examples_and_limits(client, models):
    info = client.get("/api/info").json()
    assert [run["name"] for run in info["runs"]] == list(NAMES)
    for run, name in zip(info["runs"], NAMES, strict=True):
        result = models[name].folder.result()
        assert (run["accuracy"], run["split"]) == (result.accuracy, "test")
        assert run["grid"] == [5, 5]
    assert [run["selector"] for run in info["runs"]] == ["l2-topk (k = 7)", "adahan", "soft-attention"]
    k, threshold, none = (run["slider"] for run in info["runs"])
    assert k == {"option": "k", "low": 1, "high": 25, "value": 7, "whole": True}
    assert (threshold["option"], threshold["value"], threshold["whole"]) == ("threshold", 1.0, False)
    assert none is None
    assert info["limits"] == {"upload": 10_000_000, "pixels": 25_000_000, "question": 500}


def test_examples_are_the_data_s_own(client, models):
    dataset = models["han"].dataset
    asked, images = dataset.questions("val"), dataset.images("val")
    offered = client.get("/api/info").json()["examples"]
    assert len(offered) == 3
    for number, example in enumerate(examples_of(models["han"], 3)):
        response = client.get(f"/api/examples/{number}.png")
        assert response.headers["content-type"] == "image/png"
        (image,) = [row for row in range(len(images)) if np.array_equal(images[row], pixels(response))]
        assert [(entry["question"], entry["answer"]) for entry in offered[number]["questions"]] == [
            *example.questions
        ]
        for text, answer in example.questions:
            rows = [
                row
                for row in np.flatnonzero(asked.image == image)
                if asked.words[asked.offsets[row] : asked.offsets[row + 1]].tolist() == dataset.tokenize(text)
            ]
            assert dataset.answers[asked.answer[rows[0]]] == answer
        answer = ask(client, example=number)
        assert answer["answers"] == close(models["han"].ask(images[image], QUESTION).as_dict()["answers"])


def pixels(response):
    with Image.open(io.BytesIO(response.content)) as image:
        return np.asarray(image).transpose(2, 0, 1)


def test_the_page_and_its_files_load_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for path in ("/", "/page.css", "/page.js", "/panel.js", "/draw.js", "/icon.svg"):
        response = client.get(path)
        assert response.status_code == 200
        text = response.text.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        assert "http:" not in text
        assert "https:" not in text
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in response.headers


def test_what_is_wrong_with_a_request_is_one_line(client):
    for sent, status, expected in [
        ({"question": "", "example": 0}, 422, "the question is empty; ask one as in"),
        ({"question": "...", "example": 0}, 422, "the question '...' has no words"),
        ({"question": "word " * 10_000, "example": 0}, 422, "the question has 50,000 characters; at most"),
        ({"question": "x" * 501, "example": 0}, 422, "the question has 501 characters; at most 500"),
        ({"question": QUESTION}, 422, "give an image or the number of an example"),
        ({"question": QUESTION, "example": 3}, 404, "example: found 3; there are 3, counted from 0"),
        ({"question": QUESTION, "example": -1}, 404, "example: found -1"),
        ({"question": QUESTION, "example": 0, "run": 9}, 404, "run: found 9; there are 3"),
        ({"question": QUESTION, "example": "0"}, 422, "example: input should be a valid integer"),
        ({"question": 7, "example": 0}, 422, "question: input should be a valid string"),
        ({"question": QUESTION, "example": 0, "path": "/etc/passwd"}, 422, "path: extra inputs are not"),
        (
            {"question": QUESTION, "example": 0, "value": 26},
            422,
            "value: found 26; k is an integer from 1 to",
        ),
        ({"question": QUESTION, "example": 0, "value": 2.5}, 422, "value: found 2.5; k is an integer"),
        ({"question": QUESTION, "example": 0, "run": 1, "value": -1}, 422, "value: found -1; threshold is a"),
        ({"question": QUESTION, "example": 0, "run": 2, "value": 1}, 422, "value: san has no option to"),
    ]:
        response = client.post("/api/ask", json=sent)
        assert response.status_code == status, sent
        assert list(response.json()) == ["error"]
        assert response.json()["error"].startswith(expected)
        assert "\n" not in response.json()["error"]
    broken = client.post("/api/ask", content=b"{", headers={"content-type": "application/json"})
    assert (broken.status_code, broken.json()) == (422, {"error": "the request is not valid JSON"})
    nan = b'{"question": "is it red?", "example": 0, "value": NaN}'
    assert client.post("/api/ask", content=nan, headers={"content-type": "application/json"}).is_client_error


def test_no_file_of_the_machine_can_be_had(address, models):
    secret = models["han"].folder.path / "spec.toml"
    assert secret.is_file()
    paths = [
        *("/../spec.toml", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", f"/{secret}", f"//{secret}"),
        *("/api/examples/..%2F..%2Fetc%2Fpasswd.png", "/api/examples//etc/passwd.png", "/page/index.html"),
        *("/app.py", "/page.js/../../app.py", "/static/page.js", "/docs", "/openapi.json", "/.git/config"),
    ]
    host, _, port = address.removeprefix("http://").partition(":")
    for path in paths:
        # By hand, as a client library would tidy the path up.
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", f"{host}:{port}")
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        assert response.status in (404, 422), path
        assert body.startswith(b'{"error"')
        connection.close()
    for name in ("/etc/passwd", "file:///etc/passwd", str(secret)):
        with httpx.Client(base_url=address) as client:
            response = client.post("/api/ask", json={"question": QUESTION, "image": name})
            assert response.status_code in (415, 422)


def resident():
    """Megabytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_many_users_at_once_get_their_own_answers_and_memory_stays(address, models, as_file, encode):
    """200 requests of 8 clients, each with its own image, question, run and slider."""
    random = np.random.default_rng(2)
    words = ["red", "green", "blue", "orange", "gray", "yellow"]
    asked, expected = [], []
    for number in range(50):
        image = random.integers(0, 256, (random.integers(20, 300), random.integers(20, 300), 3))
        question = f"is the {words[number % 6]} object on the {('left', 'top')[number % 2]}? {number}"
        run, value = [(0, None), (0, 1 + number % 25), (1, 0.2 + number / 20), (2, None)][number % 4]
        option = None if value is None else {("k", "threshold")[run]: value}
        image = image.astype(np.uint8)
        asked.append(
            {
                "question": question,
                "run": run,
                "value": value,
                "image": encode(as_file(image, compress_level=1)),
            }
        )
        reply = models[NAMES[run]].ask(image, question, selector=option)
        expected.append({**reply.as_dict(), "run": run, "value": value})
    wrong, start = [], threading.Barrier(8)

    def person(first, rounds):
        with httpx.Client(base_url=address, timeout=60) as client:
            start.wait()
            for number in range(first, 8 * rounds, 8):
                row = number % len(asked)
                response = client.post("/api/ask", json=asked[row])
                reply = response.json()
                if response.status_code != 200 or {key: reply[key] for key in expected[row]} != close(
                    expected[row]
                ):
                    wrong.append((row, response.status_code, reply))

    def everybody(rounds):
        people = [threading.Thread(target=person, args=(first, rounds)) for first in range(8)]
        for thread in people:
            thread.start()
        for thread in people:
            thread.join()

    everybody(7)  # 56 to warm up
    before = resident()
    everybody(25)
    assert wrong == []
    assert resident() - before < 60
