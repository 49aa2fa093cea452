"""Commands that plugins add: declared without an import, listed, run, and refused where they clash."""

import json
import subprocess
import sys

import pytest

from hacore.registry import CORE, registry

PLUGIN = """
from hacore.plugin import Component, hookimpl

@hookimpl
def hacore_declare():
    return [Component(kind="command", name="{name}", target="{module}_part:it", summary="Wave to somebody.")]
"""
PART = """
import click
from hacore.errors import HacoreError

@click.command()
@click.argument("whom")
def it(whom):
    "Wave to WHOM."
    if whom == "nobody":
        raise HacoreError("nobody is there; name somebody")
    click.echo(f"hello {whom}")
"""


@pytest.fixture
def wave(install):
    """wave(module, name, part) installs a plugin that adds a command."""

    def run(module, name="wave", part=PART):
        return install(module, PLUGIN.format(name=name, module=module), **{f"{module}_part": part})

    return run


def test_a_command_of_a_plugin_is_listed_and_runs(cli, names, wave):
    wave("fake_wave")
    listed = cli("--help")
    assert "\n  wave " in listed.out
    assert "Wave to somebody." in listed.out
    assert sorted(sys.modules).count("fake_wave_part") == 0  # not before it is called
    assert cli("wave", "Ada").out == "hello Ada\n"
    assert cli("wave", "nobody").error == "nobody is there; name somebody"
    missing = cli("wave")
    assert (missing.status, missing.out) == (2, "")
    assert "Missing argument 'WHOM'" in missing.err
    near = cli("wav")
    assert near.status == 2
    names(near.err.splitlines()[-1], "'wav'", "'wave'", "run, ")


def test_plugins_lists_commands(cli, wave):
    wave("fake_wave")
    rows = json.loads(cli("plugins", "command", "--json").out)["components"]
    row = {"kind": "command", "name": "wave", "distribution": "fake-wave", "version": "1.0"}
    assert {**row, "summary": "Wave to somebody."} in rows
    assert {row["kind"] for row in rows} == {"command"}
    assert "command" in cli("plugins").out
    usage = cli("plugins", "command", "wave")
    assert usage.status == 2
    assert "see 'hacore wave --help'" in usage.err


def test_a_command_that_does_not_load_is_told_when_it_is_called(cli, names, wave):
    wave("fake_wave", part="import not_there")
    assert cli("--help").status == 0
    message = cli("wave", "Ada").error
    names(message, "command 'wave'", "fake-wave 1.0", "fake_wave_part:it", "No module named 'not_there'")
    names(message, "install it again from where it came")


def test_two_commands_of_one_name_are_an_error(cli, names, wave):
    wave("fake_one")
    wave("fake_two")
    problem = cli("wave", "Ada").error
    names(problem, "command 'wave'", "fake-one", "fake-two", "uninstall all but one")
    assert registry().problems() == [problem]
    assert "\n  wave " not in cli("--help").out


def test_a_command_of_the_core_cannot_be_taken(cli, wave):
    wave("fake_run", name="run")
    (problem,) = registry().problems()
    assert "fake-run" in problem
    assert "command 'run' is hacore's own" in problem
    assert "Train and measure" in cli("run", "--help").out


def test_the_cores_commands_come_first_and_all_have_help(cli):
    names = [component.name for component in registry().of("command")]
    own = [component.name for component in registry().of("command") if component.distribution == CORE]
    assert names[: len(own)] == own
    assert own[:2] == ["run", "eval"]
    for name in own:
        assert "Usage: hacore" in cli(name, "--help").out


def test_a_published_command_that_is_not_installed_names_its_package(cli, names, uninstall):
    uninstall("hacore-serve")
    error = cli("serve", "run").error
    names(error, "'serve'", "not installed", "pip install ")
    # After the libraries that it requires, which may be missing, too.
    assert error.strip().endswith(" -e plugins/hacore-ask -e plugins/hacore-serve")
    assert "\n  serve " not in cli("--help").out
    near = cli("serv")
    assert near.status == 2
    assert "did you mean 'serve'?" in near.err


def test_help_loads_no_command(wave, tmp_path):
    code = "import sys; from hacore.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'fastapi', 'uvicorn', 'PIL'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
