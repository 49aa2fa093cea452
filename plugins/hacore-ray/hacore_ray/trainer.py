"""The Ray actor that runs one training on the machine where Ray has placed it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import attrs

from hacore.machine.commands import child_command


@attrs.frozen(kw_only=True)
class Task:
    """What a machine must know of a run; paths may be relative to ``folder``, the working directory."""

    folder: str
    spec_file: str
    spec_text: str
    arguments: tuple[str, ...]
    log: str
    environment: dict[str, str]


class Trainer:
    """Starts the training, waits for its end, and passes signals on."""

    def __init__(self, task: Task) -> None:
        import ray

        self._task = task
        self._node = ray.get_runtime_context().get_node_id()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Begin. Returns what is wrong with this machine, or an empty text."""
        task = self._task
        if problem := unfit(task):
            return problem
        with open(Path(task.folder, task.log), "ab") as log:
            log.write(f"on {socket.gethostname()}, node {self._node} of Ray\n".encode())
            log.flush()
            training = child_command(*task.arguments)
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("guard.py")), *training],
                cwd=task.folder,
                env={**os.environ, **task.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return ""

    def wait(self) -> int:
        """The exit status, once it has ended."""
        assert self._process is not None
        while self._process.poll() is None:
            time.sleep(0.2)
        return self._process.returncode

    def send(self, number: int) -> None:
        """A signal: SIGKILL ends it and all that it started; others are for the training to answer."""
        if self._process is None or self._process.poll() is not None:
            return
        if number == signal.SIGKILL:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)


def unfit(task: Task) -> str:
    """What keeps a run from this machine, or an empty text."""
    try:
        same = Path(task.folder, task.spec_file).read_bytes() == task.spec_text.encode()
    except OSError:
        same = False
    if same:
        return ""
    return (
        f"{Path(task.folder, task.spec_file)} is not there, or another, on {socket.gethostname()}; the sweep "
        "folder and the working directory must be on a file system that all machines share, by one path"
    )
