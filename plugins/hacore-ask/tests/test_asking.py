"""Questions to a trained model: the model's own answers, on any image, without the data."""

import attrs
import numpy as np
import pytest
import torch

import hacore
from hacore.data import Dataset, make_batch
from hacore.errors import DataError, HacoreError, RunError
from hacore.measure.reading import question_text
from hacore.spec import load_spec

Image = pytest.importorskip("PIL.Image")

SELECTORS = {
    "han": ["selector.k=7"],
    "adahan": ['selector={use="adahan"}'],
    "san": ['selector={use="soft-attention"}', 'aggregator={use="sum-pool"}'],
}
SMALL = [
    *("data.images=40", "data.held_out=5", "data.validation=5", "image_encoder.channels=[4, 8]"),
    *("image_encoder.strides=[4]", "train.steps=3", "train.batch_images=4", "train.threads=1"),
    *("train.warmup_steps=0", "eval.baseline_steps=0", "train.precision=float32"),
]


def finished(name, root, runs):
    spec = load_spec(root / "experiments" / "han_rn.toml", [*SMALL, *SELECTORS[name]])
    folder, _ = hacore.run(spec, runs=runs, device="cpu", report=False)
    return folder


@pytest.fixture(scope="module", params=SELECTORS)
def trained(request, tmp_path_factory):
    """The model of a run of a second, with each kind of selector."""
    folder = finished(request.param, request.config.rootpath, tmp_path_factory.mktemp("runs"))
    return hacore.load(folder.path, device="cpu")


@pytest.fixture(scope="module")
def han(request, tmp_path_factory):
    return finished("han", request.config.rootpath, tmp_path_factory.mktemp("han"))


def test_replies_are_the_model_s_own(trained):
    dataset = trained.dataset
    asked, images = dataset.questions("test"), dataset.images("test")
    rows = np.array([3, 50, 51, 99])
    batch = make_batch(asked, images, rows)
    with torch.no_grad():
        output = trained.model(batch.images, batch.words_QT, batch.lengths_Q, batch.image_index_Q)
    texts = [
        " ".join(
            dataset.vocabulary[word] for word in asked.words[asked.offsets[row] : asked.offsets[row + 1]]
        )
        for row in rows
    ]
    pairs = [(images[asked.image[row]], text) for row, text in zip(rows, texts, strict=True)]
    replies = trained.ask_many(pairs, top=4)
    selection = output.selection
    for number, reply in enumerate(replies):
        probability_A = output.logits_QA[number].softmax(-1)
        order = probability_A.argsort(descending=True)[:4].tolist()
        assert [candidate.answer for candidate in reply.answers] == [
            dataset.answers[answer] for answer in order
        ]
        assert [candidate.probability for candidate in reply.answers] == pytest.approx(
            probability_A[order].tolist(), abs=1e-5
        )
        valid = slice(None) if selection.valid_QK is None else selection.valid_QK[number]
        index = selection.index_QK[number][valid].tolist()
        assert [cell.index for cell in reply.kept] == index
        assert [(cell.row, cell.column) for cell in reply.kept] == [
            divmod(number, selection.grid[1]) for number in index
        ]
        positions = selection.positions_N2[index].flatten().tolist()
        assert [value for cell in reply.kept for value in (cell.x, cell.y)] == pytest.approx(
            positions, abs=1e-5
        )
        presence = selection.presence_QN[number][index].tolist()
        assert [cell.presence for cell in reply.kept] == pytest.approx(presence, rel=1e-4)
        if selection.weight_QK is None:
            assert {cell.weight for cell in reply.kept} <= {1.0}
        else:
            assert sum(cell.weight for cell in reply.kept) == pytest.approx(1, abs=1e-4)
        assert reply.grid == selection.grid
        assert (reply.seen.brightness > 0).sum() <= len(reply.kept)
        assert reply.unknown == ()
        assert reply.draw(300).width == 320


def test_a_batch_gives_what_one_by_one_gives(trained):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 90, 60, 3)).astype(np.uint8)
    questions = ["is the red object on the left?", "what is the shape of the gray object", "how many"]
    pairs = [(images[turn % 3], questions[turn % 2 + (turn > 4)]) for turn in range(7)]
    for batch in (1, 2, 64):
        for reply, (image, question) in zip(trained.ask_many(pairs, batch=batch), pairs, strict=True):
            one = trained.ask(image, question)
            assert reply.question == question
            assert reply.answer == one.answer
            assert reply.answers[0].probability == pytest.approx(one.answers[0].probability, abs=1e-5)
            assert [cell.index for cell in reply.kept] == [cell.index for cell in one.kept]
    assert trained.ask_many([]) == []
    assert [reply.question for reply in trained.ask(images[0], questions)] == questions


def test_a_file_is_resized_as_the_data_are(han, tmp_path):
    decode = pytest.importorskip("hacore_packing.decode")
    trained = hacore.load(han, device="cpu")
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (300, 200, 3)).astype(np.uint8)).save(tmp_path / "large.png")
    as_packed = decode.read_image(tmp_path / "large.png", (75, 75))
    from_file, from_array = (
        trained.ask(image, "what is the shape of the red object ?")
        for image in (tmp_path / "large.png", as_packed)
    )
    assert [candidate.probability for candidate in from_file.answers] == [
        candidate.probability for candidate in from_array.answers
    ]
    assert from_file.picture.size == (200, 300)


def test_words_never_seen_are_named_once_in_their_order(han):
    reply = hacore.load(han, device="cpu").ask(
        np.zeros((75, 75, 3), np.uint8), "Is the ZEBRA near the red zebra, or zoo?"
    )
    assert reply.unknown == ("zebra", "near", "or", "zoo")
    assert reply.as_dict()["unknown_words"] == ["zebra", "near", "or", "zoo"]


def test_the_data_are_not_opened(han, monkeypatch):
    def refuse(self, config):
        raise AssertionError("the data were opened")

    trained = hacore.load(han, device="cpu")
    monkeypatch.setattr(trained.dataset_class, "__init__", refuse)
    again = hacore.load(han, device="cpu")
    question = (np.zeros((75, 75, 3), np.uint8), "is the red object on the left?")
    assert again.ask(*question).as_dict() == trained.ask(*question).as_dict()
    with pytest.raises(AssertionError, match="the data were opened"):
        _ = again.dataset


def test_a_run_of_before_opens_its_data(han):
    content = han.inputs_file.read_bytes()
    try:
        han.inputs_file.unlink()
        trained = hacore.load(han, device="cpu")
        assert trained.ask(np.zeros((75, 75, 3), np.uint8), "is the zebra red?").unknown == ("zebra",)
        han.inputs_file.write_text("{}")
        with pytest.raises(RunError, match=r"inputs\.json: .*vocabulary.*; remove it"):
            hacore.load(han, device="cpu")
    finally:
        han.inputs_file.write_bytes(content)


def test_a_dataset_with_a_tokenizer_of_its_own_is_asked(han, monkeypatch):
    trained = hacore.load(han, device="cpu")
    plain = trained.ask(np.zeros((75, 75, 3), np.uint8), "is the red object on the left ?")

    def backwards(self, question):
        return Dataset.tokenize(self, question[::-1])

    monkeypatch.setattr(trained.dataset_class, "tokenize", backwards)
    again = hacore.load(han, device="cpu")
    reply = again.ask(np.zeros((75, 75, 3), np.uint8), "? tfel eht no tcejbo der eht si zebra")
    assert reply.unknown == ("zebra",)
    same = again.ask(np.zeros((75, 75, 3), np.uint8), "? tfel eht no tcejbo der eht si")
    assert same.answers == plain.answers


def test_data_with_other_words_are_refused(han):
    trained = hacore.load(han, device="cpu")
    other = attrs.evolve(trained.summary, vocabulary=(*trained.summary.vocabulary[:-1], "zebra"))
    with pytest.raises(RunError, match="words or answers of dataset 'sort-of-clevr'"):
        _ = attrs.evolve(trained, summary=other).dataset


def test_bad_questions_are_all_named(han, names):
    trained = hacore.load(han, device="cpu")
    image = np.zeros((75, 75, 3), np.uint8)
    with pytest.raises(HacoreError) as caught:
        trained.ask(image, ["is it red?", "", "...", "word " * 10_000, 7])
    empty, wordless, long, number = str(caught.value).splitlines()
    names(empty, "question 2:", "empty", '"what color is the ball?"')
    names(wordless, "question 3:", "'...'", "no words")
    names(long, "question 4:", "10,000 words", "at most 1,000", "shorten")
    names(number, "question 5:", "text", "int")
    with pytest.raises(HacoreError, match=r"^the question is empty"):
        trained.ask(image, "  ")
    with pytest.raises(HacoreError, match=r"^the question has 1,500 words"):
        trained.ask(image, "?" * 1500)
    with pytest.raises(HacoreError, match="must be at least 1"):
        trained.ask(image, "is it red?", top=0)
    with pytest.raises(DataError, match="no such image file"):
        trained.ask("none.png", "is it red?")
    assert len(trained.ask(image, "is it red? " * 250).answers) == 5


def test_an_image_of_one_pixel_and_a_thread_of_pixels(han):
    trained = hacore.load(han, device="cpu")
    for size in ((1, 1), (3000, 1), (1, 3000)):
        drawn = trained.ask(Image.new("RGB", size), "is it red?").draw(200)
        assert max(drawn.size) < 400


def test_words_are_joined_as_one_writes():
    words = ["is", "it", ";", "red", ",", "or", "blue", "?"]
    assert question_text(words) == "is it; red, or blue?"
