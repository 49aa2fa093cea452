"""What holds for every command: JSON, KEY=VALUE beside --set, and what is wrong as JSON."""

import json
import tomllib

import click
import pytest

from hacore.registry import registry
from hacore.spec import load_spec, spec_table


def all_commands():
    """Every command, and those of a group, by their words."""
    for installed in registry().of("command"):
        command = installed.load()
        if not isinstance(command, click.Group):
            yield installed.name, command
            continue
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if isinstance(inner, click.Group):
                below = click.Context(inner)
                for last in inner.list_commands(below):
                    yield f"{installed.name} {name} {last}", inner.get_command(below, last)
            else:
                yield f"{installed.name} {name}", inner


COMMANDS = dict(all_commands())
each = pytest.mark.parametrize("words", COMMANDS)


def options(command):
    return {option for parameter in command.params for option in parameter.opts}


@each
def test_it_prints_json_if_asked(words):
    assert "--json" in options(COMMANDS[words])


@each
def test_key_value_needs_no_set(words):
    command = COMMANDS[words]
    if "--set" in options(command):
        assert [p for p in command.params if "KEY=VALUE" in (p.metavar or "") and p.nargs == -1]


@pytest.fixture
def spec(request):
    return request.config.rootpath / "experiments" / "han_rn.toml"


@pytest.mark.parametrize("command", ["check", "run", "needs", "sweep", "features"])
def test_problems_of_a_spec_are_a_list(cli, tmp_path, command, spec):
    path = tmp_path / "bad.toml"
    text = spec.read_text().replace('"l2-topk"', '"l2-topkk"')
    text += "\n[sweep]\nseeds = [0, 1]\n" if command == "sweep" else ""
    path.write_text(text)
    ran = cli(command, path, "--json")
    assert ran.status == 1
    printed = json.loads(ran.out)
    assert printed["valid"] is False
    problem = next(problem for problem in printed["problems"] if problem["key"] == "selector.use")
    line = text[: text.index("l2-topkk")].count("\n") + 1
    assert (problem["file"], problem["line"]) == (str(path), line)
    assert "did you mean 'l2-topk'?" in problem["message"]
    assert f"{path}:{line}: selector.use" in ran.err


def test_what_is_no_toml_has_its_line(cli, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\nseed = = 3\n')
    (problem,) = json.loads(cli("check", path, "--json").out)["problems"]
    assert (problem["key"], problem["file"], problem["line"]) == (None, str(path), 2)


def test_a_dry_run_is_the_resolved_spec(cli, spec):
    ran = cli("run", spec, "selector.k=3", "--dry-run", "--json")
    assert json.loads(ran.out) == spec_table(load_spec(spec, ["selector.k=3"]))
    assert json.loads(ran.out) == tomllib.loads(cli("run", spec, "selector.k=3", "--dry-run").out)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("lr=3", "'train.lr'"),
        ("k=4", "'selector.k'"),
        ("batch_images=4", "'train.batch_images' or 'eval.batch_images'"),
        ("width=3", "'fuser.width' or 'aggregator.width'"),
        ("trian.lr=3", "'train'"),
    ],
)
def test_a_key_without_its_table_is_answered_with_both(cli, names, spec, words, near):
    names(cli("check", spec, "--set", words).error, f"--set {words}:", "did you mean", near)
