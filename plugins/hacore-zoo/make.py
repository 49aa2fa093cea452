"""Makes a model of the zoo by its committed spec, with where it is from and pictures to try it on.

    python plugins/hacore-zoo/make.py han_rn
    python plugins/hacore-zoo/make.py han_rn --run runs/han_rn/20260101-120000-abc123   # a finished run of it

Writes plugins/hacore-zoo/hacore_zoo/NAME. The weights are those of the run's best checkpoint, without what
only training needs.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from hacore_zoo.shelf import ORIGIN
from PIL import Image

import hacore
from hacore.errors import RunError
from hacore.machine.files import load_tensors, read_json, save_tensors, write_json, write_whole
from hacore.measure.reading import question_text
from hacore.runs import RunFolder
from hacore.runs.places import same_experiment
from hacore.runs.trained import Trained
from hacore.spec import load_spec

ROOT = Path(__file__).parents[2]
LARGEST = 5_000_000  # bytes of a model
CERTAIN = 0.8  # probability above which an answer does not hang on the rounding of another machine
PICTURES, QUESTIONS = 3, 3


@attrs.frozen(kw_only=True)
class Recipe:
    """spec: within the repository. overrides: of it. licence: the package that has the pictures' LICENSE."""

    spec: str
    overrides: tuple[str, ...] = ()
    licence: str = ""


RECIPES = {
    "han_rn": Recipe(spec="experiments/han_rn.toml", overrides=("seed=1",)),
    "adahan_rn": Recipe(spec="experiments/adahan_rn.toml"),
    "clevr": Recipe(spec="experiments/clevr/han_mac_words.toml"),
    "easy_vqa": Recipe(spec="experiments/easy_vqa/han_sum.toml", licence="easy-vqa"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=[*RECIPES])
    parser.add_argument("--run", help="a finished run of the spec, instead of a training")
    parser.add_argument("--runs", default="runs", help="where the training leaves its run folder")
    parser.add_argument("--output", help="default: the folder of the package")
    given = parser.parse_args()
    recipe = RECIPES[given.name]
    spec = load_spec(ROOT / recipe.spec, recipe.overrides)
    if given.run:
        folder = RunFolder.open(given.run)
        same_experiment(folder, spec)
    else:
        folder, _ = hacore.run(spec, runs=given.runs)
    target = Path(given.output or Path(__file__).parent / "hacore_zoo" / given.name)
    write_model(folder, recipe, given.name, target)
    print(f"wrote {target}")


def write_model(folder: RunFolder, recipe: Recipe, name: str, target: Path) -> None:
    """Writes the model of a finished run to the folder ``target``; what is there goes.

    RunError for a run that is not finished, and for a model of more than ``LARGEST`` bytes.
    """
    folder.result()  # says what to do where it is not finished
    shutil.rmtree(target, ignore_errors=True)
    (target / "checkpoints").mkdir(parents=True)
    for file in (folder.spec_file, folder.inputs_file, folder.result_file):
        shutil.copyfile(file, target / file.name)
    environment = read_json(folder.environment_file, "run the spec again")
    # How it was called may hold paths of the machine.
    environment["command"] = ["python", "plugins/hacore-zoo/make.py", name]
    write_json(target / folder.environment_file.name, environment)
    _write_weights(folder, target)
    trained = hacore.load(target, device="cpu")
    time = datetime.datetime.fromtimestamp(folder.result_file.stat().st_mtime)
    origin = {
        "spec": recipe.spec,
        "overrides": list(recipe.overrides),
        "date": time.date().isoformat(),
        "examples": _write_examples(trained, target / "examples"),
    }
    write_json(target / ORIGIN, origin)
    if recipe.licence:
        text = distribution(recipe.licence).read_text("LICENSE")
        write_whole(target / "examples" / "LICENSE", str(text).encode())
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if size > LARGEST:
        raise RunError(f"{target}: has {size:,} bytes; a model of the zoo has at most {LARGEST:,}")


def _write_weights(folder: RunFolder, target: Path) -> None:
    tensors, state = load_tensors(folder.checkpoint())
    weights = {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}
    kept = {key: state[key] for key in ("step", "best", "precision") if key in state}
    save_tensors(RunFolder(target).best, weights, kept)


def _write_examples(trained: Trained, folder: Path) -> list[dict[str, Any]]:
    """The first pictures of the final split, each with questions of other types, answered with certainty."""
    folder.mkdir()
    dataset, split = trained.dataset, trained.spec.eval.final_split
    asked, types = dataset.questions(split), len(dataset.question_types)
    examples = []
    for number, pixels in enumerate(dataset.images(split)[:PICTURES]):
        picture = folder / f"{number + 1}.png"
        Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(picture, optimize=True)
        rows = np.flatnonzero(asked.image == number)
        # Each picture begins with another type.
        order = sorted(rows, key=lambda row: int((asked.type[row] - number * QUESTIONS) % types))
        of_type: dict[int, dict[str, Any]] = {}
        for row in order:
            words = asked.words[asked.offsets[row] : asked.offsets[row + 1]]
            question = question_text([dataset.vocabulary[word] for word in words])
            best = trained.ask(picture, question).answers[0]
            if best.probability > CERTAIN:
                example = {
                    "picture": f"{folder.name}/{picture.name}",
                    "question": question,
                    "answer": best.answer,
                    "right": dataset.answers[asked.answer[row]],
                }
                of_type.setdefault(int(asked.type[row]), example)
        examples += [*of_type.values()][:QUESTIONS]
    return examples


if __name__ == "__main__":
    main()
