"""``[sweep]``: combinations resolve by the rules of ``--set``, and problems are named at their place."""

import itertools
import tomllib

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.errors import HacoreError, SpecError
from hacore.spec import load_spec, load_sweep, needs


@pytest.fixture
def sweep(write, kit):
    def run(text, *overrides, more=""):
        return load_sweep(write(f"{more}\n{text}\n"), overrides)

    return run


@pytest.fixture
def problems(sweep):
    def run(text, *overrides, more=""):
        with pytest.raises(SpecError) as error:
            sweep(text, *overrides, more=more)
        return str(error.value).splitlines()

    return run


def runs(plan, *keys):
    return [
        (*(combination.values[key] for key in keys), combination.seed) for combination in plan.combinations
    ]


def test_a_grid_has_every_combination_in_the_order_of_the_file(sweep):
    plan = sweep('[sweep]\nseeds = [0, 3]\nselector.k = [4, 2]\nselector.way = ["near", "far"]')
    assert plan.name == "test"
    assert runs(plan, "selector.k", "selector.way") == [
        (k, way, seed) for k in (4, 2) for way in ("near", "far") for seed in (0, 3)
    ]
    for combination in plan.combinations:
        options = combination.spec.selector.options
        assert (options.k, options.way, combination.spec.seed) == (
            *combination.values.values(),
            combination.seed,
        )
    assert [combination.spec.name for combination in plan.combinations[:3]] == [
        "test-k4-way-near-seed0",
        "test-k4-way-near-seed3",
        "test-k4-way-far-seed0",
    ]
    assert plan.combinations[0].label == "selector.k = 4, selector.way = near, seed 0"


def test_a_zip_goes_through_its_lists_together(sweep):
    plan = sweep('[sweep]\nmode = "zip"\nselector.k = [4, 2]\n"train.lr" = [0.1, 0.2]')
    assert runs(plan, "selector.k", "train.lr") == [(4, 0.1, 0), (2, 0.2, 0)]
    assert [combination.spec.train.lr for combination in plan.combinations] == [0.1, 0.2]
    plan = sweep('[sweep]\nmode = "zip"\nselector.k = [4, 2, 4]\nselector.sizes = [[1], [1], [2]]')
    assert [combination.values["selector.k"] for combination in plan.combinations] == [4, 2, 4]


def test_seeds_alone_are_a_sweep_and_without_seeds_the_spec_has_its_own(sweep):
    assert [combination.seed for combination in sweep("[sweep]\nseeds = [5, 6]").combinations] == [5, 6]
    assert [
        combination.seed for combination in sweep("[sweep]\nselector.k = [1]", "seed=9").combinations
    ] == [9]


@pytest.mark.parametrize("header", ["[sweep.selector]\nk = [1, 2]", "[sweep]\nselector = { k = [1, 2] }"])
def test_keys_may_be_written_as_tables(sweep, header):
    assert runs(sweep(header), "selector.k") == [(1, 0), (2, 0)]


def test_a_list_of_tables_replaces_a_whole_component(sweep):
    plan = sweep('[sweep]\nselector = [{ use = "it", k = 3, sharp = false }, { use = "it" }]', more="k = 50")
    assert [combination.spec.selector.options.k for combination in plan.combinations] == [3, 8]
    assert [combination.spec.selector.options.sharp for combination in plan.combinations] == [False, True]
    assert [combination.spec.name for combination in plan.combinations] == [
        "test-it-k3-sharp-false-seed0",
        "test-it-seed0",
    ]
    assert plan.combinations[0].label == "selector = it (k = 3, sharp = false), seed 0"


def test_values_may_be_lists_themselves(sweep):
    plan = sweep("[sweep]\nselector.sizes = [[1, 2], [3]]")
    assert [combination.spec.selector.options.sizes for combination in plan.combinations] == [(1, 2), (3,)]
    assert [combination.spec.name for combination in plan.combinations] == [
        "test-sizes-1-2-seed0",
        "test-sizes-3-seed0",
    ]


def test_several_sweeps_come_one_after_the_other(sweep):
    plan = sweep(
        "[[sweep]]\nseeds = [0, 1]\nselector.k = [4]\n"
        '[[sweep]]\nselector.k = [5, 6]\nselector.way = ["far"]\nselector.label = ["a"]'
    )
    assert [(combination.values["selector.k"], combination.seed) for combination in plan.combinations] == [
        (4, 0),
        (4, 1),
        (5, 0),
        (6, 0),
    ]
    # Options that go along with the others do not lengthen the names.
    assert [combination.spec.name for combination in plan.combinations] == [
        "test-k4-seed0",
        "test-k4-seed1",
        "test-k5-seed0",
        "test-k6-seed0",
    ]


def test_overrides_change_spec_and_sweep(sweep):
    plan = sweep(
        "[sweep]\nseeds = [0, 1]\nselector.k = [4]",
        "sweep.seeds=[7]",
        "sweep.selector.k=[1, 2]",
        "train.lr=3",
    )
    assert runs(plan, "selector.k") == [(1, 7), (2, 7)]
    assert {combination.spec.train.lr for combination in plan.combinations} == {3.0}


def test_the_base_may_lack_what_the_sweep_gives(write, kit, good):
    text = good.replace('[selector]\nuse = "it"\n', "")
    plan = load_sweep(write('[sweep]\nselector.use = ["it"]\n', text=text))
    assert plan.combinations[0].spec.selector.use == "it"


VALUES = {
    "selector.k": st.integers(1, 100),
    "selector.sharp": st.booleans(),
    "selector.way": st.sampled_from(["near", "far"]),
    "train.lr": st.floats(0.001, 10),
    "head.hidden": st.lists(st.integers(1, 9), max_size=3),
}


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(1, 3), min_size=1).flatmap(
        lambda sizes: st.fixed_dictionaries(
            {
                key: st.lists(VALUES[key], min_size=1, max_size=size, unique_by=repr)
                for key, size in sizes.items()
            }
        )
    )
)
def test_a_combination_is_the_spec_with_its_values_set(kit, good, tmp_path_factory, lists):
    path = tmp_path_factory.getbasetemp() / "spec.toml"
    path.write_text(good)
    lines = "".join(f"{key} = {toml(values)}\n" for key, values in lists.items())
    swept = path.with_name("sweep.toml")
    swept.write_text(f"{good}[sweep]\n{lines}")
    assert tomllib.loads(swept.read_text())
    combinations = load_sweep(swept).combinations
    # Keys of one table come together, wherever the file has them.
    expected = [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    assert sorted(map(repr, (sorted(assignment.items()) for assignment in expected))) == sorted(
        repr(sorted(combination.values.items())) for combination in combinations
    )
    assert len({combination.spec.name for combination in combinations}) == len(combinations)
    for combination in combinations:
        overrides = [f"{key}={toml(value)}" for key, value in combination.values.items()]
        assert attrs.evolve(combination.spec, name="test") == load_spec(path, overrides)


def toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("selector.k = 4", ["selector.k", "4", "list of values", "selector.k = [4]"]),
        ("selector.k = []", ["selector.k", "empty", "at least one value"]),
        ("selector.k = [4, 2, 4]", ["selector.k", "4 twice"]),
        ("selector.k = [0]", ["selector.k", "0", "at least 1"]),
        ("selector.k = [4, 1.5]", ["selector.k", "1.5", "integer"]),
        ("selector.kk = [4]", ["selector.kk", "unknown", "'k'", "k, share, sharp, label"]),
        ("selektor.k = [4]", ["selektor.k", "unknown", "'selector'", "mode, seeds, data, image_encoder"]),
        ("seed = [1]", ["seed", "seeds = [0, 1, 2]"]),
        ("name = ['a']", ["name", "leave it out"]),
        ("mode = 'random'", ["mode", '"random"', "'grid' or 'zip'"]),
        ("seeds = 3", ["seeds", "3", "list of integers from 0 to 2^63 - 1", "seeds = [0, 1, 2]"]),
        ("seeds = [0, true]", ["seeds", "[0, true]", "integers from 0 to 2^63 - 1", "seeds = [0, 1, 2]"]),
        ("seeds = [1, 1]", ["seeds", "[1, 1]", "once"]),
        ("train.lr = [nan]", ["train.lr", "nan", "finite"]),
        ('selector = [{ use = "it", k = 0 }]', ["selector.k", "0", "at least 1"]),
        ('selector = [{ use = "it" }]\n"selector.k" = [4]', ["selector.k", "'selector'", "into its tables"]),
        ('selector.use = ["itt"]', ["selector.use", "selector 'itt'", "'it'", "installed: it"]),
    ],
)
def test_what_is_wrong_with_a_line(problems, names, line, parts):
    (problem,) = problems(f"[sweep]\n{line}")
    names(problem, f"spec.toml:{23 + line.count(chr(10))}: sweep.{parts[0]}", *parts[1:])


@pytest.mark.parametrize(
    ("text", "overrides", "parts"),
    [
        ("[sweep]", [], ["spec.toml:22: sweep:", "empty", "selector.k = [4, 8]", "seeds = [0, 1, 2]"]),
        (
            "[[sweep]]\nselector.k = [4]\n[[sweep]]",
            [],
            ["spec.toml:24: sweep[2]:", "empty", "selector.k = [4, 8]", "seeds = [0, 1, 2]"],
        ),
        (
            '[sweep]\nmode = "zip"\nselector.k = [1, 2]\ntrain.lr = [1]',
            [],
            ["spec.toml:23: sweep.mode:", "zip", "one length", "selector.k has 2", "train.lr has 1"],
        ),
        ("", ["sweep=3"], ["--set sweep=3:", "3", "table of lists", "selector.k = [4, 8]"]),
        ("", ["sweep=[]"], ["--set sweep=[]:", "empty", "table of lists", "selector.k = [4, 8]"]),
        ("", [], ["spec.toml: sweep:", "missing", "[sweep]", "selector.k = [4, 8]", "'hacore run'"]),
    ],
)
def test_what_is_wrong_with_a_sweep(problems, names, text, overrides, parts):
    (problem,) = problems(text, *overrides)
    names(problem, *parts)


def test_a_wrong_list_does_not_hide_what_else_is_wrong(problems, write, kit, good):
    text = "[sweep]\nseeds = [0, 0]\nmode = 3\nselector.k = [4, 4, 0]\ntrain.lr = [-1]"
    listed = problems(text, more="share = 2")
    assert [line.split(";")[0] for line in listed] == [
        "spec.toml:21: selector.share: 2.0 is out of range",
        "spec.toml:23: sweep.seeds: found [0, 0]",
        "spec.toml:24: sweep.mode: found 3",
        "spec.toml:25: sweep.selector.k: found 4 twice",
        "spec.toml:25: sweep.selector.k: 0 is out of range",
        "spec.toml:26: sweep.train.lr: -1.0 is out of range",
    ]
    # What the sweep was to give is not called missing.
    text = good.replace('[selector]\nuse = "it"\n', "[train]\nlrr = 1\n")
    with pytest.raises(SpecError) as error:
        load_sweep(write('[sweep]\nselector.use = "it"\n', text=text))
    assert [line.split(";")[0] for line in str(error.value).splitlines()] == [
        "spec.toml:20: train.lrr: unknown key",
        'spec.toml:22: sweep.selector.use: found "it"',
    ]


def test_every_problem_is_told_once_and_at_its_place(problems):
    listed = problems(
        "[train]\nlrr = 1\n[[sweep]]\nseeds = [0, 1]\nselector.k = [4, 0, 101]\ntrain.lr = [1, -1]\n"
        "[[sweep]]\nselector.share = [2, 0.5]",
        "eval.splitt=a",
    )
    assert [line.split(";")[0] for line in listed] == [
        "spec.toml:23: train.lrr: unknown key",
        "spec.toml:26: sweep[1].selector.k: 0 is out of range",
        "spec.toml:26: sweep[1].selector.k: 101 is out of range",
        "spec.toml:27: sweep[1].train.lr: -1.0 is out of range",
        "spec.toml:29: sweep[2].selector.share: 2.0 is out of range",
        "--set eval.splitt=a: unknown key",
    ]
    assert not any("; with " in line for line in listed)


def test_values_that_do_not_go_together_are_named(problems, names):
    listed = problems("[sweep]\nselector.k = [4, 20, 30]\nselector.limit = [25, 10]\ntrain.lr = [1, 2]")
    for problem, (limit, k) in zip(listed, [(10, 20), (25, 30), (10, 30)], strict=True):
        names(problem, "spec.toml:23: sweep.selector.k", f"limit = {limit}", f"k = {k}", "raise limit")
        names(problem, f"selector.k = {k}", f"selector.limit = {limit}")


def test_a_value_that_makes_the_spec_itself_wrong_is_named(problems, names):
    (problem,) = problems("[sweep]\nselector.k = [4, 20]", more="limit = 10")
    names(problem, "spec.toml:23: sweep.selector.k", "limit = 10", "k = 20", "raise limit")


def test_the_same_run_twice_is_an_error(problems, names, sweep):
    text = "[[sweep]]\nselector.k = [4, 8]\n[[sweep]]\nseeds = [0]\nselector.way = ['near']"
    (problem,) = problems(text)
    names(problem, "spec.toml:24: sweep[2]", 'selector.way = "near"', "selector.k = 8", "sweep[1]", "leave")
    assert len(sweep(text.replace("[0]", "[1]")).combinations) == 3
    (problem,) = problems('[sweep]\nmode = "zip"\nselector.k = [4, 4]')
    names(problem, "spec.toml:22: sweep", "selector.k = 4", "selector.k = 4 of sweep")


def test_a_sweep_is_no_single_run(write, kit, names):
    path = write("[sweep]\nselector.k = [4]\n")
    with pytest.raises(HacoreError) as error:
        load_spec(path)
    names(str(error.value), "spec.toml:21: sweep", "many runs", "'hacore sweep'", "--set sweep=none")
    assert load_spec(path, ["sweep=none"]).selector.options.k == 8


def test_needs_of_a_sweep_are_those_of_all_its_runs(tmp_path, request):
    base = (request.config.rootpath / "experiments" / "han_rn.toml").read_text()
    path = tmp_path / "spec.toml"
    path.write_text(f'{base}\n[sweep]\naggregator = [{{ use = "rn" }}, {{ use = "sum-pool" }}]\n')
    assert [package for package, _ in needs(path)][-3:-1] == ["hacore-rn", "hacore-sum-pool"]
    assert needs(path, ["sweep=none"])[-2][0] == "hacore-rn"


@pytest.mark.parametrize(
    ("words", "hint"),
    [("4,5", "[4, 5]"), ("4 5", "[4, 5]"), ("[4,5", "[4, 5]"), ("4", "[4]"), ('"4", "5"', "[4, 5]")],
)
def test_a_list_of_a_sweep_that_is_written_otherwise(write, kit, names, words, hint):
    with pytest.raises(SpecError) as caught:
        load_sweep(write(), [f"sweep.selector.k={words}"])
    names(str(caught.value), "sweep.selector.k", "list of values", f"selector.k = {hint}")


def test_runs_whose_values_differ_in_other_scripts_or_in_case_have_names_of_their_own(write, kit):
    plan = load_sweep(write('\n[sweep]\nselector.label = ["a", "A", "红", "蓝", "?", "!"]\n'))
    folders = [combination.spec.name.casefold() for combination in plan.combinations]
    assert len(set(folders)) == 6
    assert any("红" in name for name in folders)
