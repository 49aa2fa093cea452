"""Which questions a step asks: a pure function of seed and step, so a position is just a number."""

from __future__ import annotations

import numpy as np

from hacore.data import Ints, Questions
from hacore.machine.processes import World
from hacore.spec import Spec, TrainConfig


class Sampler:
    """Shuffled batches of ``batch_images`` images with their questions.

    An epoch asks every question once. An image with more than ``questions_per_image`` questions
    comes several times, each time with other ones. The last batch of an epoch may be smaller.
    Every process takes its share of the images of each batch; together they take all of them.
    With ``block_images``, the images are cut into blocks of this many in a row, at another
    place in each epoch; the blocks are shuffled, and the visits of a block, so that images which are
    read from a disk come from one place for a while.
    """

    def __init__(
        self,
        questions: Questions,
        *,
        batch_images: int,
        questions_per_image: int | None,
        block_images: int | None = None,
        seed: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self._image = questions.image
        self._batch = batch_images
        self._per_image = questions_per_image
        self._block = block_images
        self._shift = 0
        self._blocks: Ints = np.empty(0, np.int64)
        self._seed = seed
        self._rank = rank
        self._processes = processes
        self._epoch = -1
        self._order: Ints = np.empty(0, np.int64)
        self._starts: Ints = np.empty(0, np.int64)
        self._ends: Ints = np.empty(0, np.int64)
        per_image = np.bincount(questions.image) if len(questions) else np.empty(0, np.int64)
        visits = int(np.ceil(per_image / (questions_per_image or max(per_image.max(initial=1), 1))).sum())
        self.steps_per_epoch = max(1, -(-visits // batch_images))

    def parts(self, step: int, count: int) -> list[Ints]:
        """Rows of this process's questions in step ``step`` (from 0), in ``count`` parts of about as many
        images each; some may be empty.
        """
        own = self._visits(step)[self._rank :: self._processes]
        return [self._concatenate(part) for part in np.array_split(own, count)]

    def images(self, step: int) -> list[int]:
        """The images of the step over all processes, each once, in the order of the split."""
        rows = self._concatenate(self._visits(step))
        return sorted(set(self._image[rows].tolist()))

    def blocks(self, step: int) -> list[tuple[int, int]]:
        """Images [start, stop) of the blocks of the step, and of the block after them; in order.

        Empty without ``block_images``. At the end of an epoch the next one's block is not named.
        """
        if self._block is None:
            return []
        visits = self._visits(step)
        first = step % self.steps_per_epoch * self._batch
        following = self._blocks[first:]
        # Equal blocks stand together, so the next other one after the step's last is the next block.
        after = following[len(visits) :]
        after = after[after != following[len(visits) - 1]][:1] if len(visits) else after[:0]
        names = dict.fromkeys([*following[: len(visits)].tolist(), *after.tolist()])
        return [
            (max(0, block * self._block - self._shift), (block + 1) * self._block - self._shift)
            for block in names
        ]

    def count(self, step: int) -> int:
        """Number of questions of the step over all processes."""
        visits = self._visits(step)
        return int((self._ends[visits] - self._starts[visits]).sum())

    def count_until(self, steps: int) -> int:
        """Number of questions of the first ``steps`` steps over all processes."""
        epochs, rest = divmod(steps, self.steps_per_epoch)  # an epoch asks every question once
        last = sum(self.count(epochs * self.steps_per_epoch + step) for step in range(rest))
        return epochs * len(self._image) + last

    def _visits(self, step: int) -> Ints:
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._shuffle(epoch)
        return self._shuffled[position * self._batch : (position + 1) * self._batch]

    def _concatenate(self, visits: Ints) -> Ints:
        if not len(visits):
            return np.empty(0, np.int64)
        return np.concatenate([self._order[self._starts[v] : self._ends[v]] for v in visits])

    def _shuffle(self, epoch: int) -> None:
        """Draw the epoch: questions shuffled within their image, cut into visits, visits shuffled."""
        random = np.random.default_rng((self._seed, epoch))
        count = len(self._image)
        self._order = np.lexsort((random.random(count), self._image))
        image = self._image[self._order]
        new_image = np.flatnonzero(np.diff(image, prepend=-1))
        position = np.arange(count) - np.repeat(new_image, np.diff(new_image, append=count))
        per_visit = self._per_image or max(count, 1)
        self._starts = np.flatnonzero(position % per_visit == 0)
        self._ends = np.append(self._starts[1:], count)
        self._shuffled = random.permutation(len(self._starts))
        if self._block is not None:
            # Stable sorts: the visits keep their random order within a block, the blocks get one.
            self._shift = int(random.integers(self._block))
            block = (image[self._starts[self._shuffled]] + self._shift) // self._block
            rank = random.permutation(int(block.max(initial=0)) + 1)
            order = np.argsort(rank[block], kind="stable")
            self._shuffled, self._blocks = self._shuffled[order], block[order]
        self._epoch = epoch


def make_sampler(spec: Spec, questions: Questions, world: World | None = None) -> Sampler:
    """The sampler of a spec's training questions, for one process of several."""
    world = world or World()
    return Sampler(
        questions,
        batch_images=spec.train.batch_images,
        questions_per_image=spec.train.questions_per_image,
        block_images=spec.train.block_images,
        seed=spec.seed,
        rank=world.rank,
        processes=world.processes,
    )


def total_steps(config: TrainConfig, sampler: Sampler) -> int:
    """Steps of the whole training: the epochs, or ``steps`` if that is fewer."""
    steps = max(1, round(config.epochs * sampler.steps_per_epoch))
    return min(steps, config.steps or steps)
