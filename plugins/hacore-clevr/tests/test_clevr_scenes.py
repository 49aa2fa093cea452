"""Whole scenes: the official format, what is visible, and that a scene depends on nothing but its number."""

import json

import numpy as np
import pytest
from hacore_clevr import camera
from hacore_clevr.domain import COLORS, MATERIALS, RELATIONS, SHAPES, SIZES
from hacore_clevr.generate import render, scenes
from hacore_clevr.generate.layout import CONDITION_A, SceneOptions, draw_objects, draw_views
from hacore_clevr.generate.scenes import draw_scenes, make_scenes

CROWDED = SceneOptions(min_objects=7, max_objects=8)


@pytest.fixture(scope="module")
def scene_set():
    return make_scenes(11, "val", 20, 24, size=(48, 72))


def test_scenes_have_the_official_fields(scene_set):
    records, pictures = scene_set
    assert pictures.shape == (24, 3, 48, 72)
    assert pictures.dtype == np.uint8
    assert json.loads(json.dumps(records)) == records
    for row, record in enumerate(records):
        assert list(record) == [
            "image_filename",
            "image_index",
            "split",
            "objects",
            "directions",
            "relationships",
        ]
        assert record["image_filename"] == f"CLEVR_val_{20 + row:06d}.png"
        assert (record["image_index"], record["split"]) == (20 + row, "val")
        assert list(record["directions"]) == ["left", "right", "front", "behind", "above", "below"]
        assert 3 <= len(record["objects"]) <= 10
        for thing in record["objects"]:
            assert thing["shape"] in SHAPES
            assert thing["size"] in SIZES
            assert thing["color"] in COLORS
            assert thing["material"] in MATERIALS
            assert 0 <= thing["rotation"] < 360
            assert thing["3d_coords"][2] == {"small": 0.35, "large": 0.7}[thing["size"]]
            x, y, depth = thing["pixel_coords"]
            assert isinstance(x, int)
            assert isinstance(y, int)
            assert 0 <= x < 480
            assert 0 <= y < 320
            assert 6 < depth < 17


def test_relationships_follow_from_the_written_coordinates(scene_set):
    for record in scene_set[0]:
        assert list(record["relationships"]) == ["left", "right", "front", "behind"]
        for name in RELATIONS:
            direction = record["directions"][name]
            for row, one in enumerate(record["objects"]):
                expected = [
                    column
                    for column, other in enumerate(record["objects"])
                    if sum(
                        (b - a) * d
                        for a, b, d in zip(one["3d_coords"], other["3d_coords"], direction, strict=True)
                    )
                    > 0.2
                ]
                assert record["relationships"][name][row] == expected
        # Objects keep 0.4 apart along every direction, so of any two one is left of the other.
        total = sum(len(row) for row in record["relationships"]["left"])
        count = len(record["objects"])
        assert total == count * (count - 1) // 2


def test_left_is_left_in_the_picture(scene_set):
    for record in scene_set[0]:
        behind = record["relationships"]["behind"]
        for row, one in enumerate(record["objects"]):
            for other in behind[row]:
                assert record["objects"][other]["pixel_coords"][2] > one["pixel_coords"][2] - 0.5


def test_pixel_coordinates_are_on_the_object():
    views, objects = draw_scenes(2, "train", 0, 20)
    records = scenes.scene_records(views, objects, "train", 0)
    ids = render.object_ids(views, objects, (320, 480)).numpy()
    at_middle = [
        ids[row, thing["pixel_coords"][1], thing["pixel_coords"][0]] - place
        for row, record in enumerate(records)
        for place, thing in enumerate(record["objects"])
    ]
    other = np.array(at_middle) != 0  # something may stand before the middle
    assert other.mean() < 0.15


def test_every_object_shows_200_pixels():
    """Counted anew at the official size."""
    views, objects = draw_scenes(3, "train", 0, 60, CROWDED)
    ids = render.object_ids(views, objects, (320, 480)).numpy()
    shown = np.array([[(picture == place).sum() for place in range(8)] for picture in ids])
    there = np.arange(8) < views.count_I[:, None]
    assert (shown[~there] == 0).all()
    # The two grids sample outlines at different places.
    assert shown[there].min() >= 185
    assert (shown[there] < 200).mean() < 0.03


def test_scenes_with_a_hidden_object_are_drawn_again():
    index = np.arange(60)
    views = draw_views(3, "train", index, CROWDED)
    first, placed = draw_objects(3, "train", index, 0 * index, views, CROWDED)
    final_views, final = draw_scenes(3, "train", 0, 60, CROWDED)
    np.testing.assert_array_equal(final_views.count_I, views.count_I)
    np.testing.assert_array_equal(final_views.camera_I3, views.camera_I3)
    kept = (first.xy_IO2 == final.xy_IO2).all((1, 2))
    ids = render.object_ids(views, first, scenes.COUNTED).numpy()
    shown = np.array([[(picture == place).sum() for place in range(8)] for picture in ids])
    np.testing.assert_array_equal(shown, render.shown_pixels(views, first, scenes.COUNTED))
    enough = (
        (shown >= 200 * scenes.COUNTED[0] * scenes.COUNTED[1] / (480 * 320))
        | (np.arange(8) >= views.count_I[:, None])
    ).all(1)
    np.testing.assert_array_equal(kept, placed & enough)
    assert (placed & ~enough).sum() > 3
    assert (~placed).sum() > 3
    assert kept.sum() > 10


def test_nothing_is_drawn_again_where_hidden_objects_are_allowed():
    options = SceneOptions(max_objects=5, min_pixels=0)
    index = np.arange(40)
    views = draw_views(0, "train", index, options)
    first, placed = draw_objects(0, "train", index, 0 * index, views, options)
    final = draw_scenes(0, "train", 0, 40, options)[1]
    np.testing.assert_array_equal(final.xy_IO2[placed], first.xy_IO2[placed])


def test_a_scene_is_the_same_however_many_are_made(scene_set):
    records, pictures = scene_set
    for start, count in ((20, 1), (43, 1), (25, 7)):
        some, shown = make_scenes(11, "val", start, count, size=(48, 72))
        rows = slice(start - 20, start - 20 + count)
        assert some == records[rows]
        np.testing.assert_array_equal(shown, pictures[rows])


def test_a_scene_is_the_same_at_any_size_of_its_picture(scene_set):
    assert make_scenes(11, "val", 20, 4, size=(20, 20))[0] == scene_set[0][:4]


def test_seeds_and_splits_differ(scene_set):
    for seed, split in ((12, "val"), (11, "train")):
        records, pictures = make_scenes(seed, split, 20, 4, size=(48, 72))
        for row in range(4):
            assert records[row]["objects"] != scene_set[0][row]["objects"]
            assert (pictures[row] != scene_set[1][row]).mean() > 0.05


def test_no_scenes():
    records, pictures = make_scenes(0, "train", 5, 0)
    assert records == []
    assert pictures.shape == (0, 3, 128, 128)


def test_conditions_hold_in_records():
    records, _ = make_scenes(0, "trainA", 0, 16, SceneOptions(allowed=CONDITION_A), size=(8, 8))
    things = [thing for record in records for thing in record["objects"]]
    assert all(thing["color"] in CONDITION_A[thing["shape"]] for thing in things)
    assert records[0]["image_filename"] == "CLEVR_trainA_000000.png"


def test_options_that_leave_no_scene(monkeypatch):
    monkeypatch.setattr(scenes, "MOST_ATTEMPTS", 2)
    options = SceneOptions(min_objects=10, max_objects=10)
    with pytest.raises(ValueError, match=r"split 'train'.*in all of 2 attempts; allow fewer objects"):
        draw_scenes(0, "train", 0, 20, options)


def test_visible_counts_only_objects_that_are_there():
    views, objects = draw_scenes(0, "train", 0, 10)
    assert scenes.visible(views, objects, 200).all()
    assert not scenes.visible(views, objects, 20_000).any()
    assert scenes.COUNTED[1] / scenes.COUNTED[0] == camera.WIDTH / camera.HEIGHT
