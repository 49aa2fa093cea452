"""How far generated CLEVR pictures are from originals, scene by scene, and numbers that bring them nearer.

    python benchmarks/clevr_look.py ORIGINALS                          # the differences
    python benchmarks/clevr_look.py ORIGINALS --fit 400 --json look.json     # fit, then the differences
    python benchmarks/clevr_look.py ORIGINALS --again FOLDER            # also writes the scenes drawn again

ORIGINALS: a folder in the official layout, images/SPLIT and scenes/CLEVR_SPLIT_scenes.json. Every scene is
drawn again: with the camera that its ``pixel_coords`` tell, and with the lamps where they explain the picture
best. Two thirds of the pictures take part in the fit, of places of lamps apart; differences are printed for
the others too, in levels of 255. ``--fit`` starts at the numbers of the package and prints new ones for
``hacore_clevr/generate/look.py`` and ``lamps.py``. The originals' ``rotation`` is an angle in radians.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from hacore_clevr import camera
from hacore_clevr.domain import COLORS, MATERIALS, SHAPES, SIZES
from hacore_clevr.generate import lamps, look, raster, render, shading, shadows, shapes
from hacore_clevr.generate.layout import LIGHT_JITTER, LIGHTS, Objects, Views
from hacore_clevr.generate.stage import Stage, make_stage
from hacore_clevr.generate.tracing import locate
from hacore_clevr.generate.vectors import Vec
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

SIZE = (160, 240)
"""At which pictures are compared."""
SAMPLES = 150
"""Pixels of each picture in a step of the fit."""
WEIGHTS = torch.tensor([0.5, 4.0, 4.0])
"""How often a pixel of the ground, of rubber and of metal is drawn."""
EPSILON = 1e-6

LOOK = [
    "SKY",
    "GLOW",
    "SKY_DIMMING",
    "RUBBER_SHINE",
    "RUBBER_WIDTH",
    "METAL_WIDTH",
    "METAL_MATTE",
    "METAL_TOP",
    "METAL_IN_METAL",
    "GROUND_IN_METAL",
    "FAR_GROUND",
    "WORLD",
    "HORIZON",
    "HORIZON_WIDTH",
]
SHAPE = ("CUBE_BEVEL", "CYLINDER_BEVEL")
"""Outlines keep those of the package."""
LAMP = ("color", "radius", "disc", "edge", "shine")
RATES = {
    "offsets": 0.03,
    "lights": 0.005,
    "edge": 0.0003,
    "shine": 0.03,
    "disc": 0.03,
    "color": 0.01,
    "CUBE_BEVEL": 0.002,
    "CYLINDER_BEVEL": 0.002,
}
"""Step sizes of Adam; of all others 0.004."""


def read_scenes(folder: Path, split: str) -> list[dict[str, Any]]:
    text = (folder / f"scenes/CLEVR_{split}_scenes.json").read_text(encoding="utf-8")
    scenes: list[dict[str, Any]] = json.loads(text)["scenes"]
    return [scene for scene in scenes if (folder / "images" / split / scene["image_filename"]).is_file()]


def read_pictures(folder: Path, split: str, scenes: list[dict[str, Any]], size: tuple[int, int]) -> Tensor:
    """(I, 3, H, W) in [0, 255], averaged as light is."""
    pictures = []
    for scene in scenes:
        with Image.open(folder / "images" / split / scene["image_filename"]) as image:
            pixels = np.asarray(image.convert("RGB"), np.float32) / 255
        pictures.append(torch.from_numpy(pixels).permute(2, 0, 1))
    return shading.displayed(torch.nn.functional.adaptive_avg_pool2d(linear(torch.stack(pictures)), size))


def linear(displayed: Tensor) -> Tensor:
    """Values in [0, 1] of sRGB -> light."""
    return torch.where(displayed <= 0.04045, displayed / 12.92, ((displayed + 0.055) / 1.055) ** 2.4)


def camera_of(scene: dict[str, Any]) -> tuple[np.ndarray, float]:
    """Where the camera stood, by Gauss and Newton, and the largest error in pixels."""
    points = np.array([thing["3d_coords"] for thing in scene["objects"]])
    # Pixels are whole numbers, depths are exact.
    given, weights = np.array([thing["pixel_coords"] for thing in scene["objects"]]), np.array([1, 1, 300])

    def errors(position: np.ndarray) -> np.ndarray:
        return np.asarray(((camera.project(points[None], position[None])[0] - given) * weights).ravel())

    position = np.array(camera.POSITION)
    for _ in range(10):
        now = errors(position)
        slopes = [(errors(position + step) - now) / EPSILON for step in np.eye(3) * EPSILON]
        position = position - np.linalg.lstsq(np.stack(slopes, 1), now, rcond=None)[0]
    return position, float(np.abs(errors(position).reshape(-1, 3)[:, :2]).max())


def columns(scenes: list[dict[str, Any]]) -> tuple[Views, Objects, list[float]]:
    """Scenes as the renderer takes them, lamps unmoved, and the errors of their cameras."""
    cameras = [camera_of(scene) for scene in scenes]
    count = np.array([len(scene["objects"]) for scene in scenes])
    shape = (len(scenes), int(count.max()))
    named = {"size": SIZES, "shape": SHAPES, "material": MATERIALS, "color": COLORS}
    tables = {name: np.zeros(shape, np.int64) for name in named}
    places, turns = np.zeros((*shape, 2)), np.zeros(shape)
    for row, scene in enumerate(scenes):
        for place, thing in enumerate(scene["objects"]):
            for name, values in named.items():
                tables[name][row, place] = values.index(thing[name])
            places[row, place] = thing["3d_coords"][:2]
            turns[row, place] = np.rad2deg(thing["rotation"]) % 360
    views = Views(
        count_I=count,
        camera_I3=np.stack([position for position, _ in cameras]),
        lights_I33=np.tile(np.array(LIGHTS), (len(scenes), 1, 1)),
    )
    objects = Objects(
        **{f"{name}_IO": table for name, table in tables.items()}, xy_IO2=places, rotation_IO=turns
    )
    return views, objects, [error for _, error in cameras]


@attrs.frozen(kw_only=True, eq=False)
class Pixels:
    """What pixels show whose four rays meet one face or the ground; P of each of I scenes.

    kind_IP: 0 ground, 1 rubber, 2 metal, -1 for other pixels. own_IP: row of the object, -1 for the ground.
    """

    stage: Stage
    kind_IP: Tensor
    own_IP: Tensor

    @classmethod
    def of(cls, views: Views, objects: Objects) -> Pixels:
        stage = make_stage(views, objects)
        each = SIZE[0] * SIZE[1]
        kind, own = torch.zeros(len(views) * each), torch.full((len(views) * each,), -1)
        for row in range(len(views)):
            here = make_stage(views.take(np.array([row])), objects.take(np.array([row])))
            pixel_T, keys_4T = raster.surfaces(here, SIZE, render.PLACES)
            surface = raster.surface_of(keys_4T)
            place = torch.where((surface == surface[0]).all(0), raster.place_of(keys_4T[0]), -2)
            metal = here.metal_B[place.clamp(min=0)].long()
            pixel_T = pixel_T + row * each
            kind[pixel_T] = torch.where(place >= 0, 1 + metal, place + 1).float()
            own[pixel_T] = torch.where(place >= 0, row * stage.places + place, -1)
        return cls(stage=stage, kind_IP=kind.long().view(-1, each), own_IP=own.view(-1, each))

    def draw(self) -> tuple[Tensor, Tensor]:
        """Some pixels of each scene, (I * SAMPLES,) each: numbers among all pixels, and of the scene."""
        chances = torch.where(self.kind_IP < 0, 0.0, WEIGHTS[self.kind_IP.clamp(min=0)])
        chosen = torch.multinomial(chances, SAMPLES, replacement=True)
        image = torch.arange(len(chosen))
        pixel = chosen + image[:, None] * chances.shape[1]
        return pixel.flatten(), image.repeat_interleave(SAMPLES)


class Numbers:
    """All numbers that are fitted, as parameters, and the package with them in place of its own."""

    def __init__(self, scenes: int) -> None:
        start: dict[str, Any] = {name: getattr(look, name) for name in LOOK}
        start |= {name: getattr(shapes, name) for name in SHAPE}
        start |= {name: [getattr(lamp, name) for lamp in lamps.LAMPS] for name in LAMP}
        start |= {"axis": [lamp.axis for lamp in lamps.LAMPS if lamp.axis], "sun": lamps.SUN}
        start |= {"tints": look.TINTS, "lights": LIGHTS, "offsets": np.zeros((scenes, 3, 3))}
        self.all = {
            name: torch.tensor(np.asarray(value), dtype=torch.float32, requires_grad=True)
            for name, value in start.items()
        }

    def shared(self) -> list[str]:
        return [name for name in self.all if name != "offsets"]

    def places(self) -> Tensor:
        """(I, 3, 3): of the lamps."""
        return self.all["lights"] + self.all["offsets"].clamp(-LIGHT_JITTER, LIGHT_JITTER)

    def stage(self, stage: Stage, objects: Objects) -> Stage:
        """Its lamps and tints by these numbers."""
        tint_B3 = self.all["tints"][torch.from_numpy(objects.material_IO), torch.from_numpy(objects.color_IO)]
        lights = tuple(Vec(*self.places()[:, lamp].unbind(1)) for lamp in range(3))
        return attrs.evolve(stage, tint=Vec(*tint_B3.reshape(-1, 3).unbind(1)), lights=lights)

    def _lamps(self) -> tuple[lamps.Lamp, ...]:
        axes = [*(axis / axis.norm() for axis in self.all["axis"]), None]
        return tuple(
            attrs.evolve(lamp, axis=axes[row], **{name: self.all[name][row] for name in LAMP})
            for row, lamp in enumerate(lamps.LAMPS)
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        sun = self.all["sun"] / self.all["sun"].norm()
        changed = [(look, name, self.all[name]) for name in LOOK]
        changed += [(shapes, name, self.all[name]) for name in SHAPE]
        changed += [(module, "LAMPS", self._lamps()) for module in (lamps, shading, shadows)]
        changed += [(module, "SUN", sun) for module in (lamps, shadows)]
        changed += [(shadows, "SKY_DIMMING", self.all["SKY_DIMMING"])]
        before = [(module, name, getattr(module, name)) for module, name, _ in changed]
        try:
            for module, name, value in changed:
                setattr(module, name, value)
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)


def shown(stage: Stage, pixels: Pixels, pixel: Tensor) -> Tensor:
    """(R, 3) linear colours of some pixels."""
    own = pixels.own_IP.view(-1)[pixel]
    image, left, top = raster.pixel_places(stage, pixel, SIZE)
    eye, view = stage.rays(image, (left + 0.5) / SIZE[1], (top + 0.5) / SIZE[0])
    surface = locate(stage, eye, view, image, own)
    rows, others = (own >= 0).nonzero().squeeze(1), (own < 0).nonzero().squeeze(1)
    ground = surface.take(others)
    pairs = shadows.others(stage, ground.image_R, ground.own_R)
    colors = torch.zeros(len(pixel), 3)
    light = shading.light_on(stage, ground, [pairs] * len(lamps.LAMPS)).total
    colors = colors.index_copy(0, others, torch.stack(light.parts, 1))
    objects = shading.shade(stage, surface.take(rows), view.take(rows))
    return colors.index_copy(0, rows, torch.stack(objects.parts, 1))


def fit(
    numbers: Numbers,
    pixels: Pixels,
    objects: Objects,
    told_P3: Tensor,
    steps: int,
    shared: bool,
    tell: Console,
) -> None:
    """Places of lamps, from all pictures, and the shared numbers from those that take part."""
    names = [*(numbers.shared() if shared else ()), "offsets"]
    groups = [{"params": [numbers.all[name]], "lr": RATES.get(name, 0.004)} for name in names]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in groups], total_steps=steps, pct_start=0.1
    )
    for step in range(steps):
        pixel, image = pixels.draw()
        with numbers.in_place():
            colors = shown(numbers.stage(pixels.stage, objects), pixels, pixel)
        error = colors.clamp(1e-4, 1).sqrt() - linear(told_P3[pixel] / 255).clamp(1e-4, 1).sqrt()
        each = (error * error + 1e-4).sqrt().mean(1)
        # A picture that does not take part only tells where its own lamps are.
        learn = takes_part(image) if shared else torch.ones_like(image, dtype=torch.bool)
        optimizer.zero_grad()
        each[learn].mean().backward()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                # Where a root is 0 it has no slope.
                parameter.grad.nan_to_num_(0, 0, 0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            tell.print(f"step {step + 1}: {255 * float(error.detach().abs().mean()):.2f} levels")


def takes_part(image: Tensor) -> Tensor:
    """Two of three pictures do."""
    return image % 3 != 2


def constants(numbers: Numbers) -> dict[str, Any]:
    """The shared numbers, rounded, by the names that the package has for them."""

    def rounded(value: Any) -> Any:
        return [rounded(part) for part in value] if isinstance(value, list) else float(f"{value:.4g}")

    named = {name: rounded(numbers.all[name].tolist()) for name in numbers.shared()}
    named["sun"] = rounded((numbers.all["sun"] / numbers.all["sun"].norm()).tolist())
    named["axis"] = rounded([(axis / axis.norm()).tolist() for axis in numbers.all["axis"]])
    offsets = numbers.all["offsets"].clamp(-LIGHT_JITTER, LIGHT_JITTER)
    named["spread of the offsets"] = rounded(offsets.std(0).tolist())
    return named


def differences(views: Views, objects: Objects, told_IP3: Tensor, drawn_IP3: Tensor, tell: Console) -> None:
    """Tables: by what a pixel shows, and by colour and material, with the means of both."""
    pixels = Pixels.of(views, objects)
    own = pixels.own_IP
    shape, metal = pixels.stage.shape_B[own.clamp(min=0)], pixels.kind_IP == 2
    color = torch.from_numpy(objects.color_IO).flatten()[own.clamp(min=0)]
    error_IP = (drawn_IP3 - told_IP3).abs().mean(2)
    part_I1 = takes_part(torch.arange(len(views)))[:, None]
    chosen = {
        "all pixels": torch.ones_like(metal),
        "ground": pixels.kind_IP == 0,
        "outlines": pixels.kind_IP < 0,
    }
    for material, rows in zip(MATERIALS, (pixels.kind_IP == 1, metal), strict=True):
        chosen |= {f"{material} {name}": rows & (shape == number) for number, name in enumerate(SHAPES)}
        chosen |= {f"{material} {name}": rows & (color == number) for number, name in enumerate(COLORS)}
    table = Table(title=f"levels of 255 at {SIZE[1]}x{SIZE[0]}")
    for name in ("", "difference, fitted", "difference, others", "original", "drawn"):
        table.add_column(name)
    for name, rows in chosen.items():
        parts = [error_IP[rows & part] for part in (part_I1, ~part_I1)]
        means = [
            ", ".join(f"{value:.0f}" for value in levels[rows].mean(0)) for levels in (told_IP3, drawn_IP3)
        ]
        table.add_row(name, *(f"{float(part.mean()):.1f}" for part in parts), *means)
    tell.print(table)


def write(
    folder: Path, views: Views, objects: Objects, originals: Path, scenes: list[Any], split: str
) -> None:
    """The scenes drawn again at the official size, with the originals' names."""
    pictures = render.render(views, objects, (camera.HEIGHT, camera.WIDTH)).permute(0, 2, 3, 1).numpy()
    (folder / "images" / split).mkdir(parents=True, exist_ok=True)
    for scene, picture in zip(scenes, pictures, strict=True):
        Image.fromarray(picture).save(folder / "images" / split / scene["image_filename"])
    (folder / "questions").mkdir(exist_ok=True)
    questions = originals / f"questions/CLEVR_{split}_questions.json"
    if questions.is_file():
        (folder / questions.relative_to(originals)).write_bytes(questions.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("originals", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--fit", type=int, default=0, metavar="STEPS", help="fit the shared numbers too")
    parser.add_argument("--steps", type=int, default=150, help="to find the lamps of each picture")
    parser.add_argument("--json", type=Path, help="write the shared numbers to this file")
    parser.add_argument("--again", type=Path, help="write the scenes drawn again, and their questions, here")
    options = parser.parse_args()
    tell = Console()
    scenes = read_scenes(options.originals, options.split)
    views, objects, errors = columns(scenes)
    tell.print(f"{len(scenes)} pictures; cameras found to {max(errors):.2f} pixels")
    told_I3HW = read_pictures(options.originals, options.split, scenes, SIZE)
    told_IP3 = told_I3HW.flatten(2).transpose(1, 2)
    numbers, pixels = Numbers(len(scenes)), Pixels.of(views, objects)
    torch.manual_seed(0)
    for steps, shared in ((options.fit, True), (options.steps, False)):
        if steps:
            fit(numbers, pixels, objects, told_IP3.reshape(-1, 3), steps, shared, tell)
    found = constants(numbers)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    tell.print_json(data=found)
    views = attrs.evolve(views, lights_I33=numbers.places().detach().numpy().astype(float))
    with torch.no_grad(), numbers.in_place():
        # The numbers replace the package's, tints apart, which a stage gets when it is made.
        drawn = torch.cat([draw_one(numbers, views, objects, row) for row in range(len(scenes))])
    differences(views, objects, told_IP3, drawn.flatten(2).transpose(1, 2), tell)
    if options.again:
        write(options.again, views, objects, options.originals, scenes, options.split)


def draw_one(numbers: Numbers, views: Views, objects: Objects, row: int) -> Tensor:
    """(1, 3, H, W) in levels."""
    one = objects.take(np.array([row]))
    stage = make_stage(views.take(np.array([row])), one)
    tint_B3 = numbers.all["tints"][torch.from_numpy(one.material_IO), torch.from_numpy(one.color_IO)]
    return render.draw(attrs.evolve(stage, tint=Vec(*tint_B3.reshape(-1, 3).unbind(1))), SIZE).float()


if __name__ == "__main__":
    main()
