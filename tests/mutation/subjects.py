"""What is damaged: small folders that are whole, made once, and the commands that read them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
from harness import Command, Subject

from hacore.cli import main
from hacore.spec import set_values

SPEC = """
name = "small"
seed = 1
data = { use = "sort-of-clevr", images = 30, held_out = 6, validation = 4 }
image_encoder = { use = "small-cnn", channels = [4, 6], strides = [4] }
question_encoder = { use = "lstm", embedding = 8, hidden = 8 }
fuser = { use = "multiply", width = 8 }
selector = { use = "l2-topk", k = 6 }
aggregator = { use = "rn", width = 8 }

[head]
hidden = [16]

[train]
steps = 2
batch_images = 4
threads = 1
processes = 1
warmup_steps = 0
log_steps = 1
precision = "float32"

[eval]
baseline_steps = 1
"""
CPU = ("--device", "cpu")
ALL_OF_RUN = ("spec.toml", "*.json", "metrics.jsonl", "checkpoints/best*", "predictions/*.jsonl")
PACKED = ("--size", "32", "32", "--workers", "1")


@attrs.frozen
class Makers:
    """Makes each subject when it is first asked for. base: where; project: the root of hacore."""

    base: Path
    project: Path

    def all(self) -> dict[str, Callable[[], Subject]]:
        """By name."""
        makers = (
            *(self.specs, self.runs, self.pictures, self.vqa, self.clevr, self.stores, self.scores),
            *(self.templates, self.vectors, self.folders),
        )
        return {make.__name__: cache(make) for make in makers}

    def specs(self) -> Subject:
        """Every file of experiments/, on data that are small wherever they can be."""
        folder = self.base / "specs"
        shutil.copytree(self.project / "experiments", folder / "experiments")
        specs = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.toml"))
        commands = []
        for spec in specs:
            damaged = tuple({spec, *_extended(folder, spec)})
            sweep = "[sweep]" in (folder / spec).read_text() or "[[sweep]]" in (folder / spec).read_text()
            listed = ("sweep", spec, "--dry-run") if sweep else ("run", spec, "--dry-run")
            commands += [Command(words=words, damaged=damaged) for words in (("needs", spec), listed)]
            if spec in ("experiments/han_rn.toml", "experiments/adahan_sum.toml"):
                small = [f"data.{key}" for key in ("images=30", "held_out=6", "validation=4")]
                flags = [word for value in small for word in ("--set", value)]
                commands.append(Command(words=("check", spec, *flags), damaged=damaged, weight=15))
        return Subject(name="specs", folder=folder, commands=tuple(commands))

    def runs(self) -> Subject:
        """A run and another of another k, two that are not finished, and a sweep of the first ones."""
        folder = self.base / "runs"
        _train(folder, "run", "seed=1")
        _command(folder, "eval", "run", "selector.k=3", *CPU)
        _train(folder, "other", "seed=1", "selector.k=4")
        shutil.copytree(folder / "run", folder / "trained")
        (folder / "trained" / "result.json").unlink()
        _interrupt(folder, "unfinished")
        index = [{"name": name, "run": f"../{name}"} for name in ("run", "other")]
        (folder / "sweep").mkdir()
        (folder / "sweep" / "sweep.json").write_text(
            json.dumps({"name": "s", "overrides": [], "runs": index})
        )
        _draw_picture(folder / "scene.png")
        one = tuple(f"run/{pattern}" for pattern in ALL_OF_RUN)
        any_run = (*one, "sweep/sweep.json")
        resumed = (*ALL_OF_RUN, "checkpoints/*")
        commands = (
            Command(
                words=("ask", "run", "scene.png", "is it left?"), damaged=one, writes=("*.png",), weight=2
            ),
            Command(
                words=("eval", "run", *CPU),
                damaged=(*one, "cache/*"),
                writes=("run/predictions/*",),
                weight=2,
            ),
            *(
                Command(
                    words=("run", "--resume", name, *CPU),
                    damaged=(*(f"{name}/{pattern}" for pattern in resumed), "cache/*"),
                    writes=(f"{name}/*",),
                    weight=2,
                )
                for name in ("trained", "unfinished")
            ),
            Command(words=("table", "run", "other", "--choices"), damaged=one, weight=2),
            Command(words=("table", "sweep", "--rows", "selector.k"), damaged=any_run),
            Command(words=("plot", "run", "other", "--output", "plot.svg"), damaged=one),
            Command(words=("report", "run", *CPU), damaged=one, writes=("run/report/*",), weight=2),
            Command(words=("report", "run", "other", *CPU), damaged=one, writes=("comparison.html",)),
            Command(
                words=("compare", "run", "--against", "other", "--resamples", "200"), damaged=one, weight=2
            ),
            Command(
                words=("export", "run", "--format", "torch"),
                damaged=one,
                writes=("run/export/*",),
                weight=0.1,
            ),
            Command(
                words=("run", "small.toml", "--set", "train.init=run", "--runs", "new", "--no-report", *CPU),
                damaged=one,
            ),
            Command(words=serve, damaged=one, weight=2),
        )
        return Subject(name="runs", folder=folder, commands=commands)

    def pictures(self) -> Subject:
        """A picture of each format, to ask about."""
        folder = self.base / "pictures"
        _train(folder, "run", "seed=1")
        commands = []
        for suffix in ("png", "jpg", "webp", "tiff", "gif", "bmp"):
            _draw_picture(folder / f"scene.{suffix}")
            words = ("ask", "run", f"scene.{suffix}", "is it left?", "--no-picture")
            commands.append(Command(words=words, damaged=(f"scene.{suffix}",)))
        return Subject(name="pictures", folder=folder, commands=tuple(commands))

    def vqa(self) -> Subject:
        """The miniature of VQA v2, prepared."""
        from hacore_vqa.miniature import write_v2

        folder = self.base / "vqa"
        write_v2(folder / "official")
        prepare = ("data", "prepare", "vqa-v2", "official", *PACKED, "--subset", "--output")
        _command(folder, *prepare, "pack")
        (folder / "spec.toml").write_text(_spec_of("vqa-v2", "pack"))
        official = ("official/*.json", "official/train2014/*1.jpg", "official/val2014/*")
        run = ("run", "spec.toml", "--runs", "runs", "--no-report", *CPU)
        commands = (
            Command(words=(*prepare, "new"), damaged=official, writes=("new/*",), weight=3),
            Command(words=(*prepare, "pack"), damaged=official, writes=("pack/*",), weight=2),
            Command(words=(*prepare, "pack"), damaged=("pack/*",), writes=("pack/*",)),
            Command(words=("check", "spec.toml"), damaged=("pack/*", "spec.toml"), weight=3),
            Command(words=run, damaged=("pack/*",), weight=1),
        )
        return Subject(name="vqa", folder=folder, commands=commands)

    def clevr(self) -> Subject:
        """The miniature of CLEVR, prepared."""
        folder = self.base / "clevr"
        _module(self.project / "plugins/hacore-clevr/tests/conftest.py").write_official(folder / "official")
        prepare = ("data", "prepare", "clevr", "official", *PACKED, "--output")
        _command(folder, *prepare, "pack")
        (folder / "spec.toml").write_text(_spec_of("clevr", "pack"))
        official = ("official/questions/*", "official/scenes/*", "official/images/*")
        run = ("run", "spec.toml", "--runs", "runs", "--no-report", *CPU)
        commands = (
            Command(words=(*prepare, "new"), damaged=official, writes=("new/*",), weight=2),
            Command(words=(*prepare, "pack"), damaged=official, writes=("pack/*",)),
            Command(words=(*prepare, "pack"), damaged=("pack/*",), writes=("pack/*",)),
            Command(words=("data", "verify", "clevr", "official"), damaged=official, weight=3),
            Command(words=("check", "spec.toml"), damaged=("pack/*", "spec.toml"), weight=2),
            Command(words=run, damaged=("pack/*",), weight=1),
        )
        return Subject(name="clevr", folder=folder, commands=commands)

    def stores(self) -> Subject:
        """A store of features of Sort-of-CLEVR, whole and in the making."""
        import torch
        from torchvision.models import resnet18

        folder = self.base / "stores"
        folder.mkdir()
        torch.manual_seed(0)
        torch.save(resnet18(weights=None).state_dict(), folder / "weights.pth")
        encoder = '{ use = "resnet", depth = 18, stage = 1, weights = "weights.pth" }'
        spec = SPEC.replace('{ use = "small-cnn", channels = [4, 6], strides = [4] }', encoder)
        (folder / "spec.toml").write_text(spec.replace("images = 30", "images = 16"))
        make = ("features", "spec.toml", "--output", "store", *CPU)
        _command(folder, *make)
        check = ("check", "spec.toml", "--set", "features.root=store")
        whole = ("store/*",)
        commands = (
            Command(words=check, damaged=whole, weight=3),
            Command(words=make, damaged=whole, writes=whole),
            Command(words=(*make, "--verify"), damaged=whole, writes=whole),
        )
        return Subject(name="stores", folder=folder, commands=commands)

    def scores(self) -> Subject:
        """Official questions and annotations of VQA, and results."""
        from hacore_vqa.miniature import write_v2

        folder = self.base / "scores"
        write_v2(folder)
        for file in (*folder.glob("*2014"), *folder.glob("*2015")):
            shutil.rmtree(file)
        questions = json.loads((folder / "v2_OpenEnded_mscoco_val2014_questions.json").read_text())
        results = [{"question_id": each["question_id"], "answer": "yes"} for each in questions["questions"]]
        (folder / "results.json").write_text(json.dumps(results))
        names = {
            "questions": "v2_OpenEnded_mscoco_val2014_questions.json",
            "annotations": "v2_mscoco_val2014_annotations.json",
            "results": "results.json",
        }
        flags = tuple(word for option, file in names.items() for word in (f"--{option}", file))
        command = Command(
            words=("score", "vqa", *flags, "--per-question", "each.json"), damaged=(*names.values(),)
        )
        return Subject(name="scores", folder=folder, commands=(command,))

    def templates(self) -> Subject:
        """Templates of CLEVR's questions."""
        from hacore_clevr.generate import templates

        folder = self.base / "templates"
        shutil.copytree(Path(str(templates._OWN)), folder / "templates")
        generate = (
            *("data", "generate", "clevr", "--images", "3", "--questions-per-image", "1", "--packed"),
            *("--size", "16", "16", "--templates", "templates", "--workers", "1", "--output", "new"),
            *("--families", "zero_hop", "--device", "cpu"),
        )
        command = Command(words=generate, damaged=("templates/*.json",), writes=("new/*",))
        return Subject(name="templates", folder=folder, commands=(command,))

    def vectors(self) -> Subject:
        """Word vectors as GloVe has them."""
        vqa = self.vqa_files("vectors")
        text, numbers = "what color are the discs how many is there a red disc ?", range(8)
        lines = [" ".join([word, *(f"{0.1 * place:.3f}" for place in numbers)]) for word in text.split()]
        (vqa / "vectors.txt").write_text("\n".join(lines) + "\n")
        check = ("check", "spec.toml", "--set", "data.word_vectors=vectors.txt")
        return Subject(name="vectors", folder=vqa, commands=(Command(words=check, damaged=("vectors.txt",)),))

    def folders(self) -> Subject:
        """Folders of pictures with a table of each kind, one of them packed, and a model to be asked."""
        drawn = _module(self.project / "plugins/hacore-folder/tests/conftest.py")
        folder, commands = self.base / "folders", []
        for kind in ("csv", "jsonl", "json"):
            drawn.write_table(folder / kind / f"questions.{kind}", drawn.rows_of(folder / kind, 6))
            files, new = (f"{kind}/*",), ("data", "prepare", "folder", kind, *PACKED, "--output", "new")
            commands.append(Command(words=new, damaged=files, writes=("new/*",), weight=2))
        (folder / "spec.toml").write_text(_spec_of("folder", "pack"))
        pack = ("data", "prepare", "folder", "csv", *PACKED, "--output", "pack")
        _command(folder, *pack)
        _train(folder, "run", "seed=1")
        commands += [
            Command(words=pack, damaged=("csv/*",), writes=("pack/*",)),
            Command(words=pack, damaged=("pack/*",), writes=("pack/*",)),
            Command(words=("check", "spec.toml"), damaged=("pack/*",), weight=3),
            Command(words=("predict", "run", "jsonl/questions.jsonl", *CPU), damaged=("jsonl/*",), weight=2),
        ]
        return Subject(name="folders", folder=folder, commands=tuple(commands))

    def vqa_files(self, name: str) -> Path:
        """A folder with a pack of VQA and a spec."""
        from hacore_vqa.miniature import write_v2

        folder = self.base / name
        write_v2(self.base / f"{name}-official")
        folder.mkdir()
        source = str(self.base / f"{name}-official")
        _command(folder, "data", "prepare", "vqa-v2", source, *PACKED, "--subset", "--output", "pack")
        (folder / "spec.toml").write_text(_spec_of("vqa-v2", "pack"))
        return folder


def serve() -> None:
    """What ``hacore serve`` does before it listens."""
    import sys

    from hacore_serve.served import serve_runs
    from hacore_serve.serving import load_runs, offered_examples

    from hacore.errors import HacoreError

    try:
        models = load_runs(("run",), "cpu")
        [model.as_dict() for model in serve_runs(models)]
        offered_examples(models[0], 2)
    except HacoreError as error:
        sys.stderr.write("".join(f"hacore: {line}\n" for line in str(error).splitlines()))
        sys.exit(1)


def _extended(folder: Path, spec: str) -> list[str]:
    """The files that a spec extends, by their paths in the folder."""
    import tomllib

    parents = tomllib.loads((folder / spec).read_text()).get("extends", [])
    files = []
    for parent in [parents] if isinstance(parents, str) else parents:
        path = os.path.normpath(os.path.join(os.path.dirname(spec), parent))
        files += [path, *_extended(folder, path)]
    return files


def _train(folder: Path, name: str, *overrides: str) -> None:
    """A finished run of the small spec, in ``folder/name``."""
    folder.mkdir(exist_ok=True)
    (folder / "small.toml").write_text(SPEC)
    flags = [word for value in overrides for word in ("--set", value)]
    _command(folder, "run", "small.toml", *flags, "--runs", "made", *CPU)
    (made,) = (folder / "made" / "small").iterdir()
    made.rename(folder / name)
    shutil.rmtree(folder / "made")


def _interrupt(folder: Path, name: str) -> None:
    """A run that was stopped in its third step, after a checkpoint."""
    from hacore.runs.metrics import MetricsFile

    write = MetricsFile.write

    def stop(self: MetricsFile, line: Any) -> None:
        if line.step == 3:
            raise KeyboardInterrupt
        write(self, line)

    steps = ("--set", "train.steps=4", "--set", "train.checkpoint_steps=1")
    with mock.patch.object(MetricsFile, "write", stop), contextlib.suppress(AssertionError):
        _command(folder, "run", "small.toml", *steps, "--runs", "stopped", *CPU)
    (made,) = (folder / "stopped" / "small").iterdir()
    made.rename(folder / name)
    shutil.rmtree(folder / "stopped")


def _spec_of(dataset: str, root: str) -> str:
    """The small spec on other data."""
    import tomllib

    from hacore.spec._structure import inline

    table = tomllib.loads(SPEC)
    table["data"] = {"use": dataset, "root": root, "size": [32, 32]}
    set_values(table, ["eval.split=val", "eval.final_split=val", "selector.k=2"])
    return "\n".join(f"{key} = {inline(value)}" for key, value in table.items()) + "\n"


def _command(folder: Path, *words: str) -> None:
    """Run a command that must succeed."""
    error = StringIO()
    before = os.environ.get("HACORE_CACHE")
    os.environ["HACORE_CACHE"] = str(folder / "cache")
    try:
        with chdir(folder), redirect_stdout(StringIO()), redirect_stderr(error):
            main(list(words))
    except SystemExit as left:
        if left.code:
            raise AssertionError(error.getvalue()) from left
    finally:
        os.environ.pop("HACORE_CACHE")
        if before is not None:
            os.environ["HACORE_CACHE"] = before


def _draw_picture(path: Path) -> None:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (75, 75), "white")
    ImageDraw.Draw(picture).ellipse((10, 10, 30, 30), fill="red")
    picture.save(path)


def _module(path: Path):  # type: ignore[no-untyped-def]
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(f"mutation_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
