"""``hacore serve`` as a user meets it: what it says, what it refuses, how it ends."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest
from hacore_serve import command
from hacore_serve.serving import listen

from hacore.cli import main

httpx = pytest.importorskip("httpx", reason="needs httpx: pip install -e 'plugins/hacore-serve[test]'")


@pytest.fixture
def start(tmp_path):
    """start("RUN", ...): the process of a command, and what it said before it served or ended."""
    begun = []

    def run(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "hacore", "serve", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HACORE_CACHE": str(tmp_path / "none")},
        )
        begun.append(process)
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            if line.startswith("serving "):
                break
        return process, lines

    yield run
    for process in begun:
        process.kill()
        process.communicate()


def copy(run, folder):
    return shutil.copytree(run, folder / run.name)


def test_it_serves_says_where_and_ends_by_ctrl_c(start, runs, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in runs["han"].rglob("*")}
    process, lines = start(runs["han"], runs["adahan"], "--port", 0, "--device", "cpu", "--examples", 0)
    assert re.fullmatch(r"serving 2 runs at http://127\.0\.0\.1:\d+ \(Ctrl-C ends\)", lines[-1]), lines
    address = re.search(r"http://\S+", lines[-1])[0]
    with httpx.Client(base_url=address, timeout=30) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "server" not in page.headers
        info = client.get("/api/info").json()
        assert info["examples"] == []
        assert str(tmp_path) not in str(info)
        assert str(runs["han"].parent) not in str(info)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "stopped\n")
    assert {path: path.stat().st_mtime_ns for path in runs["han"].rglob("*")} == before
    assert not (tmp_path / "none").exists()  # the data were not made


def test_a_port_that_is_taken(start, runs):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process, lines = start(runs["han"], "--port", port)
        assert process.wait(20) == 1
        (line,) = lines
        assert line.startswith(f"hacore: cannot listen at 127.0.0.1, port {port}: ")
        assert line.endswith("; choose another with --port, or 0 for any free one")


def test_no_part_of_an_answer_waits_for_the_one_before():
    """Nagle's algorithm and delayed confirmations together would cost 40 ms an answer."""
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_everything_wrong_with_runs_is_said_before_anything_is_served(runs, tmp_path, capsys):
    empty = copy(runs["han"], tmp_path)
    shutil.rmtree(empty / "checkpoints")
    folders = [empty, runs["han"], tmp_path / "nothing"]
    with pytest.raises(SystemExit) as left:
        main(["serve", *map(str, folders), "--port", "0", "--device", "cpu"])
    assert left.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        f"hacore: {empty}: has no checkpoint yet; continue it with: hacore run --resume {empty}",
        f"hacore: {tmp_path / 'nothing'}: no such run folder; 'hacore run SPEC' makes one and names it",
    ]


def test_without_the_data_the_rest_works_and_others_are_warned_of(start, runs, tmp_path):
    run = copy(runs["han"], tmp_path)
    (tmp_path / "file").write_text("")
    spec = (run / "spec.toml").read_text()
    spec, changed = re.subn(r'^root = ".*"$', f'root = "{tmp_path / "file"}"', spec, flags=re.MULTILINE)
    assert changed == 1
    (run / "spec.toml").write_text(spec)
    process, lines = start(run, "--port", 0, "--device", "cpu", "--host", "0.0.0.0")
    assert lines[0] == "opening the data 'sort-of-clevr' for images to offer"
    assert lines[1].startswith("no images of the data are offered: ")
    assert lines[2].startswith("serving 1 run at http://0.0.0.0:")
    assert process.stderr.readline() == (
        "warning: others who reach this machine at 0.0.0.0 can use the page; it has no password and no "
        "encryption\n"
    )
    address = re.search(r"http://\S+", lines[-1])[0].replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{address}/api/info").json()["examples"] == []
    assert process.poll() is None


def test_a_training_that_is_not_finished_is_served_without_an_accuracy(models, runs, tmp_path):
    from hacore_serve.served import serve_runs

    import hacore

    run = copy(runs["han"], tmp_path)
    (run / "result.json").unlink()
    unfinished = hacore.load(run, device="cpu")
    first, second = (model.as_dict() for model in serve_runs([unfinished, models["han"]]))
    assert (first["accuracy"], first["split"]) == (None, None)
    assert second["accuracy"] is not None
    assert first["name"] == f"han, {run.name}"  # of runs with one name, the folder's is added


@pytest.fixture
def opened(runs, monkeypatch, capsys):
    """opened("--no-open", ...): the addresses that a browser was told, by a server that ends at once."""

    class Server:
        def run(self, sockets):
            for thread in threading.enumerate():
                if thread.daemon and thread.name.endswith("(_open)"):
                    thread.join()

    def run(*options, terminal=True, **environment):
        addresses = []
        for name in ("PYTEST_CURRENT_TEST", "SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(command.webbrowser, "open", addresses.append)
        monkeypatch.setattr(command, "make_server", lambda *_, **__: Server())
        arguments = ("--port", "0", "--device", "cpu", "--examples", "0", *options)
        with pytest.raises(SystemExit) as left:
            main(["serve", str(runs["han"]), *arguments])
        assert left.value.code == 0
        (port,) = re.findall(r"at http://\S+:(\d+) ", capsys.readouterr().err)
        return [address.replace(port, "PORT") for address in addresses]

    return run


def test_the_browser_is_opened_where_somebody_sits_there(opened):
    assert opened(DISPLAY=":0") == ["http://127.0.0.1:PORT"]
    assert opened("--host", "0.0.0.0", WAYLAND_DISPLAY="wayland-0") == ["http://127.0.0.1:PORT"]


def test_the_browser_is_not_opened_where_nobody_sees_it(opened):
    assert opened("--no-open", DISPLAY=":0") == []
    assert opened() == []  # no display
    assert opened(DISPLAY=":0", terminal=False) == []
    assert opened(DISPLAY=":0", SSH_CONNECTION="10.0.0.1 1 10.0.0.2 22") == []
    assert opened(DISPLAY=":0", PYTEST_CURRENT_TEST="a test") == []
