"""What the programs in benchmarks/ measure with, where a mistake would not be seen in their numbers."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hacore_clevr import GenerateConfig

import hacore
from hacore.data_tools import Silent
from hacore.errors import HacoreError
from hacore.objects import object_cells

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def program(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("selector", ["{ use = 'adahan' }", "{ use = 'soft-attention' }"])
def test_kept_cells_are_counted_question_by_question(tiny, tmp_path, selector):
    spec = hacore.load_spec("experiments/han_sum.toml", [*tiny, f"selector={selector}", "name=kept"])
    folder, result = hacore.run(spec, runs=tmp_path, device="cpu", report=False)
    trained = hacore.load(folder, device="cpu")
    dataset = trained.dataset
    objects, questions = dataset.objects("test"), dataset.questions("test")
    cells_ION = object_cells(torch.from_numpy(objects.boxes_IO4), trained.model.grid).numpy()
    rows = []
    for line in map(json.loads, folder.predictions_file("test").read_text().splitlines()):
        row = questions.ids.tolist().index(line["id"])
        on = [cells_ION[questions.image[row], number] for number in range(6)]
        relevant = [mask for mask, counts in zip(on, objects.relevant_QO[row], strict=True) if counts]
        weights = line.get("weights") or [1.0] * len(line["cells"])
        kept = dict(zip(line["cells"], weights, strict=True))
        total = sum(kept.values())
        shares = []
        for masks in (on, relevant):
            covered = np.any(masks, axis=0)
            shares += [sum(kept[cell] for cell in kept if covered[cell]) / total, covered.mean()]
        hit = any(covered[cell] for cell, weight in kept.items() if weight > 0)
        rows.append([sum(weight > 0 for weight in weights) / len(covered), *shares, hit])
    measured = program("kept_cells").measure(trained)
    np.testing.assert_allclose(measured, np.mean(rows, axis=0), rtol=1e-9)
    assert measured[0] == pytest.approx(result["kept"], abs=0.01)


def test_clevr_s_accuracy_and_kept_objects_are_told_by_length_of_program(tmp_path):
    from hacore_clevr.generate.command import generate

    config = GenerateConfig(images=12, val_images=6, test_images=1, packed=True, size=(32, 32), workers=1,
                            device="cpu", output=str(tmp_path / "data"))  # fmt: skip
    assert not generate(config, Silent()).problems
    small = [f"data.root={tmp_path / 'data'}", "data.size=[32, 32]", "selector.k=2", "train.epochs=1"]
    cheap = ["eval.baseline_steps=1", "eval.split=val", "eval.final_split=val", "data.dev_images=0"]
    spec = hacore.load_spec("experiments/clevr/small/han_sum.toml", [*small, *cheap])
    folder, result = hacore.run(spec, runs=tmp_path, device="cpu", report=False)
    trained = hacore.load(folder, device="cpu")
    dataset, (rows, columns) = trained.dataset, trained.model.grid
    objects, questions = dataset.objects("val"), dataset.questions("val")
    lengths = dict(zip(questions.ids.tolist(), dataset.program_steps("val").tolist(), strict=True))
    numbers = {number: row for row, number in enumerate(questions.ids.tolist())}
    by_column = [[] for _ in range(5)]
    for line in map(json.loads, folder.predictions_file("val").read_text().splitlines()):
        row = numbers[line["id"]]
        visited = []
        for box in objects.boxes_IO4[questions.image[row]][objects.relevant_QO[row]]:
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            visited.append(int(y * rows) * columns + int(x * columns) in line["cells"])
        kept = sum(visited) / len(visited) if visited else 1
        length = lengths[line["id"]]
        column = 0 if length < 7 else 1 if length < 10 else 2 if length < 14 else 3 if length < 17 else 4
        by_column[column].append([line["score"], line["kept"] / (rows * columns), kept])
    assert sum(map(len, by_column)) == 60
    by_column.append([values for part in by_column for values in part])
    means = [np.mean(part, axis=0) if part else [np.nan] * 3 for part in by_column]
    measured = program("clevr_programs").measure(trained)
    np.testing.assert_allclose(measured, np.transpose(means), rtol=1e-9)
    assert measured[0, -1] == pytest.approx(result["accuracy"], abs=1e-4)
    assert 0 < measured[2, -1] < 1


def test_questions_that_another_rule_answers_otherwise_are_counted(capsys):
    from hacore_sort_of_clevr import Config
    from hacore_sort_of_clevr.dataset import SortOfClevr

    config = Config(images=150, held_out=20, validation=30, questions=36)
    data = SortOfClevr(config)
    own = changed = 0
    for split in data.splits:
        for image in range(len(data.images(split))):
            scene = data.scene(split, image)
            for me in scene:
                far = [((thing.x - me.x) ** 2 + (thing.y - me.y) ** 2, thing.shape) for thing in scene]
                distance, shape = min(pair for pair in far if pair[0] > 0)
                own += distance > 999
                changed += distance > 999 and shape != me.shape
    assert program("closest").count(config) == (150 * 6, own, changed)
    program("closest").main(["--images", "500"])
    assert "questions about the closest object" in capsys.readouterr().out


def test_no_program_has_the_name_of_a_standard_module():
    """Its folder is searched first when it runs, by itself and by all that it starts."""
    assert not {path.stem for path in BENCHMARKS.glob("*.py")} & sys.stdlib_module_names


def test_predictions_of_before_have_no_cells():
    trained = hacore.load(Path(__file__).parent / "earlier" / "han", device="cpu")
    with pytest.raises(HacoreError, match="run hacore eval"):
        program("kept_cells").measure(trained)


def test_costs_of_selectors_are_those_of_the_runs(tiny, tmp_path, capsys):
    results = {}
    for selector in ("{ use = 'l2-topk', k = 5 }", "{ use = 'oracle-k', k = 5 }", "{ use = 'all-cells' }"):
        spec = hacore.load_spec("experiments/han_sum.toml", [*tiny, f"selector={selector}"])
        _, result = hacore.run(spec, runs=tmp_path / "runs", device="cpu", report=False)
        results[spec.selector.use] = result
    threads = torch.get_num_threads()
    record = tmp_path / "costs.json"
    arguments = ["--rows", "selector.use", "--repeats", "2", "--json", str(record)]
    folder = str(tmp_path / "runs" / "han_sum")
    assert program("selector_costs").main([folder, *arguments, "--against", "all-cells"]) == 0
    torch.set_num_threads(threads)
    rows = {row["row"]["selector.use"]: row for row in json.loads(record.read_text())["rows"]}
    assert rows.keys() == results.keys()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in lines}) == 1
    for name, row in rows.items():
        assert min(row["step_ms"], row["answer_us"]) > 0
        assert row["step_ratio"] == pytest.approx(row["step_ms"] / rows["all-cells"]["step_ms"])
        (line,) = [line for line in lines if line.startswith((f"| {name} |", f"| {name} ("))]
        shown = [cell.strip(" *") for cell in line.split("|")[2:-1]]
        assert shown[0] == f"{100 * results[name].accuracy:.1f}"
        assert shown[2].replace(",", "") == str(results[name].multiply_adds)
        assert shown[3:] == [f"{row['step_ratio']:.2f}", f"{row['answer_ratio']:.2f}"]
    with pytest.raises(SystemExit, match="all-cells"):
        program("selector_costs").main([folder, "--rows", "selector.use", "--against", "none"])


@pytest.mark.slow
def test_what_a_gpu_can_say_is_one_file_and_is_not_measured_twice(tmp_path):
    command = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", "--quick", "--folder", "runs"]
    command += ["--output", "gpu.json"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    text = (tmp_path / "gpu.json").read_text()
    assert len(text) < 10_000
    report = json.loads(text)
    assert report["torch"] == torch.__version__
    assert {"device_name", "driver", "python", "command", "git_revision"} <= report.keys()
    parts = report["parts"]
    assert [parts[name]["state"] for name in ("tests", "bench", "speedrun")] == ["done"] * 3
    assert parts["tests"]["passed"] + parts["tests"]["skipped"] > 0
    assert parts["tests"]["failing"] == []
    assert set(parts["bench"]["models"]) == {"clevr/han_rn float32", "clevr/han_rn bfloat16"}
    batches = parts["bench"]["models"]["clevr/han_rn float32"]["batches"]
    assert set(batches) == {"own 2", "all-cells 2"}
    assert batches["own 2"]["multiply_adds"] < batches["all-cells 2"]["multiply_adds"]
    assert parts["speedrun"]["progress"]["step"] > 0
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert again.stdout.count("done by an earlier call") == 3
    assert json.loads((tmp_path / "gpu.json").read_text())["parts"] == parts


@pytest.mark.slow
def test_the_speed_run_goes_on_where_it_stopped_until_the_last_stage(tmp_path):
    command = [sys.executable, BENCHMARKS / "clevr_speedrun.py", "--folder", tmp_path, "--device", "cpu"]
    command += ["--images", "60", "--set", "train.epochs=1", "--set", "train.batch_images=8"]
    command += ["--set", "eval.every_epochs=1", "--set", "eval.baseline_steps=2"]
    stopped = subprocess.run([*command, "--minutes", "0.3"], capture_output=True, text=True, check=True)
    assert "time is up" in stopped.stdout
    early = json.loads((tmp_path / "speedrun.json").read_text())
    assert early["data_seconds"] > 0
    subprocess.run(command, capture_output=True, text=True, check=True)
    state = json.loads((tmp_path / "speedrun.json").read_text())
    stages = [stage.name for stage in program("clevr_speedrun").STAGES]
    assert list(state["runs"]) == stages
    assert set(stages) < set(state["stage_seconds"])
    assert state["seconds"] == pytest.approx(state["data_seconds"] + sum(state["stage_seconds"].values()))
    assert state["seconds"] > early["data_seconds"]
    assert state["result"]["split"] == "test"
    assert state["rungs"].keys() == {"93.6", "96.8", "98.8"}
    chosen = hacore.load(state["runs"][stages[-1]], device="cpu").spec
    assert (chosen.eval.split, chosen.eval.final_split) == ("dev", "test")


def test_a_part_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    gpu = program("gpu")

    def fails(session, part):
        session.run([sys.executable, "-c", "import sys; sys.exit('no luck')"], 1)

    def too_long(session, part):
        session.run([sys.executable, "-c", "import time; time.sleep(60)"], 1 / 30)

    def works(session, part):
        part["found"] = 3

    monkeypatch.setattr(gpu, "PARTS", {"tests": fails, "bench": too_long, "speedrun": works})
    output = tmp_path / "gpu.json"
    command = ["gpu.py", "--device", "cpu", "--folder", str(tmp_path / "runs"), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", command)
    assert gpu.main() == 1
    parts = json.loads(output.read_text())["parts"]
    assert "no luck" in parts["tests"]["state"]
    assert "stopped after 2 s" in parts["bench"]["state"]
    assert (parts["speedrun"]["state"], parts["speedrun"]["found"]) == ("done", 3)
    monkeypatch.setattr(gpu, "PARTS", {"tests": works, "bench": fails, "speedrun": fails})
    monkeypatch.setattr(sys, "argv", [*command, "--parts", "tests,speedrun"])
    assert gpu.main() == 0
    parts = json.loads(output.read_text())["parts"]
    assert parts["tests"]["state"] == parts["speedrun"]["state"] == "done"
    assert "stopped" in parts["bench"]["state"]


def test_without_a_gpu_it_says_how_to_try_the_program(tmp_path, monkeypatch, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--folder", str(tmp_path), "--output", str(tmp_path / "a")])
    assert program("gpu").main() == 1
    assert "--device cpu --quick" in capsys.readouterr().err


def test_the_tests_that_need_a_gpu_are_found(tmp_path):
    test = tmp_path / "test_some.py"
    test.write_text(
        "import pytest\n"
        "@pytest.mark.skipif(False, reason='no CUDA device')\ndef test_one(): pass\n"
        "@pytest.mark.skipif(False, reason='needs a GPU')\ndef test_two(): assert 0\n"
        "@pytest.mark.skipif(True, reason='needs a GPU')\ndef test_three(): pass\n"
        "@pytest.mark.skipif(False, reason='needs bash')\ndef test_four(): assert 0\n"
        "def test_five(): assert 0\n"
    )
    (tmp_path / "test_broken.py").write_text("import nothing_of_this_name\n")
    command = [sys.executable, BENCHMARKS / "gpu.py", "--pytest", "found.json", "."]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    failing = found.pop("failing")
    assert found == {"passed": 1, "failed": 2, "skipped": 1}
    assert sorted(failing) == ["test_broken.py", "test_some.py::test_two"]


def test_performance_measures_both_ways_in_processes_of_their_own(tmp_path):
    output = tmp_path / "performance.json"
    program = BENCHMARKS / "performance.py"
    command = [sys.executable, program, "--quick", "--only", "lstm", "--output", output]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(output.read_text())["rows"]
    assert all(row["now"] > 0 for row in rows)
    assert {row["row"].split()[-1] for row in rows} == {"hacore", "packed"}


@pytest.mark.slow
def test_all_parts_of_performance_and_an_earlier_revision(tmp_path):
    output = tmp_path / "performance.json"
    command = [
        sys.executable,
        BENCHMARKS / "performance.py",
        "--quick",
        "--against",
        "HEAD",
        "--output",
        output,
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(output.read_text())["rows"]
    assert {row["part"] for row in rows} == {"products", "rn", "lstm", "attention", "steps"}
    own = [row for row in rows if row["row"].endswith("hacore")]
    assert all(row["before"] > 0 and row["before/now"] > 0 for row in own)


def test_a_pruned_transformer_is_its_blocks_one_after_the_other():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model("test_vit").eval()
    images = torch.randn(3, *network.pretrained_cfg["input_size"])
    with torch.no_grad():
        tokens = network.norm_pre(network._pos_embed(network.patch_embed(images)))
        for block in network.blocks[:2]:
            tokens = block(tokens)
        first, patches = tokens.split([network.num_prefix_tokens, network.patch_embed.num_patches], 1)
        order = patches.square().sum(2).argsort(1, descending=True)[:, :10]
        kept = torch.stack([one[index] for one, index in zip(patches, order, strict=True)])
        tokens = torch.cat([first, kept], 1)
        for block in network.blocks[2:]:
            tokens = block(tokens)
        expected = network.forward_head(network.norm(tokens))
        before = network(images)
        own = program("token_pruning").pruned(network, 2, "l2-topk", k=10)(images)
        torch.testing.assert_close(own, expected)
        assert not torch.allclose(own, before, rtol=1e-3)
        assert torch.equal(network(images), before)


def test_pruning_is_measured_against_the_whole_network(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    threads = torch.get_num_threads()
    output = tmp_path / "pruning.json"
    monkeypatch.setattr(sys, "argv", ["token_pruning.py", "--quick", "--output", str(output)])
    program("token_pruning").main()
    torch.set_num_threads(threads)
    rows = json.loads(output.read_text())["rows"]
    cases = {(row["batch"], row["selector"], row["share"]) for row in rows}
    selectors = ("l2-topk", "diverse-k", "random-k")
    assert cases == {(b, s, share) for b in (1, 2) for s in selectors for share in (0.25, 0.5)}
    for row in rows:
        assert min(row["whole_ms"], row["pruned_ms"], row["select"]) > 0
        assert row["faster"] == sorted(row["faster"])
        # A sixth of the blocks sees all tokens, the others a half or a quarter of them.
        assert 1 < row["arithmetic"] < (3 if row["share"] == 0.25 else 1.8)
