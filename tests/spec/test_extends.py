"""``extends``: a spec that says only how it differs, and errors that name the file a value comes from."""

import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.errors import HacoreError, SpecError
from hacore.spec import is_sweep, load_spec, load_sweep, needs


@pytest.fixture
def files(tmp_path, monkeypatch, kit, good):
    """files({path: text}) writes specs in the folder of the test, beside ``base.toml``, a good one."""
    monkeypatch.chdir(tmp_path)

    def write(texts):
        for path, text in {"base.toml": good, **texts}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def problems(files):
    """problems({path: text}, *overrides): the lines of the error of ``child.toml``."""

    def run(texts, *overrides):
        files(texts)
        with pytest.raises(SpecError) as error:
            load_spec("child.toml", overrides)
        return str(error.value).splitlines()

    return run


CHILD = 'extends = "base.toml"\nname = "child"\n'


# What is inherited


@pytest.mark.parametrize(
    "text",
    [
        "selector.k = 3",
        "selector = { k = 3 }",
        "[selector]\nk = 3",
        'selector = { use = "it", k = 3 }',
        '[selector]\nk = 3\nuse = "it"',
    ],
)
def test_tables_are_merged_key_by_key(files, good, text):
    files({"base.toml": f'{good}k = 5\nshare = 0.25\nlabel = "base"\n', "child.toml": f"{CHILD}{text}\n"})
    options = load_spec("child.toml").selector.options
    assert (options.k, options.share, options.label, options.sharp) == (3, 0.25, "base", True)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "k": st.integers(1, 100),
        "sharp": st.booleans(),
        "way": st.sampled_from(["near", "far"]),
        "sizes": st.lists(st.integers(1, 9), max_size=3),
        "label": st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=5),
    },
)
TRAIN = st.fixed_dictionaries(
    {}, optional={"lr": st.floats(0.001, 1), "betas": st.just([0.5, 0.5]), "steps": st.integers(1, 9)}
)
GENERATION = st.fixed_dictionaries(
    {"selector": OPTIONS, "train": TRAIN}, optional={"seed": st.integers(0, 9)}
)


@settings(deadline=None, max_examples=50)
@given(st.lists(GENERATION, min_size=1, max_size=4))
def test_a_chain_is_its_tables_put_on_top_of_each_other(kit, good, tmp_path_factory, generations):
    folder = tmp_path_factory.mktemp("chain")
    (folder / "0.toml").write_text(good)
    whole = tomllib.loads(good)
    for number, tables in enumerate(generations, start=1):
        lines = [f'extends = "{number - 1}.toml"', f'name = "n{number}"']
        lines += [f"seed = {tables['seed']}"] if "seed" in tables else []
        for section in ("selector", "train"):
            lines += [f"[{section}]", *(f"{key} = {json.dumps(v)}" for key, v in tables[section].items())]
            whole[section] = {**whole.get(section, {}), **tables[section]}
        whole["seed"] = tables.get("seed", whole["seed"])
        (folder / f"{number}.toml").write_text("\n".join(lines))
    spec = load_spec(folder / f"{len(generations)}.toml")
    assert (spec.name, spec.seed) == (f"n{len(generations)}", whole["seed"])
    for section, value in (("selector", spec.selector.options), ("train", spec.train)):
        for key, expected in whole[section].items():
            if key != "use":
                actual = getattr(value, key)
                assert (list(actual) if isinstance(actual, tuple) else actual) == expected


def test_a_base_may_be_incomplete_and_options_may_come_before_their_component(files, good):
    base = good.replace('name = "test"\n', "").replace('[selector]\nuse = "it"\n', "[selector]\nk = 3\n")
    files({"base.toml": base, "child.toml": f'{CHILD}selector.use = "it"\n'})
    assert load_spec("child.toml").selector.options.k == 3
    # Nothing is checked but the whole.
    files(
        {
            "base.toml": base.replace("k = 3", "k = 0"),
            "child.toml": f'{CHILD}selector = {{ use = "it", k = 1 }}',
        }
    )
    assert load_spec("child.toml").selector.options.k == 1


def test_a_name_is_not_inherited_and_a_seed_is(problems, names, files, good):
    (problem,) = problems({"child.toml": 'extends = "base.toml"\n'})
    names(problem, "child.toml: name", "missing", 'name = "han_rn"')
    files({"base.toml": good.replace("seed = 0", "seed = 7"), "child.toml": CHILD})
    assert load_spec("child.toml").seed == 7


def test_without_leaves_out_keys_and_tables(files, good):
    base = f"{good}limit = 50\nk = 9\n[train]\nlr = 3\n[head]\nhidden = [1]\n"
    left_out = 'without = ["selector", "train.lr", "selector.limit"]\n'
    files({"base.toml": base, "child.toml": f'{CHILD}{left_out}[selector]\nuse = "it"\n'})
    spec, default = load_spec("child.toml"), load_spec("base.toml", ["train=none"])
    assert (spec.selector.options.limit, spec.selector.options.k) == (None, 8)
    assert spec.train == default.train
    assert spec.head.hidden == (1,)


def test_overrides_come_after_everything(files, good):
    files({"base.toml": f"{good}k = 3\nlimit = 50\n", "child.toml": f"{CHILD}selector.k = 4\n"})
    assert load_spec("child.toml", ["selector.k=5"]).selector.options.k == 5
    # As in a file of its own, a key that is removed has its default, not the parent's value.
    assert load_spec("child.toml", ["selector.k=none"]).selector.options.k == 8
    assert load_spec("child.toml", ["selector.limit=none"]).selector.options.limit is None


# Where files are found


def test_a_path_is_relative_to_the_file_that_says_it(files, tmp_path, monkeypatch, good):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    files(
        {
            "base.toml": good.replace("seed = 0", "seed = 7"),
            "home/in_home.toml": f'extends = "{tmp_path / "base.toml"}"\n',
            "deep/er/child.toml": 'name = "c"\nextends = "../middle.toml"\n',
            "deep/middle.toml": 'extends = "~/in_home.toml"\n',
        }
    )
    assert load_spec("deep/er/child.toml").seed == 7
    monkeypatch.chdir(tmp_path / "home")
    assert load_spec("../deep/er/child.toml").seed == 7


@pytest.mark.parametrize(
    ("base", "parts"),
    [
        ('"bas.toml"', ["bas.toml", "no such spec file", "'base.toml'"]),
        ('"sub/bas.toml"', ["sub/bas.toml", "no such spec file"]),
        ('"base"', ["base", "no such spec file", "'base.toml'"]),
        ('"folder"', ["folder", "is a folder", ".toml file"]),
        ('""', ["is a folder", ".toml file"]),
        ('"broken.toml"', ["broken.toml", "TOML", "line 2, column 8"]),
        ('"latin.toml"', ["latin.toml:2", "0xe9", "UTF-8"]),
        ('"a\\nb.toml"', [r"a\nb.toml", "no such spec file"]),
        ('"a\\u0000b"', ["cannot be read"]),
        ("3", ["3", 'extends = "han_rn.toml"']),
        ('["base.toml"]', ['["base.toml"]', 'extends = "han_rn.toml"']),
    ],
)
def test_what_cannot_be_extended(problems, names, tmp_path, base, parts):
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.toml").write_bytes(b'# ok\nname = "caf\xe9"\n')
    broken = {"broken.toml": 'name = "x"\nseed = \n'}
    (problem,) = problems({**broken, "child.toml": f'name = "c"\n\nextends = {base}\nselector.k = 0\n'})
    names(problem, "child.toml:3: extends", *parts)
    # The line is that of the file which is wrong, however far up.
    files = {"middle.toml": f"extends = {base}\n", "child.toml": 'extends = "middle.toml"\n'}
    (problem,) = problems({**broken, **files})
    names(problem, "middle.toml:1: extends", *parts)
    assert "child.toml" not in problem


def test_circles_are_named(problems, names, tmp_path):
    (problem,) = problems({"child.toml": 'extends = "child.toml"\n'})
    names(problem, "child.toml:1: extends", "circle", "child.toml -> child.toml", "leave")
    (problem,) = problems(
        {
            "child.toml": 'extends = "sub/b.toml"\n',
            "sub/b.toml": '\nextends = "../c.toml"\n',
            "c.toml": '\n\nextends = "sub/b.toml"\n',
        }
    )
    names(problem, "c.toml:3: extends", "circle", "child.toml -> sub/b.toml -> sub/../c.toml -> ")
    (tmp_path / "link.toml").symlink_to("child.toml")
    (problem,) = problems({"child.toml": 'extends = "link.toml"\n'})
    names(problem, "child.toml:1: extends", "circle", "child.toml -> link.toml")


def test_one_file_may_be_the_base_of_many(files):
    files({"child.toml": CHILD, "other.toml": CHILD, "third.toml": 'name = "t"\nextends = "child.toml"\n'})
    assert load_spec("third.toml").selector == load_spec("other.toml").selector


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ('without = ["selector.kk"]', ["'selector.kk'", "base.toml", "'selector.k'"]),
        ('without = ["trin"]', ["'trin'", "base.toml", "'train'"]),
        ('without = "selector.k"', ['"selector.k"', 'without = ["selector.k"]']),
        ("without = [3]", ["'3'", "base.toml"]),
    ],
)
def test_what_cannot_be_left_out(problems, names, good, line, parts):
    base = f"{good}k = 3\n[train]\nlr = 1\n"
    (problem,) = problems({"base.toml": base, "child.toml": f"{CHILD}{line}\nselector.k = 0\n"})
    names(problem, "child.toml:3: without", *parts)


def test_every_key_that_cannot_be_left_out_is_named(problems):
    listed = problems({"child.toml": f'{CHILD}without = ["selector.k", "seed", "selector.way"]\n'})
    assert [line.split(" is not")[0] for line in listed] == [
        "child.toml:3: without: 'selector.k'",
        "child.toml:3: without: 'selector.way'",
    ]


@pytest.mark.parametrize("line", ['extends = "base.toml"', "without = []"])
def test_only_a_file_says_what_it_inherits(problems, names, good, line):
    key = line.split()[0]
    (problem,) = problems({"child.toml": CHILD}, line.replace(" ", ""))
    names(problem, f"--set {key}=", "top of a spec file")
    if key == "without":
        (problem,) = problems({"child.toml": f"{line}\n{good}"})
        names(problem, "child.toml:1: without", "spec file that extends another")


def test_a_mistyped_extends_is_recognised(problems, names):
    names(problems({"child.toml": 'extend = "base.toml"\n'})[0], "child.toml:1: extend", "'extends'")


# Where values come from


def test_problems_have_the_file_and_the_line_of_the_value(problems, good):
    listed = problems(
        {
            "base.toml": good.replace("seed = 0", "seed = -1") + "k = 0\nshare = 0\nsharp = 3\n",
            "middle.toml": 'extends = "base.toml"\n[train]\nlr = true\nstepz = 3\n[selector]\nsharp = 1\n',
            "child.toml": 'name = "c"\nextends = "middle.toml"\nselector = { share = 7 }\neval.split = 3\n',
        },
        "train.epochs=0",
    )
    assert [line.split("; ")[0] for line in listed] == [
        "child.toml:3: selector.share: 7.0 is out of range",
        "child.toml:4: eval.split: found 3",
        "middle.toml:3: train.lr: found true",
        "middle.toml:4: train.stepz: unknown key",
        "middle.toml:6: selector.sharp: found 1",
        "base.toml:2: seed: found -1",
        "base.toml:21: selector.k: 0 is out of range",
        "--set train.epochs=0: 0.0 is out of range",
    ]


def test_a_value_that_is_given_again_is_not_looked_for_in_the_parent(problems, names, good):
    base = good.replace("[selector]", "[selector]\nk = 5")
    # Not at base.toml:20, where another k is.
    (problem,) = problems({"base.toml": base, "child.toml": f"{CHILD}selector = {{ k = 0 }}\n"})
    names(problem, "child.toml:3: selector.k", "0", "at least 1")
    (problem,) = problems({"base.toml": base, "child.toml": f"{CHILD}selector.limit = 3\n"})
    names(problem, "child.toml:3: selector", "limit = 3", "k = 5", "raise limit")
    (problem,) = problems({"base.toml": base, "child.toml": f'{CHILD}without = ["fuser", "fuser.use"]\n'})
    names(problem, "child.toml: fuser", "missing")
    (problem,) = problems({"base.toml": base, "child.toml": f"{CHILD}fuser = 3\n"})
    names(problem, "child.toml:3: fuser", "3", "table")
    (problem,) = problems({"base.toml": base, "child.toml": CHILD}, "selector.limit=3")
    names(problem, "base.toml:19: selector", "limit = 3", "k = 5")


def test_a_component_that_is_unknown_is_named_where_it_is_chosen(problems, names, good):
    wrong = good.replace('[fuser]\nuse = "it"', '[fuser]\nuse = "ti"')
    (problem,) = problems({"base.toml": wrong, "child.toml": f"{CHILD}fuser.width = 3\n"})
    names(problem, "base.toml:14: fuser.use", "unknown fuser 'ti'", "'it'")
    with pytest.raises(SpecError) as error:
        needs("child.toml")
    names(str(error.value), "base.toml:14: fuser.use", "unknown fuser 'ti'", "'it'")


# Sweeps


SWEEP = "[[sweep]]\nselector.k = [4, 0]\n[[sweep]]\nselector.way = ['far']\ntrain.lr = [1]\n"


def test_a_sweep_extends_a_spec(files, good, names):
    files({"base.toml": f"{good}share = 0.25\n", "child.toml": CHILD + SWEEP.replace("0]", "2]")})
    assert is_sweep("child.toml")
    assert not is_sweep("base.toml")
    plan = load_sweep("child.toml", ["selector.label=set"])
    assert [one.spec.name for one in plan.combinations] == [
        "child-k4-seed0",
        "child-k2-seed0",
        "child-seed0",
    ]
    assert [one.spec.selector.options.k for one in plan.combinations] == [4, 2, 8]
    assert {one.spec.selector.options.share for one in plan.combinations} == {0.25}
    assert {one.spec.selector.options.label for one in plan.combinations} == {"set"}
    # As a run alone, it says where the sweep is, and that may be left out.
    with pytest.raises(HacoreError) as error:
        load_spec("child.toml")
    names(str(error.value), "child.toml:3: sweep", "many runs", "--set sweep=none")
    assert load_spec("child.toml", ["sweep=none"]).selector.options.k == 8


@pytest.mark.parametrize(
    ("layout", "line"),
    [(SWEEP, 4), ("sweep = [{ selector.k = [4, 0] }, { selector.way = ['far'], train.lr = [1] }]\n", 3)],
)
def test_a_sweep_and_its_base_have_problems_of_their_own(files, good, names, layout, line):
    base = f"{good}share = 0\n[[sweep]]\nselector.k = [1]\n[[sweep]]\nselector.share = [0.5]\n"
    files({"base.toml": base, "child.toml": CHILD + layout})
    with pytest.raises(SpecError) as error:
        load_sweep("child.toml")
    in_sweep, in_base = str(error.value).splitlines()
    names(in_sweep, f"child.toml:{line}: sweep[1].selector.k", "0", "at least 1")
    names(in_base, "base.toml:21: selector.share", "0.0", "above 0")


def test_a_sweep_is_not_inherited(files, good, names):
    files({"base.toml": good + SWEEP.replace("0]", "2]"), "child.toml": CHILD + "selector.k = 5\n"})
    assert is_sweep("base.toml")
    assert not is_sweep("child.toml")
    assert load_spec("child.toml").selector.options.k == 5
    with pytest.raises(SpecError) as error:
        load_sweep("child.toml")
    names(str(error.value), "child.toml: sweep", "missing", "its own", "selector.k = [4, 8]")
    files({"base.toml": good + SWEEP, "child.toml": CHILD + "[sweep]\nseeds = [3, 4]\n"})
    assert [one.seed for one in load_sweep("child.toml").combinations] == [3, 4]


def test_a_sweep_folder_needs_no_other_file(files, good, tmp_path):
    """Its runs are those of the sweep, with the same names, when the files that it extends have changed."""
    swept = (
        "[[sweep]]\nseeds = [0, 1]\nselector = [{ use = 'it', sizes = [3], label = '\\' }, { use = 'it' }]\n"
        "train.lr = [1e-5, 1]\n[[sweep]]\ntrain.betas = [[0.5, 0.5]]\nselector.k = [1, 3]\n"
    )
    files({"base.toml": f"{good}k = 3\n", "child.toml": CHILD + swept})
    plan = load_sweep("child.toml", ["head.hidden=[4]"])
    (tmp_path / "elsewhere").mkdir()
    copied = tmp_path / "elsewhere" / "sweep.toml"
    copied.write_text(plan.text, encoding="utf-8")
    assert "extends" not in plan.text
    assert load_sweep(copied, ["head.hidden=[4]"]).combinations == plan.combinations
    # As written, where it extends nothing.
    assert load_sweep("base.toml", ["sweep.seeds=[0]"]).text == f"{good}k = 3\n"


@settings(deadline=None, max_examples=50)
@given(st.text(), st.floats(0, 1, exclude_min=True), st.lists(st.integers(1, 9)))
def test_every_value_stays_what_it_is_in_a_sweep_folder(kit, good, tmp_path_factory, label, lr, sizes):
    folder = tmp_path_factory.mktemp("sweep")
    quoted = json.dumps(label, ensure_ascii=False).replace("\x7f", "\\u007f")
    (folder / "base.toml").write_text(f"{good}label = {quoted}\nsizes = {sizes}\n", encoding="utf-8")
    child = f"{CHILD}sweep.train.lr = [{lr!r}]\nsweep.selector = [{{ use = 'it', label = {quoted} }}]\n"
    (folder / "child.toml").write_text(child, encoding="utf-8")
    plan = load_sweep(folder / "child.toml")
    (folder / "copy.toml").write_text(plan.text, encoding="utf-8")
    assert load_sweep(folder / "copy.toml").combinations == plan.combinations
    assert plan.combinations[0].spec.train.lr == lr
    assert plan.combinations[0].spec.selector.options.label == label
    assert tomllib.loads(plan.text)["selector"] == {"use": "it", "label": label, "sizes": sizes}
