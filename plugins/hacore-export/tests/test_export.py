"""What was exported computes what the model does, whatever the sizes."""

import itertools
import json
import re
import subprocess
import sys
import textwrap
import unicodedata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hacore_export._formats import TRANSLATIONS
from PIL import Image

import hacore
from hacore.selection import strongest_first

EXPORTING = Path(__file__).resolve().parents[3] / "docs" / "exporting.md"
# Each component at least once; what is combined with what does not matter to a graph.
QUICK = {
    "l2-topk, rn, multiply": {},
    "adahan, non-local, concat": {
        "selector": {"use": "adahan"},
        "aggregator": {"use": "non-local", "heads": 2, "width": 6, "blocks": 2},
        "fuser": {"use": "concat", "width": 10, "layers": 2},
    },
    "soft-attention, sum-pool, add": {
        "selector": {"use": "soft-attention", "hops": 2},
        "aggregator": {"use": "sum-pool"},
        "fuser": {"use": "add", "width": 10},
    },
    "adahan, transformer, film": {
        "selector": {"use": "adahan"},
        "aggregator": {"use": "transformer", "heads": 2, "width": 6},
        "fuser": {"use": "film", "width": 10},
    },
    "l2-topk, mac, multiply": {
        "aggregator": {"use": "mac", "steps": 3, "self_attention": True, "gate": True},
    },
    "scored-topk, sum-pool, multiply": {
        "selector": {"use": "scored-topk", "k": 6},
        "aggregator": {"use": "sum-pool"},
    },
}
SELECTORS = (
    {"use": "l2-topk", "fraction": 0.3},
    {"use": "adahan"},
    {"use": "adahan", "max_cells": 4},
    {"use": "soft-attention"},
    {"use": "all-cells"},
    {"use": "scored-topk", "fraction": 0.3},
    {"use": "gumbel-topk", "k": 4},
    {"use": "perturbed-topk", "k": 4},
    {"use": "sparsemax", "scale": 1000.0},
    {"use": "entmax15", "max_cells": 4},
    {"use": "diverse-k", "k": 4},
    {"use": "diverse-k", "k": 4, "question": True},
)
AGGREGATORS = (
    {"use": "rn", "reduce": "mean", "coordinate_scale": 3.0},
    {"use": "sum-pool"},
    {"use": "non-local"},
    {"use": "transformer"},
    {"use": "mac"},
    {"use": "mac", "elu": True},
)
FUSERS = ({"use": "add"}, {"use": "concat"}, {"use": "multiply"}, {"use": "image-only"}, {"use": "film"})


def random_arrays(images, questions, words, seed):
    """Random input."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (images, 3, 75, 75)).astype(np.uint8)
    lengths = random.integers(1, words + 1, questions)
    lengths[-1] = words
    # What stands in the padding must not matter.
    return pixels, random.integers(0, 20, (questions, words)), lengths, random.integers(0, images, questions)


def onnx_program(file):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    assert names == ["images", "words", "lengths", "image_index"]
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))


def torch_program(file):
    module = torch.export.load(file).module()
    return lambda arrays: [output.numpy() for output in module(*map(torch.from_numpy, arrays))]


def assert_same(run, trained, arrays):
    """The outputs are the model's: numbers up to rounding, kept cells exactly and in their order."""
    with torch.no_grad():
        output = trained.model(*map(torch.from_numpy, arrays))
    selection = output.selection
    logits, kept, valid, presence, weight = run(arrays)
    assert [array.dtype.name for array in (logits, kept, valid, presence, weight)] == [
        *("float32", "int64", "bool", "float32", "float32")
    ]
    np.testing.assert_allclose(logits, output.logits_QA, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(presence, selection.presence_QN, rtol=1e-4, atol=1e-4)
    for q in range(len(logits)):
        counts = slice(None) if selection.valid_QK is None else selection.valid_QK[q]
        assert kept[q][valid[q]].tolist() == selection.index_QK[q][counts].tolist()
        if selection.weight_QK is not None:
            np.testing.assert_allclose(weight[q][valid[q]], selection.weight_QK[q][counts], atol=1e-5)
        else:
            assert weight[q].tolist() == valid[q].tolist()


SIZES = [(1, 1, 1), (1, 9, 4), (4, 2, 30), (6, 33, 7)]


@pytest.fixture(scope="module", params=QUICK)
def exported(request, make, tmp_path_factory):
    """A model and its ONNX file."""
    trained = make(**QUICK[request.param])
    return trained, hacore.export(trained, tmp_path_factory.mktemp("onnx") / "model.onnx")


def test_onnx_is_the_model(exported):
    trained, written = exported
    run = onnx_program(written.file)
    for number, sizes in enumerate(SIZES):
        assert_same(run, trained, random_arrays(*sizes, seed=number))
    assert written.agreement.questions >= 100
    assert written.agreement.other_cells == 0
    assert 0 <= written.agreement.logits < 1e-4 < written.agreement.largest_logit


def test_equal_presences_come_in_the_same_order(tmp_path):
    """Of equal ones the lower index first, as ``strongest_first`` promises on every device."""

    class Order(torch.nn.Module):
        def forward(self, presence):
            return strongest_first(presence)

    example = (torch.rand(3, 7),)
    free = {"presence": {0: torch.export.Dim("questions"), 1: torch.export.Dim("cells")}}
    written = torch.onnx.export(
        torch.export.export(Order(), example, dynamic_shapes=free),
        dynamo=True,
        verbose=False,
        custom_translation_table=TRANSLATIONS,
    )
    written.save(tmp_path / "order.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "order.onnx")
    for cells in (1, 2, 7, 40, 400):
        presence = torch.randint(0, 4, (50, cells), generator=torch.Generator().manual_seed(cells)).float()
        (order,) = session.run(None, {"presence": presence.numpy()})
        assert order.tolist() == strongest_first(presence).tolist()


def test_the_description_has_what_one_needs(exported, names):
    trained, written = exported
    described = json.loads(written.description.read_text(encoding="utf-8"))
    assert written.description.name == "model.onnx.json"
    *words, apart = trained.summary.vocabulary
    assert described["vocabulary"] == [*words, unicodedata.normalize("NFC", apart)]
    assert described["answers"] == list(trained.summary.answers)
    assert described["image"]["size"] == [3, 75, 75]
    names(described["image"]["read"], "EXIF", "white", "257", "hacore.pictures.open_picture")
    assert described["grid"] == [5, 5]
    assert (described["padding"], described["unknown"], described["step"]) == (0, 1, 7)
    assert described["opset"] == written.opset
    assert described["spec"]["selector"]["use"] == trained.spec.selector.use
    model = onnx.load(written.file)
    assert json.loads({entry.key: entry.value for entry in model.metadata_props}["hacore"]) == described
    for name, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        assert {
            value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
            for value in values
        } == {key: tensor["shape"] for key, tensor in described[name].items()}
    kept = {"l2-topk": 5, "adahan": "kept", "soft-attention": 25, "scored-topk": 6}[trained.spec.selector.use]
    assert described["outputs"]["kept"] == {"dtype": "int64", "shape": ["questions", kept]}
    assert described["inputs"]["words"] == {"dtype": "int64", "shape": ["questions", "words"]}


def test_onnx_answers_without_hacore_and_torch(exported, tmp_path):
    trained, written = exported
    image = np.random.default_rng(5).integers(0, 256, (75, 75, 3)).astype(np.uint8)
    questions = ["Is the RED object on the left?", "how many zebras have the same shape as it", "what?"]
    questions += ["Is the caf\u00e9 red?", "Is the CAFE\u0301 red?"]
    np.save(tmp_path / "image.npy", image)
    (tmp_path / "use.py").write_text(
        textwrap.dedent(
            """
            import json, re, sys, unicodedata
            import numpy as np, onnxruntime

            file, *questions = sys.argv[1:]
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            about = json.loads(session.get_modelmeta().custom_metadata_map["hacore"])
            number = {word: n for n, word in enumerate(about["vocabulary"])}
            rule = about["word_rule"]

            def read(question):
                text = unicodedata.normalize(rule["normalize"], question.lower())
                for old, new in rule["replace"].items():
                    text = text.replace(old, new)
                words = re.findall(rule["pattern"], text) or rule["empty"]
                return [number.get(word, about["unknown"]) for word in words]

            read_words = [read(question) for question in questions]
            lengths = np.array([len(numbers) for numbers in read_words])
            words = np.full((len(questions), lengths.max()), about["padding"], np.int64)
            for row, numbers in enumerate(read_words):
                words[row, : len(numbers)] = numbers
            images = np.load("image.npy").transpose(2, 0, 1)[None]
            logits, kept, valid, presence, weight = session.run(
                None,
                {"images": images, "words": words, "lengths": lengths,
                 "image_index": np.zeros(len(questions), np.int64)},
            )
            assert not {"hacore", "torch"} & set(sys.modules)
            print(json.dumps([
                [about["answers"][row.argmax()], cells[counts].tolist()]
                for row, cells, counts in zip(logits, kept, valid)
            ]))
            """
        )
    )
    ran = subprocess.run(
        [sys.executable, "use.py", str(written.file), *questions],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    replies = trained.ask(image, questions)
    assert json.loads(ran.stdout) == [
        [reply.answer, [cell.index for cell in reply.kept]] for reply in replies
    ]
    assert [reply.unknown for reply in replies] == [(), ("zebras", "have", "as"), (), (), ()]


def test_a_torch_program_is_the_model_and_needs_no_hacore(make, tmp_path):
    trained = make(selector={"use": "adahan"})
    written = hacore.export(trained, format="torch")
    assert written.file == trained.folder.path / "export" / "model.pt2"
    run = torch_program(written.file)
    for number, sizes in enumerate(SIZES):
        assert_same(run, trained, random_arrays(*sizes, seed=number))
    arrays = random_arrays(2, 5, 6, seed=9)
    np.savez(tmp_path / "in.npz", *arrays)
    code = (
        "import sys, json, numpy as np, torch\n"
        "files = {'hacore.json': ''}\n"
        "module = torch.export.load(sys.argv[1], extra_files=files).module()\n"
        "outputs = module(*map(torch.from_numpy, np.load(sys.argv[2]).values()))\n"
        "assert 'hacore' not in sys.modules\n"
        "json.dump([outputs[0].tolist(), json.loads(files['hacore.json'])], sys.stdout)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(written.file), str(tmp_path / "in.npz")],
        capture_output=True,
        text=True,
        check=True,
    )
    logits, described = json.loads(ran.stdout)
    np.testing.assert_allclose(logits, run(arrays)[0], rtol=1e-5, atol=1e-6)
    assert described == json.loads(written.description.read_text(encoding="utf-8"))
    assert described["format"] == "torch"
    assert "opset" not in described


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
@pytest.mark.parametrize(
    ("selector", "aggregator", "fuser"),
    list(itertools.product(SELECTORS, AGGREGATORS, FUSERS)),
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_combination_is_the_model(make, selector, aggregator, fuser, format, tmp_path):
    trained = make(selector=selector, aggregator=aggregator, fuser=fuser)
    file = tmp_path / ("model.onnx" if format == "onnx" else "model.pt2")
    hacore.export(trained, file, format=format)
    run = (onnx_program if format == "onnx" else torch_program)(file)
    for number, sizes in enumerate(SIZES):
        assert_same(run, trained, random_arrays(*sizes, seed=number))


@pytest.mark.slow
def test_other_encoders_and_a_pooled_grid(make, tmp_path):
    pytest.importorskip("torchvision")
    trained = make(
        image_encoder={"use": "resnet", "depth": 18, "stage": 2, "pool": [4, 3], "frozen": False},
        question_encoder={"use": "lstm", "layers": 2, "bidirectional": True, "reverse": True},
        features={"pool": [2, 3]},
    )
    file = tmp_path / "model.onnx"
    hacore.export(trained, file, opset=18)
    assert_same(onnx_program(file), trained, random_arrays(3, 8, 6, seed=0))


@pytest.mark.slow
def test_the_benchmark_times_all_three(request):
    program = request.config.rootpath / "benchmarks" / "export.py"
    ran = subprocess.run([sys.executable, program, "--repeats", "1"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    rows = [line.split() for line in ran.stdout.splitlines() if line.split()[:1] in (["han_rn"], ["san"])]
    assert len(rows) == 6
    assert all(int(value.replace(",", "")) > 0 for row in rows for value in row[3:6])


def test_the_example_of_the_docs_answers_as_ask_does(make, tmp_path):
    """About a photograph that lies on its side, without torch."""
    trained = make()
    hacore.export(trained, tmp_path / "model.onnx")
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(3).integers(0, 256, (90, 140, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scene.png", exif=exif)
    example = re.findall(r"```python\n(.*?)```", EXPORTING.read_text(encoding="utf-8"), re.DOTALL)[0]
    example += "import sys\nassert 'torch' not in sys.modules\nprint(logits[0].tolist())\n"
    (tmp_path / "example.py").write_text(example)
    ran = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answer, logits = ran.stdout.splitlines()
    reply = trained.ask(tmp_path / "scene.png", "is the red object on the left?", top=5)
    kept = [divmod(cell.index, 5) for cell in reply.kept]
    assert answer == f"{reply.answers[0].answer} {kept}"
    odds = np.exp(json.loads(logits))
    probability = {item.answer: item.probability for item in reply.answers}
    np.testing.assert_allclose(
        odds / odds.sum(), [probability[name] for name in trained.summary.answers], atol=1e-5
    )
