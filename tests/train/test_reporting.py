"""What a person reads while a training runs."""

from hacore.console import Console
from hacore.measure.scores import Part, Scores
from hacore.train.reporting import ConsoleReporter, Speed


def test_steps_and_evaluations_in_words():
    scores = Scores(
        questions=10,
        loss=0.1234,
        accuracy=0.456,
        kept=0.16,
        by_type={"color": Part(accuracy=0.5, questions=10)},
        by_group={},
    )
    lines = []
    reporter = ConsoleReporter(Console(lines.append, seconds=0.0))
    reporter.start(1000, 2000, 500)
    lines.clear()
    reporter.train(1250, scores, Speed(questions_per_second=1234.4, seconds_left=62.4))
    reporter.evaluation(1250, "val", scores, best=True)
    reporter.evaluation(1500, "val", scores, best=False)
    reporter.message("run folder: runs/x")
    reporter.stop()
    assert lines == [
        "steps: 1,250 of 2,000  loss 0.123  accuracy  45.6%  kept  16.0%  1234 questions/s  0:01:02 left",
        "epoch 2.50  val accuracy 45.6%  color 50.0%  best",
        "epoch 3.00  val accuracy 45.6%  color 50.0%",
        "run folder: runs/x",
    ]


def test_a_training_that_was_at_its_end_is_not_said_to_train():
    lines = []
    ConsoleReporter(Console(lines.append, seconds=0.0)).start(2000, 2000, 500)
    assert lines == []
