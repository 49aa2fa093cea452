"""Where objects stand, where the camera stands, and what follows from that."""

import itertools
import json
import math

import numpy as np
import pytest
from hacore_clevr import camera
from hacore_clevr.domain import COLORS, MATERIALS, RADIUS, RELATIONS, SHAPES, SIZES
from hacore_clevr.generate.layout import (
    CONDITION_A,
    CONDITION_B,
    LIGHTS,
    SceneOptions,
    draw_objects,
    draw_views,
)
from hypothesis import given, settings
from hypothesis import strategies as st

OFFICIAL = SceneOptions()
JITTERED = np.array(camera.POSITION) + np.array(list(itertools.product((-0.5, 0.5), repeat=3)))


def drawn(seed, index, options=OFFICIAL, split="train", attempt=0):
    index = np.asarray(index)
    views = draw_views(seed, split, index, options)
    return views, *draw_objects(seed, split, index, np.full_like(index, attempt), views, options)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**40), attempt=st.integers(0, 100))
def test_objects_keep_their_distances(seed, attempt):
    views, objects, placed = drawn(seed, range(40), attempt=attempt)
    directions = camera.directions()
    assert placed.any()
    for scene in np.flatnonzero(placed):
        count = views.count_I[scene]
        xy = objects.xy_IO2[scene, :count]
        assert 3 <= count <= 10
        assert np.abs(xy).max() <= 3
        for one, other in itertools.combinations(range(count), 2):
            radii = RADIUS[objects.size_IO[scene, one]] + RADIUS[objects.size_IO[scene, other]]
            offset = xy[one] - xy[other]
            assert math.hypot(*offset) - radii >= 0.25 - 1e-9
            for name in RELATIONS:
                along = offset[0] * directions[name][0] + offset[1] * directions[name][1]
                assert abs(along) >= 0.4 - 1e-9


def test_a_scene_without_room_is_not_said_to_be_placed():
    options = SceneOptions(min_objects=10, max_objects=10)
    _, objects, placed = drawn(3, range(200), options)
    assert not placed.all()
    for scene in np.flatnonzero(~placed):
        gaps = [
            math.dist(objects.xy_IO2[scene, i], objects.xy_IO2[scene, j])
            - RADIUS[objects.size_IO[scene, i]]
            - RADIUS[objects.size_IO[scene, j]]
            for i, j in itertools.combinations(range(10), 2)
        ]
        right, behind = (np.array(camera.directions()[name][:2]) for name in ("right", "behind"))
        offsets = [
            abs((objects.xy_IO2[scene, i] - objects.xy_IO2[scene, j]) @ axis)
            for i, j in itertools.combinations(range(10), 2)
            for axis in (right, behind)
        ]
        assert min(gaps) < 0.25 or min(offsets) < 0.4


def test_a_scene_depends_on_seed_split_and_number_alone():
    views, objects, _ = drawn(5, range(30))
    for rows in ([4], [7, 3, 29], list(range(10, 20))):
        some_views, some, _ = drawn(5, rows)
        np.testing.assert_array_equal(some_views.camera_I3, views.camera_I3[rows])
        np.testing.assert_array_equal(some.xy_IO2, objects.xy_IO2[rows])
        np.testing.assert_array_equal(some.rotation_IO, objects.rotation_IO[rows])
    for other in (drawn(6, range(30)), drawn(5, range(30), split="val"), drawn(5, range(30), attempt=1)):
        assert not (other[1].xy_IO2 == objects.xy_IO2).any()
    np.testing.assert_array_equal(drawn(5, range(30), attempt=1)[0].lights_I33, views.lights_I33)


def test_attributes_and_numbers_are_uniform():
    views, objects, _ = drawn(0, range(3000))
    counts = np.bincount(views.count_I, minlength=11)[3:]
    assert (np.abs(counts / 3000 - 1 / 8) < 0.03).all()
    values = {"size": SIZES, "shape": SHAPES, "material": MATERIALS, "color": COLORS}
    for name, names in values.items():
        frequencies = np.bincount(getattr(objects, f"{name}_IO").ravel())
        assert len(frequencies) == len(names)
        # 30,000 draws: a deviation of at most 0.0029.
        assert (np.abs(frequencies / 30_000 - 1 / len(names)) < 0.013).all()
    assert (np.abs(np.histogram(objects.rotation_IO, 12, (0, 360))[0] / 30_000 - 1 / 12) < 0.01).all()
    jitter = views.lights_I33 - np.array(LIGHTS)
    assert np.abs(jitter).max() <= 1
    assert (jitter.min((0, 1)) < -0.98).all()
    assert (jitter.max((0, 1)) > 0.98).all()
    assert np.abs(views.camera_I3 - camera.POSITION).max() <= 0.5


def test_conditions_of_cogent():
    first, second = ("gray", "blue", "brown", "yellow"), ("red", "green", "purple", "cyan")
    for allowed, cubes, cylinders in ((CONDITION_A, first, second), (CONDITION_B, second, first)):
        _, objects, _ = drawn(1, range(300), SceneOptions(allowed=allowed))
        colors_of = {shape: set() for shape in SHAPES}
        for shape, color in zip(objects.shape_IO.ravel(), objects.color_IO.ravel(), strict=True):
            colors_of[SHAPES[shape]].add(COLORS[color])
        assert colors_of == {"cube": set(cubes), "cylinder": set(cylinders), "sphere": set(COLORS)}


def test_shapes_that_are_not_allowed_do_not_occur():
    options = SceneOptions(
        min_objects=4, max_objects=4, allowed={"sphere": ("red",), "cube": ("red", "blue")}
    )
    views, objects, _ = drawn(0, range(50), options)
    assert (views.count_I == 4).all()
    pairs = {
        (SHAPES[s], COLORS[c]) for s, c in zip(objects.shape_IO.flat, objects.color_IO.flat, strict=True)
    }
    assert pairs == {("sphere", "red"), ("cube", "red"), ("cube", "blue")}


def test_options_name_everything_that_is_wrong():
    with pytest.raises(ValueError, match="min_objects = 5, max_objects = 4") as caught:
        SceneOptions(
            min_objects=5,
            max_objects=4,
            min_pixels=300,
            allowed={"cone": ("red",), "cube": ("pink",), "sphere": ()},
        )
    text = str(caught.value)
    for part in ("min_pixels = 300", "no shape 'cone'", "allowed['cube']: found 'pink'", "found no colour"):
        assert part in text
    assert "\n" not in text
    for wrong in ({"max_objects": 11}, {"min_objects": 0}, {"allowed": {}}):
        with pytest.raises(ValueError, match=r"must be|at least one"):
            SceneOptions(**wrong)


def look_at(position, point):
    """Pixel coordinates the way textbooks write them: a view matrix from cross products."""
    forward = -position / np.linalg.norm(position)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    x, y, depth = np.stack([right, np.cross(right, forward), forward]) @ (point - position)
    focal = 35 / 32 * 480
    return 240 + focal * x / depth, 160 - focal * y / depth, depth


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_projection(seed):
    rng = np.random.default_rng(seed)
    positions = np.array(camera.POSITION) + rng.uniform(-0.5, 0.5, (3, 3))
    points = rng.uniform(-3, 3, (3, 4, 3))
    expected = [
        [look_at(position, point) for point in row] for position, row in zip(positions, points, strict=True)
    ]
    np.testing.assert_allclose(camera.project(points, positions), expected, rtol=1e-9, atol=1e-9)
    view = camera.axes(positions)
    frame = np.stack([view.right_I3, view.up_I3, view.forward_I3], 1)
    np.testing.assert_allclose(
        frame @ frame.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-12
    )


def test_every_place_on_the_ground_is_in_the_picture():
    """And the middle of the smallest object wherever the camera is moved."""
    for height, positions in ((0.0, np.array([camera.POSITION])), (0.2, JITTERED)):
        square = np.array([[x, y, height] for x in (-3, 3) for y in (-3, 3)])
        points = camera.project(np.stack([square] * len(positions)), positions)[..., :2]
        assert points.min() > 0
        assert (points < (480, 320)).all()
    np.testing.assert_allclose(camera.project(np.zeros((8, 1, 3)), JITTERED)[:, 0, :2], [[240, 160]] * 8)


def test_directions_are_those_of_every_official_scene():
    named = camera.directions()
    assert json.loads(json.dumps(named)) == named
    assert list(named) == ["left", "right", "front", "behind", "above", "below"]
    # As the released files have them, however the camera is moved.
    np.testing.assert_allclose(named["right"], [0.65631, 0.75449, 0.0], atol=2e-5)
    np.testing.assert_allclose(named["behind"], [-0.75449, 0.65631, 0.0], atol=2e-5)
    assert named["above"] == [0, 0, 1]
    assert named["below"] == [0, 0, -1]
    for one, other in (("left", "right"), ("front", "behind")):
        np.testing.assert_allclose(named[one], -np.array(named[other]), atol=1e-15)
        assert math.isclose(math.hypot(*named[one]), 1)


def test_directions_are_about_those_of_the_picture():
    named = camera.directions()
    for position in JITTERED:

        def pixel(direction, position=position):
            return camera.project(np.array([[direction]]), position[None])[0, 0]

        assert pixel(named["right"])[0] > 260
        assert pixel(named["left"])[0] < 220
        np.testing.assert_allclose(pixel(named["right"])[1], 160, atol=2.5)
        assert pixel(named["behind"])[1] < 150
        assert pixel(named["front"])[1] > 170
        np.testing.assert_allclose(pixel(named["behind"])[0], 240, atol=4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 10), st.sampled_from([0.0, 0.2, 1.0]))
def test_relationships(seed, count, eps):
    rng = np.random.default_rng(seed)
    coords = rng.uniform(-3, 3, (count, 3)).tolist()
    directions = camera.directions()
    expected = {}
    for name in RELATIONS:
        expected[name] = []
        for one in coords:
            dots = [
                sum((b - a) * d for a, b, d in zip(one, other, directions[name], strict=True))
                for other in coords
            ]
            expected[name].append([j for j, dot in enumerate(dots) if dot > eps])
    assert camera.relationships(coords, directions, eps) == expected


def test_an_offset_of_just_the_threshold_is_no_relation():
    directions = {"left": (1.0, 0.0, 0.0), "above": (0.0, 0.0, 1.0)}
    related = camera.relationships([(0, 0, 0), (0.2, 0, 5), (0.25, 9, 0)], directions)
    assert related == {"left": [[2], [], []]}
