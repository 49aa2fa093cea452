"""Sweeps on the workers that a plugin brings."""

import json

import pytest
from hacore_sweep import SweepFolder, SweepReporter, run_sweep

from hacore.errors import HacoreError, PluginError
from hacore.registry import registry

PLUGIN = """
import attrs
from hacore.plugin import Component, hookimpl, option

@attrs.frozen(kw_only=True)
class Config:
    losses: int = option(0, "machines that are lost", min=0)

@hookimpl
def hacore_declare():
    return [Component(kind="executor", name="elsewhere", target="{module}_part:Elsewhere", config=Config,
                      summary="for a test")]
"""

# Runs one at a time in this process; a process begins when it is asked for the second time.
WORKERS = """
from hacore.cli import main
from hacore.executors import Ended

MADE = []

class Elsewhere:
    jobs = 1

    def __init__(self, config, demand):
        self.demand, self.left, self.closed, self.works, self.stopped = demand, config.losses, False, [], 0
        MADE.append(self)

    def room(self):
        return True

    def start(self, work):
        self.works.append(work)
        return Process(self, work)

    def close(self):
        self.closed = True

class Process:
    def __init__(self, workers, work):
        self.workers, self.work, self.asked, self.killed = workers, work, 0, False

    def begun(self):
        self.asked += 1
        return self.asked > 1

    def ended(self):
        if self.workers.left:
            self.workers.left -= 1
            return Ended(status=None, cause="the machine burnt down")
        try:
            main([*self.work.arguments, "--device", "cpu"])
        except SystemExit as left:
            if left.code:
                self.work.log.write_text("hacore: no good\\n")
            return Ended(status=left.code or 0)

    def ask_to_stop(self): ...

    def kill(self):
        self.killed = True
"""


@pytest.fixture
def elsewhere(install):
    """Installs the executor; returns the workers that were made."""
    install("fake_elsewhere", PLUGIN.format(module="fake_elsewhere"), fake_elsewhere_part=WORKERS)
    import fake_elsewhere_part

    return fake_elsewhere_part.MADE


class Notes(SweepReporter):
    def __init__(self):
        self.told = []

    def started(self, outcome):
        self.told.append(("started", outcome.combination.seed, outcome.folder is not None))

    def ended(self, outcome):
        self.told.append((outcome.status, outcome.combination.seed, outcome.error))


def test_runs_are_given_to_the_workers_and_land_in_the_sweep_folder(sweep, elsewhere, capsys):
    plan = sweep("[sweep]\nseeds = [0, 1]\nselector.k = [4, 26]")
    notes = Notes()
    folder, outcomes = run_sweep(plan, jobs=3, device="cpu", on="elsewhere", reporter=notes)
    assert [outcome.status for outcome in outcomes] == ["finished", "finished", "failed", "failed"]
    assert outcomes[2].error == "no good"
    (workers,) = elsewhere
    assert (workers.demand.device, workers.demand.jobs, workers.closed) == ("cpu", 3, True)
    assert (
        [work.spec for work in workers.works]
        == workers.demand.specs
        == [combination.spec for combination in plan.combinations]
    )
    assert workers.works[0].spec_file.is_file()
    assert workers.works[0].log.parent == folder.path / "logs"
    assert [event[0] for event in notes.told].count("started") == 4
    assert all((folder.path / entry["run"]).is_dir() for entry in folder.index()["runs"][:2])
    # Only what failed is given to workers again.
    run_sweep(plan, device="cpu", on="elsewhere")
    assert [work.spec.selector.options.k for work in elsewhere[1].works] == [26, 26]


def test_a_run_that_loses_its_machine_goes_on(sweep, elsewhere, capsys):
    notes = Notes()
    _, outcomes = run_sweep(
        sweep("[sweep]\nseeds = [0]"), device="cpu", on="elsewhere", options={"losses": 3}, reporter=notes
    )
    lost = ("interrupted", 0, "the machine burnt down")
    assert notes.told == [("started", 0, False), lost] * 3 + [("started", 0, False), ("finished", 0, None)]
    assert [outcome.status for outcome in outcomes] == ["finished"]


def test_a_run_that_loses_machine_after_machine_has_failed(sweep, elsewhere):
    plan = sweep("[sweep]\nseeds = [0]")
    folder, outcomes = run_sweep(plan, device="cpu", on="elsewhere", options={"losses": 4})
    assert [(outcome.status, outcome.error) for outcome in outcomes] == [("failed", "the machine burnt down")]
    assert len(elsewhere[0].works) == 4
    assert folder.index()["runs"][0]["error"] == "the machine burnt down"


def test_workers_are_closed_whatever_happens_and_runs_that_never_began_wait(sweep, elsewhere):
    class Broken(SweepReporter):
        def progress(self, states):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run_sweep(sweep("[sweep]\nseeds = [0]"), device="cpu", on="elsewhere", reporter=Broken())
    assert elsewhere[0].closed
    assert [entry["status"] for entry in SweepFolder.open("sweeps/small").index()["runs"]] == ["waiting"]


def test_mistakes_are_told_with_the_way_out(write, cli, names, elsewhere):
    path = write("[sweep]\nseeds = [0]")
    known = ", ".join(component.name for component in registry().of("executor"))
    assert known.startswith("elsewhere, local")
    message = cli("sweep", path, "--on", "elsewere").error
    names(message, "executor 'elsewere'", "'elsewhere'", f"installed: {known}")
    words = ("sweep", path, "--on", "elsewhere", "--with")
    names(cli(*words, "loses=1").error, "elsewhere.loses:", "unknown", "'losses'", "losses")
    names(cli(*words, "losses=-1").error, "elsewhere.losses:", "-1", "at least 0")
    names(cli(*words, "losses").error, "--with losses:", "key=value", "--with address=10.0.0.1:6379")
    names(cli("sweep", path, "--with", "losses=1").error, "local.losses:", "unknown", "none")


def test_an_executor_that_is_not_installed_names_its_package(sweep, uninstall):
    plan = sweep("[sweep]\nseeds = [0]")
    uninstall("hacore-ray")
    with pytest.raises(PluginError, match=r"executor 'ray'.*pip install -e .*plugins/hacore-ray"):
        run_sweep(plan, on="ray")
    with pytest.raises(HacoreError, match=r"executor 'slurm'.*installed: local"):
        run_sweep(plan, on="slurm")


def test_executors_are_listed_with_their_options(cli, elsewhere):
    listed = json.loads(cli("plugins", "executor", "--json").out)["components"]
    assert [component["distribution"] for component in listed if component["name"] == "elsewhere"] == [
        "fake-elsewhere"
    ]
    assert {component["kind"] for component in listed} == {"executor"}
    (option,) = json.loads(cli("plugins", "executor", "elsewhere", "--json").out)["options"]
    assert (option["option"], option["default"]) == ("losses", 0)


def test_two_executors_of_one_name_are_an_error(install, names, elsewhere):
    install("fake_other", PLUGIN.format(module="fake_other"))
    with pytest.raises(PluginError) as error:
        registry().find("executor", "elsewhere")
    names(str(error.value), "executor 'elsewhere'", "fake-elsewhere", "fake-other", "uninstall all but one")
    assert registry().problems() == [str(error.value)]


def test_another_local_executor_is_an_error(sweep, install, names):
    install("fake_local", PLUGIN.replace('"elsewhere"', '"local"').format(module="fake_local"))
    with pytest.raises(PluginError) as error:
        run_sweep(sweep("[sweep]\nseeds = [0]"))
    names(str(error.value), "executor 'local'", "fake-local", "hacore-sweep", "uninstall all but one")
