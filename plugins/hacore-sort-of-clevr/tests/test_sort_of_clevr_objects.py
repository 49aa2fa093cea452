"""Where objects lie and which of them a question is about, against the pixels and the plain rules."""

import numpy as np
import pytest
import torch
from hacore_sort_of_clevr import Config
from hacore_sort_of_clevr.dataset import SortOfClevr
from hacore_sort_of_clevr.questions import TYPES
from hacore_sort_of_clevr.scenes import COLOURS, HALF, RGB, SIZE

from hacore.objects import object_cells


@pytest.fixture(scope="module")
def dataset():
    return SortOfClevr(Config(images=40, held_out=6, validation=5, questions=36))


@pytest.mark.parametrize("grid", [(10, 10), (3, 7), (75, 75)])
def test_boxes_cover_the_pixels_of_their_objects(dataset, grid):
    boxes_IO4 = torch.from_numpy(dataset.objects("train").boxes_IO4)
    cells_ION = object_cells(boxes_IO4, grid).numpy()
    rows, columns = grid
    for image, pixels in enumerate(dataset.images("train")):
        for number, colour in enumerate(RGB):
            y, x = np.nonzero((pixels == colour[:, None, None]).all(0))
            covered = np.zeros((rows, columns), bool)
            # A pixel may lie on several cells; its two outer corners tell the first and the last.
            for dy in (0.001, 0.999):
                for dx in (0.001, 0.999):
                    covered[((y + dy) * rows / SIZE).astype(int), ((x + dx) * columns / SIZE).astype(int)] = (
                        True
                    )
            box = cells_ION[image, number].reshape(rows, columns)
            assert (box >= covered).all()
            # A circle does not fill its box, a rectangle does.
            if len(y) == (2 * HALF) ** 2:
                assert (box == covered).all()


def test_relevant_objects_follow_the_question(dataset):
    for split in dataset.splits:
        questions, objects = dataset.questions(split), dataset.objects(split)
        assert objects.boxes_IO4.shape == (len(dataset.images(split)), 6, 4)
        for row in range(len(questions)):
            words = questions.words[questions.offsets[row] : questions.offsets[row + 1]]
            text = [dataset.vocabulary[word] for word in words]
            scene = dataset.scene(split, int(questions.image[row]))
            named = next(thing for thing in scene if thing.colour in text)
            others = [thing for thing in scene if thing is not named]
            distances = [(thing.x - named.x) ** 2 + (thing.y - named.y) ** 2 for thing in others]
            expected = {named.colour}
            kind = TYPES[questions.type[row]]
            if kind in ("closest", "furthest"):
                wanted = min(distances) if kind == "closest" else max(distances)
                pairs = zip(others, distances, strict=True)
                expected |= {thing.colour for thing, distance in pairs if distance == wanted}
            if kind == "count":
                expected |= {thing.colour for thing in others if thing.shape == named.shape}
            relevant = np.flatnonzero(objects.relevant_QO[row])
            assert {COLOURS[number] for number in relevant} == expected
