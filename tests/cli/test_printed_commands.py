"""Commands in messages can be pasted, whatever the folders are called."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

import hacore
from hacore.errors import HacoreError
from hacore.features.store import FeatureStore
from hacore.machine.commands import child_command
from hacore.runs import RunFolder
from hacore.spec import load_spec

NAMES = ["my out", "it's", "-out", "a;b&c", "$HOME", "a\nb"]


def pasted(line, folder, begins):
    """What bash hands to the command that begins so, at the end of the line."""
    text = line[line.index(begins) :]
    assert "\n" not in text
    ran = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {text}"], cwd=folder, capture_output=True, check=True
    )
    return ran.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("name", NAMES)
def test_errors_of_runs_and_stores(tmp_path, monkeypatch, name, request):
    monkeypatch.chdir(tmp_path)
    spec = load_spec(request.config.rootpath / "experiments" / "han_rn.toml")
    folder = RunFolder.create(spec, name, {})
    for broken in (folder.result, folder.checkpoint):
        with pytest.raises(HacoreError) as caught:
            broken()
        *words, path = pasted(str(caught.value), tmp_path, "hacore run")
        assert words == ["hacore", "run", "--resume"]
        assert Path(path) == folder.path
    with pytest.raises(HacoreError) as caught:
        FeatureStore.open(name)
    *words, path = pasted(str(caught.value), tmp_path, "hacore features")
    assert words == ["hacore", "features", "SPEC", "--output"]
    assert Path(path) == Path(name)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_the_next_step_after_new(cli, tmp_path, monkeypatch, name):
    pytest.importorskip("hacore_scaffold")
    monkeypatch.chdir(tmp_path)
    ran = cli("new", "selector", "zzz", "--output", name)
    assert ran.status == 0, ran.err
    line = ran.out.splitlines()[-1]
    install, check = line.removeprefix("next:  ").split("  &&  ")
    assert shlex.split(install)[:3] == ["pip", "install", "-e"]
    for command in (install, check):
        assert Path(shlex.split(command)[-1]).resolve() == tmp_path / name / "hacore-zzz"


def test_a_message_of_the_sources_has_no_bare_path_in_a_command(request):
    """A path within a command is written by ``pasteable``."""
    sources = [*request.config.rootpath.glob("hacore/**/*.py")]
    sources += request.config.rootpath.glob("plugins/*/hacore_*/**/*.py")
    bare = re.compile(
        r"(hacore (run|eval|sweep|features|table|plot|report|data|ask)\b|pip install -e|pytest) [^\"]*\{"
    )
    lines = [
        f"{path.name}: {line.strip()}"
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        if bare.search(line) and 'f"' in line
    ]
    assert [line for line in lines if "{distribution}" not in line and "{example}" not in line] == []


@pytest.mark.parametrize("name", ["my out", "-out"])
def test_a_stopped_run_resumes_as_it_says(tmp_path, monkeypatch, name, request, tiny):
    monkeypatch.chdir(tmp_path)
    spec = load_spec(request.config.rootpath / "experiments" / "han_rn.toml", tiny)
    folder, _ = hacore.run(spec, runs=name, device="cpu", report=False)
    folder.result_file.unlink()
    with pytest.raises(HacoreError) as caught:
        folder.result()
    _, *words = pasted(str(caught.value), tmp_path, "hacore run")
    ran = subprocess.run(child_command(*words, "--no-report"), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert folder.result_file.is_file()
