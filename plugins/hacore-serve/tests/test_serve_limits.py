"""Who is let in: names of the host, rates, sizes, and how many at once."""

import asyncio
import json
import socket
import threading
import time
from contextlib import suppress

import pytest
from hacore_serve import served
from hacore_serve.limits import Hosts, Limits, Rates, Refused, Turns, client_name
from hypothesis import given
from hypothesis import strategies as st

httpx = pytest.importorskip("httpx", reason="needs httpx: pip install -e 'plugins/hacore-serve[test]'")

ASKED = {"question": "is the red object on the left?", "example": 0}


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        *(
            (name, True)
            for name in ("localhost", "localhost:7860", "LOCALHOST.:1", "127.0.0.1:7860", "[::1]:7860")
        ),
        *((name, True) for name in ("192.168.0.7:80", "[fe80::1]", "lab.example.org", "lab.example.org:443")),
        *(
            (name, False)
            for name in ("evil.example", "evil.example:7860", "localhost.evil.example", "", None)
        ),
        *(
            (name, False)
            for name in ("127.0.0.1.evil.example", "lab.example.org.evil", "127.0.0.1:80:80", "[::1")
        ),
    ],
)
def test_names_by_which_a_server_may_be_called(host, allowed):
    hosts = Hosts(["lab.example.org"])
    if allowed or host == "[::1":
        hosts.check(host)  # an address without its end is an address nevertheless
        return
    with pytest.raises(Refused) as caught:
        hosts.check(host)
    assert (caught.value.status, caught.value.text) == (
        400,
        "this server is not called by that name; start it with --allow-host NAME",
    )


def test_another_host_name_gets_nothing(client):
    for path in ("/", "/api/info", "/page.js"):
        response = client.get(path, headers={"host": "evil.example"})
        assert response.status_code == 400
        assert list(response.json()) == ["error"]
    assert client.post("/api/ask", json=ASKED, headers={"host": "evil.example"}).status_code == 400


def test_a_page_elsewhere_cannot_ask(client):
    """Forms and simple requests are no JSON, and the question before a JSON request is answered with no."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        response = client.post("/api/ask", content=json.dumps(ASKED), headers={"content-type": kind})
        assert response.status_code == 415
    asked = client.options(
        "/api/ask",
        headers={
            "origin": "http://evil.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        },
    )
    assert asked.is_client_error
    assert not [name for name in asked.headers if name.startswith("access-control")]


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.2, 20), st.integers(1, 8))
def test_a_client_never_gets_more_than_its_rate(pauses, rate, burst):
    now, granted = 0.0, []
    rates = Rates(rate, burst, clock=lambda: now)
    for pause in pauses:
        now += pause
        with suppress(Refused):
            rates.take("somebody")
            granted.append(now)
    for first, start in enumerate(granted):
        for count, end in enumerate(granted[first:], 1):
            assert count <= burst + rate * (end - start) + 1e-6


def test_clients_are_counted_apart():
    now = 0.0
    rates = Rates(1, 1, clock=lambda: now)
    rates.take("a")
    rates.take("b")
    with pytest.raises(Refused, match=r"too many requests; ask again in 1 second$"):
        rates.take("a")
    now = 1.5
    rates.take("a")
    assert client_name("10.0.0.1") != client_name("10.0.0.2")
    assert client_name("2001:db8::1") == client_name("2001:db8::ffff")
    assert client_name("2001:db8:0:1::1") != client_name("2001:db8::1")
    for number in range(20_000):
        rates.take(str(number))
    assert len(rates._clients) == 10_000


def test_too_many_requests_of_one_client(serving):
    with serving(Limits(rate=0.5, burst=3), names=["han"]) as address:
        answers = [httpx.post(f"{address}/api/ask", json=ASKED) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[3].json()["error"].startswith("too many requests; ask again in ")
        assert 1 <= int(answers[3].headers["retry-after"]) <= 2
        assert httpx.get(f"{address}/api/info").status_code == 200  # the page itself is not counted
        # Another address in a header changes nothing.
        claimed = {"x-forwarded-for": "8.8.8.8", "forwarded": "for=8.8.8.8"}
        assert httpx.post(f"{address}/api/ask", json=ASKED, headers=claimed).status_code == 429


def test_a_full_house_says_so_and_works_again_after(serving, monkeypatch):
    entered, leave = threading.Semaphore(0), threading.Event()
    ask = served.ask

    def slow(*arguments, **options):
        entered.release()
        assert leave.wait(20)
        return ask(*arguments, **options)

    limits = Limits(rate=0, at_once=1, queue=1, wait=0.4)
    with serving(limits, names=["han"]) as address:
        monkeypatch.setattr(served, "ask", slow)
        answers = {}

        def person(name):
            answers[name] = httpx.post(f"{address}/api/ask", json=ASKED, timeout=30)

        first, second = (threading.Thread(target=person, args=(name,)) for name in ("first", "second"))
        first.start()
        assert entered.acquire(timeout=10)
        second.start()
        second.join()  # it waits for 0.4 seconds
        assert answers["second"].status_code == 503
        assert answers["second"].headers["retry-after"] == "1"
        assert answers["second"].json()["error"].startswith("the models are busy")
        assert httpx.get(f"{address}/").status_code == 200
        leave.set()
        first.join()
        assert answers["first"].status_code == 200
        assert httpx.post(f"{address}/api/ask", json=ASKED).status_code == 200


def test_no_more_than_the_queue_are_let_in():
    async def run():
        turns = Turns(Limits(at_once=1, queue=2, wait=0.05))
        async with turns.place(), turns.place(), turns.place():
            with pytest.raises(Refused) as caught:
                async with turns.place():
                    raise AssertionError
            assert caught.value.status == 503
            async with turns.turn():
                with pytest.raises(Refused):
                    async with turns.turn():
                        raise AssertionError
            async with turns.turn():
                pass
        async with turns.place():
            pass

    asyncio.run(run())


def raw(address, text):
    """What the server sends back to bytes, and how long that took."""
    host, _, port = address.removeprefix("http://").partition(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(text.replace("HOST", f"{host}:{port}").encode())
        return connection.recv(10_000).decode(), time.monotonic() - began


def test_sizes_are_looked_at_before_the_body_and_while_it_comes(serving):
    head = "POST /api/ask HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
    with serving(Limits(rate=0, upload=1000, wait=0.5), names=["han"]) as address:
        response, _ = raw(address, f"{head}Content-Length: 99999999999\r\n\r\n")
        assert response.startswith("HTTP/1.1 413 ")
        chunks = f"{1000:x}\r\n{'x' * 1000}\r\n" * 20
        response, _ = raw(address, f"{head}Transfer-Encoding: chunked\r\n\r\n{chunks}")
        assert response.startswith("HTTP/1.1 413 ")
        response, seconds = raw(address, f"{head}Content-Length: 100\r\n\r\n{{")
        assert response.startswith("HTTP/1.1 408 ")
        assert seconds < 5
