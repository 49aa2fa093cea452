"""Pictures: what rays meet, what is lit, and that nothing depends on what is drawn beside it."""

import itertools

import numpy as np
import pytest
import torch
from hacore_clevr import camera
from hacore_clevr.domain import SHAPES
from hacore_clevr.generate import render, shading, shadows
from hacore_clevr.generate.lamps import LAMPS, SUN, ray_to
from hacore_clevr.generate.layout import LIGHTS, SceneOptions, draw_objects, draw_views
from hacore_clevr.generate.shapes import (
    CUBE_BEVEL,
    CUT,
    CYLINDER_BEVEL,
    HITS,
    NORMALS,
)
from hacore_clevr.generate.stage import EMPTY, make_stage
from hacore_clevr.generate.vectors import Vec

SIZE = (64, 96)


def vec(array):
    return Vec(*torch.from_numpy(np.ascontiguousarray(array.T, np.float32)))


def array(vector):
    return torch.stack([vector.x, vector.y, vector.z], -1).double().numpy()


def inside(shape, points, half, cut=CUT):
    """(..., 3) points in the shape's own frame: are they in it?"""
    x, y, z = np.moveaxis(points, -1, 0)
    if shape == "sphere":
        return x * x + y * y + z * z < half * half
    if shape == "cylinder":
        return (x * x + y * y < half * half) & (np.abs(z) < half)
    return np.maximum(np.abs(points).max(-1), sums(points).max(-1) / cut) < half


def sums(points):
    """(..., 3) -> (..., 3): sums of two coordinates, as if positive; a cube's edges are cut across."""
    near = np.abs(points)
    return near + np.roll(near, 1, -1)


def random_scenes(count, seed=0, **options):
    """Scenes in which all objects found places, hidden or not."""
    chosen = SceneOptions(**options)
    index = np.arange(4 * count)
    views = draw_views(seed, "test", index, chosen)
    objects, placed = draw_objects(seed, "test", index, 0 * index, views, chosen)
    rows = np.flatnonzero(placed)[:count]
    assert len(rows) == count
    return views.take(rows), objects.take(rows)


@pytest.mark.parametrize("shape", SHAPES)
def test_first_hit_agrees_with_marching(shape):
    rng = np.random.default_rng(1)
    half = rng.uniform(0.3, 1, 600)
    origin = rng.normal(size=(600, 3))
    origin *= rng.uniform(2, 5, (600, 1)) / np.linalg.norm(origin, axis=1, keepdims=True)
    direction = (rng.uniform(-0.9, 0.9, (600, 3)) - origin) * rng.choice([1, 1, 1, -1], (600, 1))
    distance, face = HITS[SHAPES.index(shape)](vec(origin), vec(direction), torch.from_numpy(half).float())
    steps = np.linspace(0, 2, 8001)
    marched = inside(shape, origin[:, None] + direction[:, None] * steps[:, None], half[:, None])
    expected = np.where(marched.any(1), steps[marched.argmax(1)], np.inf)
    assert 100 < np.isfinite(expected).sum() < 500
    # A march misses what a ray only grazes.
    differ = np.abs(distance.numpy() - np.where(np.isinf(expected), 9, expected)) > 3e-4
    differ &= ~(np.isinf(distance.numpy()) & np.isinf(expected))
    assert differ.sum() <= 3
    check_faces(shape, origin, direction, half, distance.double().numpy(), face.numpy())


def check_faces(shape, origin, direction, half, distance, face):
    hit = np.isfinite(distance)
    point = origin[hit] + direction[hit] * distance[hit, None]
    half, face = half[hit], face[hit]
    normal = array(NORMALS[SHAPES.index(shape)](vec(point), torch.from_numpy(half).float()))
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)
    if shape == "sphere":
        assert (face == 0).all()
        np.testing.assert_allclose(normal, point / half[:, None], atol=1e-4)
        return
    bevel = CYLINDER_BEVEL if shape == "cylinder" else CUBE_BEVEL
    if shape == "cylinder":
        assert set(face) == {0, 1}
        ring = np.hypot(point[:, 0], point[:, 1])
        side = point / ring[:, None] * [1, 1, 0]
        plain = np.where((face == 1)[:, None], np.sign(point) * [0, 0, 1], side)
        rim = np.where(face == 1, ring, np.abs(point[:, 2]))
        np.testing.assert_allclose(np.where(face == 1, np.abs(point[:, 2]), ring), half, atol=1e-4)
    else:
        assert set(face) == {0, 1, 2}
        axis = np.eye(3)[face]
        plain = axis * np.sign(point)
        rim = (np.abs(point) * (1 - axis)).max(1)
        on_face, on_cut = (axis * np.abs(point)).sum(1), sums(point).max(1) / CUT
        np.testing.assert_allclose(np.maximum(on_face, on_cut), half, atol=1e-4)
    flat = rim < half * (1 - bevel) - 1e-4
    assert 0.3 < flat.mean() < 1
    np.testing.assert_allclose(normal[flat], plain[flat], atol=1e-3)
    # On the cut edge of a cube the face is that whose plane the ray crossed last.
    whole = on_cut < half - 1e-4 if shape == "cube" else np.ones(len(point), bool)
    assert ((normal * plain).sum(1) > 0.6)[whole].all()


def first_objects(views, objects, scene, size):
    """(H, W): nearest object by closed formulas of each shape, all objects, float64."""
    height, width = size
    frame = camera.axes(views.camera_I3)
    x = (2 * (np.arange(width) + 0.5) / width - 1)[None, :, None] * (16 / 35)
    y = (1 - 2 * (np.arange(height) + 0.5) / height)[:, None, None] * (16 / 35 * 2 / 3)
    ray = frame.forward_I3[scene] + x * frame.right_I3[scene] + y * frame.up_I3[scene]
    best, nearest = np.full(size, np.inf), np.full(size, -1)
    for place in range(views.count_I[scene]):
        half = objects.half_height_IO()[scene, place]
        eye = views.camera_I3[scene] - [*objects.xy_IO2[scene, place], half]
        angle = np.deg2rad(objects.rotation_IO[scene, place])
        turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        depth = closed_form(SHAPES[objects.shape_IO[scene, place]], turn @ eye, ray @ turn.T, half)
        nearest[depth < best] = place
        best = np.minimum(best, depth)
    return nearest


def closed_form(shape, o, d, half):
    """Candidates are where the ray crosses each boundary surface; the first that is on the shape counts."""
    with np.errstate(invalid="ignore", divide="ignore"):
        roots = []
        if shape in ("sphere", "cylinder"):
            axes = 3 if shape == "sphere" else 2
            a = (d[..., :axes] ** 2).sum(-1)
            b = (d[..., :axes] * o[:axes]).sum(-1)
            c = (o[:axes] ** 2).sum() - half**2
            roots += [(-b + sign * np.sqrt(b * b - a * c)) / a for sign in (-1, 1)]
        for axis in {"sphere": (), "cylinder": (2,), "cube": (0, 1, 2)}[shape]:
            roots += [(sign * half - o[axis]) / d[..., axis] for sign in (-1, 1)]
        if shape == "cube":
            for one, other, flip, sign in itertools.product(range(3), range(3), (-1, 1), (-1, 1)):
                if one < other:
                    across = o[one] + flip * o[other], d[..., one] + flip * d[..., other]
                    roots.append((sign * half * CUT - across[0]) / across[1])
        depths = []
        for root in roots:
            near = np.abs(o + d * root[..., None])
            ring = np.hypot(near[..., 0], near[..., 1])
            slack = half * (1 + 1e-9)
            on = {
                "sphere": np.isfinite(root),
                "cylinder": (ring <= slack) & (near[..., 2] <= slack),
                "cube": (near.max(-1) <= slack) & (sums(near).max(-1) <= slack * CUT),
            }[shape]
            depths.append(np.where(on & (root > 0), root, np.inf))
    return np.min(depths, 0)


def test_ids_are_the_nearest_objects():
    views, objects = random_scenes(12)
    ids = render.object_ids(views, objects, SIZE).numpy()
    wrong = 0
    for scene in range(12):
        expected = first_objects(views, objects, scene, SIZE)
        assert set(np.unique(expected)) <= set(range(-1, views.count_I[scene]))
        wrong += (ids[scene] != expected).sum()
    assert (ids >= 0).mean() > 0.03
    # Outlines in float32 against float64.
    assert wrong <= 5


def blocked(shape, half, center, cos, sin, points, light):
    """March from points to the light; is the shape between?"""
    steps = np.linspace(0, 1, 3000)[:, None]
    way = points[:, None] + (light - points)[:, None] * steps - center
    x, y, z = np.moveaxis(way, -1, 0)
    local = np.stack([cos * x + sin * y, cos * y - sin * x, z], -1)
    # Edges of cubes cast shadows as if they were sharp.
    return inside(shape, local, half, cut=2).any(1)


@pytest.mark.parametrize("shape", SHAPES)
def test_gap_is_negative_where_the_light_is_hidden(shape, one_scene):
    kind = SHAPES.index(shape)
    views, objects = one_scene((kind, 1, 0, 0, 0.3, -0.2))
    stage = make_stage(views, objects)
    rng = np.random.default_rng(2)
    half = objects.half_height_IO()[0, 0]
    hidden = 0
    for light in LIGHTS:
        points = np.concatenate(
            [rng.uniform(-3, 3, (400, 2)), rng.choice([0, 0, 0.3, 0.9, 1.38], (400, 1))], 1
        )
        points = points[np.hypot(points[:, 0] - 0.3, points[:, 1] + 0.2) > 0.75]
        toward = np.array(light) - points
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        owner = torch.zeros(len(points), dtype=torch.int64)
        gap = shadows.gaps(stage, kind, vec(points), vec(toward), owner).numpy()
        cos, sin = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
        expected = blocked(shape, half, np.array([0.3, -0.2, half]), cos, sin, points, np.array(light))
        clear = np.abs(gap) > 0.01
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(gap[clear] < 0, expected[clear])
        hidden += expected.sum()
    assert hidden > 45


def test_share_of_a_light(one_scene):
    """A ball's shadow: none far off, all in its middle, half at the geometric border, monotone between."""
    sphere = SHAPES.index("sphere")
    light = (0.0, 0.0, 4.5)
    views, objects = one_scene((sphere, 1, 0, 0, 0.0, 0.0), lights=(light, *LIGHTS[1:]))
    stage = make_stage(views, objects)
    x = np.linspace(0.0, 4, 401)
    points = vec(np.stack([x, 0 * x, 0 * x], -1))
    zeros = torch.zeros(len(x), dtype=torch.int64)
    ray = ray_to(stage, 0, points, zeros)
    share = shadows.seen_light(stage, sphere, 0.4, points, ray, zeros).numpy()
    border = 4.5 * np.tan(np.arcsin(0.7 / 3.8))
    assert share[0] == 0
    assert share[-1] == 1
    assert (np.diff(share) >= -1e-6).all()
    assert abs(np.interp(border, x, share) - 0.5) < 0.05
    penumbra = ((share > 0.02) & (share < 0.98)).sum() / 100
    sharp = shadows.seen_light(stage, sphere, 0.0, points, ray, zeros).numpy()
    assert ((sharp > 0.02) & (sharp < 0.98)).sum() / 100 < penumbra


def test_leaving_out_far_objects_changes_nothing(monkeypatch):
    views, objects = random_scenes(20, seed=4)
    picture = render.render(views, objects, SIZE)

    def all_possible(stage, lamp):
        own = torch.arange(stage.scenes * stage.places)[:, None]
        other = stage.image_B[:, None] * stage.places + torch.arange(stage.places)
        return (stage.shape_B[other] != EMPTY) & (own != other)

    def all_pairs(stage, size):
        image = torch.arange(stage.scenes).repeat_interleave(size[0] * size[1])
        return [shadows.others(stage, image, torch.full_like(image, -1))] * len(LAMPS)

    monkeypatch.setattr(shading, "possible", all_possible)
    monkeypatch.setattr(render, "ground_pairs", all_pairs)
    assert torch.equal(picture, render.render(views, objects, SIZE))


def test_the_ground_between_shaded_points_is_as_if_shaded(monkeypatch):
    size = (128, 128)  # smaller pictures have no room between the edges of shadows
    views, objects = random_scenes(10, seed=5)
    picture = render.render(views, objects, size).int()
    monkeypatch.setattr(render, "STEP", 1)
    full = render.render(views, objects, size).int()
    assert not torch.equal(picture, full)
    difference = (picture - full).abs()
    assert difference.float().mean() < 0.25  # levels of 255
    assert (difference > 8).float().mean() < 6e-3
    assert (difference > 16).float().mean() < 1e-3


def test_the_sun_is_the_same_everywhere_and_lamps_fade_with_distance(one_scene):
    views, objects = one_scene((0, 0, 0, 0, 0.0, 0.0))
    stage = make_stage(views, objects)
    points = vec(np.array([[0.0, 0.0, 0.0], [-3.0, 3.0, 0.5], [2.0, 1.0, 0.0]]))
    image = torch.zeros(3, dtype=torch.int64)
    for number, lamp in enumerate(LAMPS):
        ray = ray_to(stage, number, points, image)
        np.testing.assert_allclose(np.linalg.norm(array(ray.toward), axis=1), 1, atol=1e-5)
        if lamp.axis is None:
            assert np.linalg.norm(SUN) == pytest.approx(1, abs=1e-3)
            np.testing.assert_array_equal(ray.strength.numpy(), 1)
            continue
        offset = np.array(LIGHTS[number]) - array(points)
        cosine = -offset @ np.array(lamp.axis) / np.linalg.norm(offset, axis=1)
        expected = cosine.clip(1e-6) ** (lamp.focus / 4) / (offset**2).sum(1)
        np.testing.assert_allclose(ray.strength.numpy(), expected, rtol=1e-4)


def test_colours_of_a_display():
    """The curve of sRGB, as its standard has it."""
    linear = torch.linspace(0, 1.2, 400)
    values = linear.numpy().astype(float).clip(0, 1)
    expected = np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055) * 255
    np.testing.assert_allclose(shading.displayed(linear).numpy(), expected, atol=0.6)


def test_a_picture_does_not_depend_on_its_neighbours(monkeypatch):
    views, objects = random_scenes(9, seed=7)
    together = render.render(views, objects, (45, 71))
    ids = render.object_ids(views, objects, (45, 71))
    assert together.shape == (9, 3, 45, 71)
    assert together.dtype == torch.uint8
    for rows in ([0], [8], [5, 2], [3, 4, 6]):
        some = np.array(rows)
        assert torch.equal(render.render(views.take(some), objects.take(some), (45, 71)), together[rows])
        assert torch.equal(render.object_ids(views.take(some), objects.take(some), (45, 71)), ids[rows])
    monkeypatch.setitem(render.GROUP_PIXELS, "cpu", 2 * 45 * 71)
    assert torch.equal(render.render(views, objects, (45, 71)), together)


def test_drawing_takes_one_thread_and_leaves_the_others_alone(monkeypatch):
    views, objects = random_scenes(1)
    taken, threads, draw = [], torch.get_num_threads(), render.draw
    monkeypatch.setattr(render, "draw", lambda *scene: taken.append(torch.get_num_threads()) or draw(*scene))
    torch.set_num_threads(2)
    try:
        render.render(views, objects, SIZE)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert taken == [1]


def test_no_scenes_and_one_pixel():
    views, objects = random_scenes(1)
    none = np.arange(0)
    assert render.render(views.take(none), objects.take(none), SIZE).shape == (0, 3, *SIZE)
    assert render.object_ids(views.take(none), objects.take(none), SIZE).shape == (0, *SIZE)
    assert render.render(views, objects, (1, 1)).shape == (1, 3, 1, 1)


def test_edges_are_smooth():
    """Four rays a pixel come near the mean of the sixteen pixels of a picture four times as large."""
    views, objects = random_scenes(6, seed=2)
    picture = render.render(views, objects, SIZE).double()
    large = render.render(views, objects, (4 * SIZE[0], 4 * SIZE[1])).double()
    mean = large.view(6, 3, SIZE[0], 4, SIZE[1], 4).mean((3, 5))
    one_ray = large.view(6, 3, SIZE[0], 4, SIZE[1], 4)[:, :, :, 2, :, 2]
    smooth, rough = (picture - mean).pow(2).mean().sqrt(), (one_ray - mean).pow(2).mean().sqrt()
    assert smooth < 0.75 * rough
    assert (picture - mean).abs().mean() < 0.6
