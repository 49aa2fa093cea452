import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.data import Questions
from hacore.train.sampler import Sampler


def asked(image):
    """Questions about these images; nothing else of them matters here."""
    image = np.array(image, np.int64)
    count = len(image)
    return Questions(
        words=np.full(count, 2),
        offsets=np.arange(count + 1),
        image=image,
        answer=np.zeros(count, np.int64),
        type=np.zeros(count, np.int64),
        ids=np.arange(count),
    )


images = st.lists(st.integers(0, 12), min_size=1, max_size=60)
options = st.fixed_dictionaries(
    {
        "batch_images": st.integers(1, 9),
        "questions_per_image": st.none() | st.integers(1, 5),
        "block_images": st.none() | st.integers(1, 15),
        "seed": st.integers(0, 2**40),
    }
)


@settings(deadline=None, max_examples=60)
@given(images, options, st.integers(1, 4), st.integers(0, 3))
def test_an_epoch_asks_every_question_once_whoever_asks(image, options, processes, epoch):
    questions = asked(image)
    ranks = [Sampler(questions, **options, rank=rank, processes=processes) for rank in range(processes)]
    alone = Sampler(questions, **options)
    steps = alone.steps_per_epoch
    assert {sampler.steps_per_epoch for sampler in ranks} == {steps}
    visited_rows = []
    for step in range(epoch * steps, (epoch + 1) * steps):
        shares = [sampler.parts(step, 1)[0] for sampler in ranks]
        together = np.concatenate(shares)
        assert len(together) == alone.count(step) == ranks[-1].count(step) > 0
        assert sorted(together.tolist()) == sorted(alone.parts(step, 1)[0].tolist())
        assert alone.images(step) == sorted(set(questions.image[together].tolist()))
        assert len(alone.images(step)) <= options["batch_images"]
        if options["questions_per_image"]:
            visits = -(-len(together) // options["questions_per_image"])
            assert visits <= options["batch_images"]
        visited_rows += together.tolist()
    assert sorted(visited_rows) == list(range(len(image)))


@settings(deadline=None, max_examples=100)
@given(images, options, st.integers(1, 3), st.integers(1, 5), st.integers(0, 40))
def test_the_parts_of_a_step_are_its_rows_in_their_order(image, options, processes, count, step):
    questions = asked(image)
    for rank in range(processes):
        sampler = Sampler(questions, **options, rank=rank, processes=processes)
        parts = sampler.parts(step, count)
        assert len(parts) == count
        assert {rows.dtype for rows in parts} == {np.dtype(np.int64)}
        assert np.concatenate(parts).tolist() == sampler.parts(step, 1)[0].tolist()
        # Each of about as many images: a visit, an image with some of its questions, is never cut.
        visits = [-(-len(rows) // (options["questions_per_image"] or 10**9)) for rows in parts]
        assert max(visits) <= -(-options["batch_images"] // count)
        if options["questions_per_image"] is None:
            named = [set(questions.image[rows].tolist()) for rows in parts]
            assert sum(map(len, named)) == len(set().union(*named))
            sizes = [len(part) for part in named]
            assert max(sizes) - min(sizes) <= 1
            assert sizes == sorted(sizes, reverse=True)


def test_three_parts_of_seven_images_of_two_processes():
    questions = asked(np.repeat(np.arange(7), 2))
    for rank, expected in ((0, [4, 2, 2]), (1, [2, 2, 2])):
        options = {"batch_images": 7, "questions_per_image": None, "seed": 0, "rank": rank, "processes": 2}
        sampler = Sampler(questions, **options)
        parts = sampler.parts(0, 3)
        assert [len(rows) for rows in parts] == expected
        assert np.concatenate(parts).tolist() == sampler.parts(0, 1)[0].tolist()


def test_there_may_be_more_parts_than_images():
    sampler = Sampler(asked([0, 0, 1, 1, 1]), batch_images=2, questions_per_image=None, seed=0)
    assert sorted(len(rows) for rows in sampler.parts(0, 5)) == [0, 0, 0, 2, 3]
    assert [len(rows) for rows in sampler.parts(0, 1)] == [5]


@settings(deadline=None, max_examples=30)
@given(images, options, st.data())
def test_a_step_does_not_depend_on_what_was_asked_before(image, options, data):
    questions = asked(image)
    sampler = Sampler(questions, **options)
    steps = data.draw(st.lists(st.integers(0, 3 * sampler.steps_per_epoch), min_size=1, max_size=8))
    for step in steps:
        assert sampler.parts(step, 1)[0].tolist() == Sampler(questions, **options).parts(step, 1)[0].tolist()


@settings(deadline=None, max_examples=30)
@given(images, st.integers(1, 5))
def test_an_image_with_many_questions_comes_several_times_with_other_ones(image, per_image):
    questions = asked(image)
    sampler = Sampler(questions, batch_images=1, questions_per_image=per_image, seed=0)
    visits = [sampler.parts(step, 1)[0] for step in range(sampler.steps_per_epoch)]
    assert all(len(set(questions.image[rows].tolist())) == 1 for rows in visits)
    assert max(len(rows) for rows in visits) <= per_image
    assert len(visits) == sum(-(-count // per_image) for count in np.bincount(questions.image))


@pytest.mark.parametrize("per_image", [None, 3])
def test_epochs_and_seeds_differ(per_image):
    questions = asked(np.repeat(np.arange(30), 7))

    def epoch(seed, number):
        sampler = Sampler(questions, batch_images=5, questions_per_image=per_image, seed=seed)
        steps = range(number * sampler.steps_per_epoch, (number + 1) * sampler.steps_per_epoch)
        return [sampler.parts(step, 1)[0].tolist() for step in steps]

    assert epoch(0, 0) == epoch(0, 0)
    assert epoch(0, 0) != epoch(0, 1)
    assert epoch(0, 0) != epoch(1, 0)
    # Not only the order of the images differs, but which go together.
    assert {tuple(sorted(rows)) for rows in epoch(0, 0)}.isdisjoint(
        tuple(sorted(rows)) for rows in epoch(0, 1)
    )


@settings(deadline=None, max_examples=60)
@given(images, options, st.integers(1, 8), st.integers(0, 2))
def test_an_epoch_goes_through_blocks_of_images_one_after_the_other(image, options, size, epoch):
    sampler = Sampler(asked(image), **{**options, "block_images": size})
    visited = []
    for step in range(epoch * sampler.steps_per_epoch, (epoch + 1) * sampler.steps_per_epoch):
        named = sampler.blocks(step)
        assert all(stop - start <= size for start, stop in named)
        for one in sampler.images(step):
            (block,) = [(start, stop) for start, stop in named if start <= one < stop]
            if block not in visited:
                visited.append(block)
        # What the next step reads is named a step before.
        if (step + 1) % sampler.steps_per_epoch:
            assert sampler.blocks(step + 1)[0] in named
        last = named[-1]
    assert last in visited
    assert len(set(visited)) == len(visited)


def test_blocks_are_mixed_and_lie_elsewhere_in_another_epoch():
    sampler = Sampler(asked(range(1000)), batch_images=10, questions_per_image=None, block_images=100, seed=0)
    epochs = [[sampler.parts(step, 1)[0].tolist() for step in range(100 * e, 100 * e + 100)] for e in (0, 1)]
    for steps in epochs:
        assert sorted(row for rows in steps for row in rows) == list(range(1000))
        assert [rows for rows in steps if max(rows) - min(rows) < 12] == []
        firsts = [rows[0] // 100 for rows in steps]
        assert firsts != sorted(firsts)
    starts = [
        {start for step in range(100 * e, 100 * e + 100) for start, _ in sampler.blocks(step)} for e in (0, 1)
    ]
    assert len(starts[0] & starts[1]) < 3


def test_without_blocks_the_order_is_what_it_was():
    sampler = Sampler(asked([0, 0, 1, 2, 3]), batch_images=2, questions_per_image=None, seed=7)
    random = np.random.default_rng((7, 0))
    random.random(5)
    wanted = random.permutation(4)
    assert [sampler.images(step) for step in range(2)] == [sorted(wanted[:2]), sorted(wanted[2:])]
    assert sampler.blocks(0) == []
