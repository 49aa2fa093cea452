"""What needs no torch does not wait for it, and nothing is imported that a spec does not use."""

import json
import subprocess
import sys

import pytest

from hacore.spec import dump_spec, load_spec

BAD = 'name = "bad"\n[data]\nuse = "no-such-data"\n[selector]\nuse = "l2-topk"\nk = 1.9\n'

# Runs each command line of argv[1] (JSON) in turn, and notes whether torch has been imported by then.
MANY = """
import contextlib, io, json, sys
from hacore.cli import main
told = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as left:
            status = left.code or 0
    told.append([status, out.getvalue(), err.getvalue(), "torch" in sys.modules])
print(json.dumps(told))
"""

COMMANDS = [
    *("run", "eval", "ask", "report", "export", "sweep", "table", "compare", "plot", "check", "features"),
    *("plugins", "needs", "data", "score", "new", "serve"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, request):
    """{command line: (status, out, err, whether torch is imported)}, all in one process."""
    folder = tmp_path_factory.mktemp("specs")
    (folder / "bad.toml").write_text(BAD)
    spec = request.config.rootpath / "experiments" / "han_rn.toml"
    table1 = request.config.rootpath / "experiments" / "tables" / "table1.toml"
    (folder / "made").mkdir()
    (folder / "made" / "spec.toml").write_text(dump_spec(load_spec(spec)))
    result = {
        "name": "han_rn",
        "split": "test",
        "seed": 0,
        "questions": 4,
        "loss": 0.7,
        "accuracy": 0.5,
        "kept": 0.1,
        "by_type": {},
        "by_group": {},
        "baselines": {},
        "data": {"dataset": "sort-of-clevr", "fingerprint": "f"},
        "checkpoint": {"step": 1},
    }
    (folder / "made" / "result.json").write_text(json.dumps(result))
    lines = [
        ["--help"],
        ["--version"],
        [],
        *([command, "--help"] for command in COMMANDS),
        ["plugins"],
        ["plugins", "--json"],
        ["plugins", "selector", "l2-topk"],
        ["plugins", "dataset", "sort-of-clevr", "--json"],
        ["needs", spec],
        ["check", "bad.toml"],
        ["run", "bad.toml"],
        ["run", spec, "--dry-run", "--set", "selector.k=5"],
        ["sweep", "bad.toml"],
        ["sweep", table1, "--dry-run"],
        ["run", table1],
        ["table", "bad.toml"],
        ["table", "made"],
        ["data", "generate", "--help"],
        ["data", "generate", "no-such-data"],
        ["score", "no-such-metric"],
        ["chek"],
        ["run", "--no-such-option"],
        ["new", "selector", "brand-new", "--output", "plugins"],
        ["run", spec, "--log", "no-such-logger"],
        ["plugins", "observer"],
        ["report", "bad.toml"],
        ["report", "made", "--output", "it.html"],
    ]
    lines = [[str(word) for word in line] for line in lines]
    ran = subprocess.run(
        [sys.executable, "-c", MANY, json.dumps(lines)], cwd=folder, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return {
        " ".join(line).replace(str(spec), "SPEC").replace(str(table1), "SWEEP"): tuple(result)
        for line, result in zip(lines, json.loads(ran.stdout), strict=True)
    }


def test_torch_is_not_imported(outcomes):
    assert [line for line, (*_, torch) in outcomes.items() if torch] == []


def test_exit_statuses_and_where_things_are_written(outcomes):
    usage = {"", "chek", "run --no-such-option", "data generate no-such-data", "score no-such-metric"}
    usage |= {"report made --output it.html"}
    failed = {"check bad.toml", "run bad.toml", "sweep bad.toml", "run SWEEP", "table bad.toml"}
    failed |= {"report bad.toml", "run SPEC --log no-such-logger"}
    for line, (status, out, err, _) in outcomes.items():
        assert status == (2 if line in usage else 1 if line in failed else 0), line
        assert bool(err) == (line in usage | failed), line
        assert bool(out) == (line not in usage | failed), line


def test_a_bad_spec_is_told_line_by_line(outcomes, names):
    for command in ("check", "run"):
        problems = outcomes[f"{command} bad.toml"][2].splitlines()
        names(problems[0], "hacore: bad.toml:3: data.use", "dataset 'no-such-data'", "installed:")
        names(problems[1], "hacore: bad.toml:6: selector.k", "1.9", "integer")
        assert len(problems) == 6
        for line in problems[2:]:
            names(line, "hacore: bad.toml:", "missing")


def test_a_dry_run_prints_the_resolved_spec(outcomes):
    text = outcomes["run SPEC --dry-run --set selector.k=5"][1]
    assert 'use = "l2-topk"\nk = 5\n' in text
    assert "batch_images = " in text


def test_a_sweep_is_listed_and_is_no_single_run(outcomes, names):
    lines = outcomes["sweep SWEEP --dry-run"][1].splitlines()
    assert lines[0] == "table1: 22 runs in sweeps/table1"
    assert lines[2].split() == [
        *("table1-rn-k5-seed0", "aggregator.use", "=", "rn,", "selector.k", "=", "5,", "seed", "0", "waiting")
    ]
    (message,) = outcomes["run SWEEP"][2].splitlines()
    names(message, "sweep:", "many runs", "'hacore sweep'", "--dry-run", "--set sweep=none")


def test_an_unknown_command_suggests_the_nearest(outcomes):
    (line,) = [line for line in outcomes["chek"][2].splitlines() if line.startswith("Error: ")]
    assert "'chek'" in line
    assert "did you mean 'check'?" in line
    listed = line.partition("commands: ")[2].split(", ")
    assert {"run", "sweep", "features", "report", "table"} <= set(listed)


def test_every_help_text_has_examples_that_name_the_command(outcomes):
    listed = outcomes["--help"][1]
    for command in COMMANDS:
        text = outcomes[f"{command} --help"][1]
        assert f"\n    hacore {command}" in text.split("Examples:")[1], command
        # The list of commands is written apart, so that it needs no import; it says the same.
        assert f"\n  {command} " in listed
        assert text.startswith(f"Usage: hacore {command} ")


def test_the_version_is_that_of_the_package(outcomes):
    from hacore import __version__

    assert outcomes["--version"][1] == f"hacore, version {__version__}\n"


def test_a_run_imports_no_torchvision_and_no_plugin_that_it_does_not_use(tmp_path, request, flags):
    code = (
        "import sys\n"
        "from hacore.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as left:\n    assert not left.code\n"
        "loaded = set(sys.modules)\n"
        "assert 'torch' in loaded and 'matplotlib' not in loaded and 'hacore_rn.rn' in loaded\n"
        "print(sorted(loaded & {'torchvision', 'hacore_resnet.encoder', 'hacore_adahan.adahan', 'pandas'}))\n"
    )
    spec = request.config.rootpath / "experiments" / "han_rn.toml"
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "run",
            spec,
            "--runs",
            tmp_path,
            "--device",
            "cpu",
            "--no-report",
            *flags,
        ],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"


def test_debug_shows_the_traceback_and_no_debug_does_not(tmp_path):
    for arguments in (
        ["check", "none.toml"],
        ["check", "none.toml", "--debug"],
        ["--debug", "check", "none.toml"],
    ):
        ran = subprocess.run(
            [sys.executable, "-m", "hacore", *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ("Traceback" in ran.stderr) == ("--debug" in arguments)
        assert "none.toml: no such spec file\n" in ran.stderr
