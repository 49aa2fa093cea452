"""What pictures show: shadows, materials, colours and sizes that can be told apart."""

import colorsys

import attrs
import numpy as np
import pytest
from hacore_clevr import camera
from hacore_clevr.domain import COLORS, MATERIALS, RADIUS, RGB, SHAPES
from hacore_clevr.generate import render
from hacore_clevr.generate.layout import LIGHTS

CYLINDER = SHAPES.index("cylinder")


def test_an_object_throws_a_shadow_away_from_the_key_light(one_scene):
    views, both = one_scene((CYLINDER, 1, 0, 0, 0.0, 0.0), (1, 0, 0, 0, 2.8, 2.8))
    far_only = attrs.evolve(both, xy_IO2=np.array([[[40.0, 40.0], [2.8, 2.8]]]))
    pictures = [render.render(views, objects, (320, 480))[0].double().mean(0) for objects in (both, far_only)]
    away = -np.array(LIGHTS[0][:2]) / np.hypot(*LIGHTS[0][:2])
    for distance, direction, darker in ((1.0, away, True), (1.3, away, True), (2.5, -away, False)):
        place = np.array([[[*(direction * distance), 0.0]]])
        x, y, _ = camera.project(place, views.camera_I3)[0, 0]
        lit, shaded = (float(picture[round(y), round(x)]) for picture in (pictures[1], pictures[0]))
        assert (shaded < 0.92 * lit) if darker else (shaded > 0.98 * lit)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [0, 1])
def test_metal_does_not_look_like_rubber(shape, size, one_scene):
    """Metal mirrors: more contrast, and brighter spots on balls. Gray, on which it is hardest."""
    pictures = {}
    for material in MATERIALS:
        thing = (SHAPES.index(shape), size, MATERIALS.index(material), 0, 0.5, 0.0)
        views, objects = one_scene(thing)
        shown = render.object_ids(views, objects, (160, 240))[0] == 0
        pictures[material] = render.render(views, objects, (160, 240))[0][:, shown].double()
    assert (pictures["metal"] - pictures["rubber"]).abs().mean() > 10
    if shape == "sphere":
        assert pictures["metal"].max() > pictures["rubber"].max() + 10
    assert pictures["metal"].std() > pictures["rubber"].std()


@pytest.mark.parametrize("material", [0, 1])
@pytest.mark.parametrize("color", range(len(COLORS)))
def test_colors_are_recognisable(color, material, one_scene):
    """The mean over all shapes is of a hue that is near to its own color's and to no other's."""
    things = [(shape, 1, material, color, 2.0 * (shape - 1), 1.5 * (1 - shape)) for shape in range(3)]
    views, objects = one_scene(*things)
    shown = render.object_ids(views, objects, (160, 240))[0] >= 0
    mean = render.render(views, objects, (160, 240))[0][:, shown].double().mean(1).numpy()
    hue, saturation, _ = colorsys.rgb_to_hsv(*(mean / 255))
    expected, *_ = colorsys.rgb_to_hsv(*(np.array(RGB[color]) / 255))
    if COLORS[color] == "gray":
        assert saturation < 0.08
        return
    assert saturation > 0.3
    assert abs((hue - expected + 0.5) % 1 - 0.5) < 12 / 360

    hues = [colorsys.rgb_to_hsv(*(np.array(rgb) / 255))[0] for rgb in RGB]
    apart = [
        abs((hue - other + 0.5) % 1 - 0.5) + (name == "gray")
        for name, other in zip(COLORS, hues, strict=True)
    ]
    assert np.argmin(apart) == color


def test_the_ground_is_light_gray(one_scene):
    views, objects = one_scene((1, 0, 0, 0, 0.0, 0.0))
    picture = render.render(views, objects, (64, 96))[0].double()
    ground = picture[:, render.object_ids(views, objects, (64, 96))[0] < 0]
    assert 110 < ground.mean() < 180
    assert (ground.max(0).values - ground.min(0).values).max() < 12
    assert ground.std() < 20


def test_large_and_small_differ_as_they_should(one_scene):
    for size in (0, 1):
        views, objects = one_scene((1, size, 0, 0, 0.0, 0.0))
        shown = (render.object_ids(views, objects, (320, 480))[0] == 0).sum().item()
        distance = np.linalg.norm(np.array(camera.POSITION) - [0, 0, RADIUS[size]])
        radius = 35 / 32 * 480 * RADIUS[size] / np.sqrt(distance**2 - RADIUS[size] ** 2)
        assert abs(shown / (np.pi * radius**2) - 1) < 0.02
