"""Specs that extend others, of real components, on the command line."""

import json

import pytest

from hacore.spec import dump_spec, load_spec


@pytest.fixture
def specs(tmp_path, monkeypatch, request):
    """specs(name=text) writes specs beside a copy of ``han_rn.toml``, in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    text = (request.config.rootpath / "experiments" / "han_rn.toml").read_text(encoding="utf-8")

    def write(**texts):
        for name, more in {"han_rn": text, **texts}.items():
            (tmp_path / f"{name}.toml").write_text(more, encoding="utf-8")

    return write


def test_options_belong_to_their_component(specs):
    specs(
        adahan='extends = "han_rn.toml"\nname = "a"\nselector = { use = "adahan" }\n',
        cap='extends = "adahan.toml"\nname = "b"\nselector.max_cells = 20\n',
        back='extends = "cap.toml"\nname = "c"\nselector = { use = "l2-topk", fraction = 0.5 }\n',
    )
    first, adahan, cap, back = (load_spec(f"{name}.toml") for name in ("han_rn", "adahan", "cap", "back"))
    assert (first.selector.use, first.selector.options.k) == ("l2-topk", 10)
    assert (adahan.selector.use, adahan.selector.options.max_cells) == ("adahan", None)
    assert (cap.selector.use, cap.selector.options.max_cells) == ("adahan", 20)
    assert (back.selector.options.k, back.selector.options.fraction) == (None, 0.5)
    assert {back.aggregator, cap.aggregator, adahan.aggregator} == {first.aggregator}
    assert back.train == first.train


def test_the_same_component_keeps_the_options_that_are_not_left_out(specs, names, cli):
    fraction = 'selector = { use = "l2-topk", fraction = 0.5 }\n'
    specs(child=f'extends = "han_rn.toml"\nname = "child"\n{fraction}')
    names(cli("run", "child.toml", "--dry-run").error, "child.toml:3: selector", "k = 10", "fraction = 0.5")
    specs(child=f'extends = "han_rn.toml"\nwithout = ["selector.k"]\nname = "child"\n{fraction}')
    assert load_spec("child.toml").selector.options.fraction == 0.5


def test_a_resolved_spec_is_whole(specs, cli, flags, tiny):
    specs(child='extends = "han_rn.toml"\nname = "han_rn"\nhead.hidden = [9]\n')
    printed = cli("run", "child.toml", "--dry-run", *flags).out
    assert printed == dump_spec(load_spec("han_rn.toml", [*tiny, "head.hidden=[9]"]))
    assert "extends" not in printed


def test_check_and_needs_follow_what_is_extended(specs, cli, flags, names):
    specs(
        middle='extends = "han_rn.toml"\nselector = { use = "all-cells" }\n',
        child='extends = "middle.toml"\nname = "child"\n[aggregator]\nuse = "sum-pool"\n',
    )
    report = json.loads(cli("check", "child.toml", "--json", *flags).out)
    uses = {stage["stage"]: stage["use"] for stage in report["stages"]}
    assert (uses["selector"], uses["aggregator"]) == ("all-cells", "sum-pool")
    packages = [line.split("\t")[0] for line in cli("needs", "child.toml").out.splitlines()]
    assert packages[-3:-1] == ["hacore-all-cells", "hacore-sum-pool"]
    assert "hacore-rn" not in packages
    specs(middle='\nextends = "han.toml"\n')
    for command in ("check", "needs", "run", "sweep"):
        names(cli(command, "child.toml").error, "middle.toml:2: extends", "han.toml", "'han_rn.toml'")


def test_a_sweep_resumes_from_its_folder_without_the_files_it_extends(specs, cli, flags, tmp_path):
    specs(child='extends = "han_rn.toml"\nname = "child"\n[sweep]\nselector.k = [2, 3]\n')
    small = [*flags, "--set", "train.steps=1", "--device", "cpu"]
    assert cli("sweep", "child.toml", *small, "--jobs", "1", "--set", "sweep.selector.k=[2]").status == 0
    for file in tmp_path.glob("*.toml"):
        file.unlink()
    (run,) = json.loads(cli("sweep", "sweeps/child", "--dry-run", "--json").out)
    assert (run["name"], run["status"]) == ("child-seed0", "finished")
