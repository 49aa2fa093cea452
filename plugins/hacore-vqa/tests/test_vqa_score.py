"""``hacore score vqa``: the official numbers, and everything that can be wrong with the files."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def paths(v2, tmp_path):
    """Questions and annotations of val, and a results file that gives each question its common answer."""
    questions = v2 / "v2_OpenEnded_mscoco_val2014_questions.json"
    annotations = v2 / "v2_mscoco_val2014_annotations.json"
    results = tmp_path / "results.json"
    records = json.loads(annotations.read_text())["annotations"]
    results.write_text(
        json.dumps(
            [
                {"question_id": record["question_id"], "answer": record["multiple_choice_answer"]}
                for record in records
            ]
        )
    )
    return questions, annotations, results


@pytest.fixture
def score(hacore, paths):
    def run(*more):
        questions, annotations, results = paths
        given = ("--questions", questions, "--annotations", annotations, "--results", results)
        return hacore("score", "vqa", *given, *more)

    return run


def wrong(answers):
    """Changes some of the answers, so that numbers differ between types."""
    for record in answers:
        if record["question_id"] % 1000 == 0 and record["question_id"] < 104000:
            record["answer"] = "pink"
        elif record["question_id"] % 1000 == 1:
            record["answer"] = {"1": "one", "2": "two", "3": "three"}[record["answer"]]


def test_json_is_what_the_official_tool_gives(score, paths, change):
    change(paths[2], wrong)
    status, out, err = score("--json")
    assert (status, err) == (0, [])
    # Of 8 questions about colours 3 are answered as one person in ten did.
    assert json.loads(out) == {
        "overall": 91.25,
        "perAnswerType": {"other": 73.75, "number": 100.0, "yes/no": 100.0},
        "perQuestionType": {
            "what is the": 65.0,
            "what number": 100.0,
            "are the": 100.0,
            "what color are the": 82.5,
            "how many": 100.0,
            "is there a": 100.0,
        },
    }


def test_text_and_the_score_of_each_question(score, paths, change, tmp_path):
    change(paths[2], wrong)
    status, out, _ = score("--per-question", tmp_path / "each" / "scores.json")
    assert status == 0
    assert out.splitlines()[:3] == ["overall: 91.25", "perAnswerType:", "  other: 73.75"]
    each = json.loads((tmp_path / "each" / "scores.json").read_text())
    assert len(each) == 24
    assert (each["101000"], each["104000"], each["102001"]) == (30.0, 100.0, 100.0)


def test_legacy(score, paths, change):
    def articles(answers):
        for record in answers:
            if record["question_id"] % 1000 == 0:
                record["answer"] = "the " + record["answer"]

    change(paths[2], articles)
    assert json.loads(score("--json")[1])["perAnswerType"]["other"] == 100.0

    def shout(content):
        for annotation in content["annotations"]:
            for one in annotation["answers"]:
                one["answer"] = one["answer"].upper()

    change(paths[1], shout)
    assert json.loads(score("--json")[1])["perAnswerType"]["other"] == 100.0
    assert json.loads(score("--json", "--legacy")[1])["perAnswerType"]["other"] == 0.0


def test_annotations_need_no_most_frequent_answer(score, paths, change):
    def drop(content):
        for annotation in content["annotations"]:
            del annotation["multiple_choice_answer"]

    change(paths[1], drop)
    assert score()[1].startswith("overall: 100.0\n")


def test_flat_lists_of_cp_are_taken(hacore, cp, tmp_path):
    records = json.loads((cp / "vqacp_v2_test_annotations.json").read_text())
    results = tmp_path / "results.json"
    results.write_text(
        json.dumps(
            [
                {"question_id": record["question_id"], "answer": record["multiple_choice_answer"]}
                for record in records
            ]
        )
    )
    words = ["--questions", cp / "vqacp_v2_test_questions.json"]
    words += ["--annotations", cp / "vqacp_v2_test_annotations.json", "--results", results]
    status, out, _ = hacore("score", "vqa", *words)
    assert status == 0
    assert out.startswith("overall: 100.0\n")


def test_results_with_missing_double_and_foreign_ids_are_all_named(score, paths, change, tmp_path, names):
    results = paths[2]

    def spoil(answers):
        answers[0]["question_id"] = 5
        answers.append({"question_id": 102000, "answer": "pink"})
        answers[4]["answer"] = 3
        answers[5]["question_id"] = "102002"
        del answers[8]["answer"]
        del answers[-3:-1]

    change(results, spoil)
    each = tmp_path / "each.json"
    status, out, err = score("--per-question", each)
    assert (status, out) == (1, "")
    *lines, count = err
    for line, parts in zip(
        lines,
        [
            ["question 102001:", "'str'", "'int'", "'$.answer'"],
            ["question 102002:", "question_id", "string", "whole number"],
            ["question 103002:", "missing", "'answer'"],
            ["question 102000:", "more than once"],
            ["3 questions (101000, 108001, 108002):", "no answer"],
            ["question 5:", "questions file"],
        ],
        strict=True,
    ):
        names(line, f"hacore: {results}:", *parts)
    names(count, "6 problems")
    assert not each.exists()


def test_annotations_that_are_wrong_are_all_named(score, paths, names, change):
    annotations = paths[1]

    def spoil(content):
        records = content["annotations"]
        records[0]["answers"].pop()
        records[1]["answers"].append(records[1]["answers"][0])
        records.append(dict(records[2]))
        records[3]["question_id"] = 9
        records[4]["answers"] = "none"

    change(annotations, spoil)
    status, out, err = score("--json")
    assert status == 1
    problems = json.loads(out)["problems"]
    for problem, parts in zip(
        problems,
        [
            ["question 101000:", "9 answers", "10"],
            ["question 101001:", "11 answers", "10"],
            ["question 102001:", "'array'", "'str'", "'$.answers'"],
            ["question 101002:", "more than once"],
            ["question 102000:", "no annotation"],
            ["question 9:", "questions file"],
        ],
        strict=True,
    ):
        names(problem, f"{annotations}:", *parts)
    assert err == [*(f"hacore: {problem}" for problem in problems), "hacore: 6 problems found"]
    assert json.loads(out) == {"summary": {}, "problems": problems}


@pytest.mark.parametrize(
    ("which", "text", "parts"),
    [
        (
            0,
            '{"questions": [{"question_id": 101000, ',
            ["cut off", "39 bytes", "download or unpack it again"],
        ),
        (1, '{"annotations": [], "x": ', ["cut off", "25 bytes", "download or unpack it again"]),
        (2, '[{"question_id": 1', ["cut off", "18 bytes", "download or unpack it again"]),
        (2, "", ["cut off", "0 bytes", "download or unpack it again"]),
        (1, '{"questions": []}', ["'annotations'", "list"]),
        (2, '{"answers": []}', ["list"]),
        (2, "[]", ["no questions"]),
        (2, "7", ["list"]),
        (1, '{"annotations": 7}', ["JSON", "`array`", "`int`"]),
        (2, "[" * 100_000, ["JSON", "recursion"]),
        (2, "[1,]", ["JSON", "trailing comma in array (byte 3)"]),
    ],
)
def test_files_that_are_broken_as_a_whole_are_named_once(score, paths, names, which, text, parts):
    paths[which].write_text(text)
    status, out, err = score()
    assert (status, out) == (1, "")
    names(err[0], f"hacore: {paths[which]}:", *parts)
    assert err[-1] == "hacore: 1 problem found"


def test_text_that_is_no_utf8_is_named_with_its_question(score, paths):
    paths[2].write_bytes(paths[2].read_bytes().replace(b'"red"', b'"r\xffd"', 1))
    status, _, err = score()
    assert status == 1
    assert len(err) == 2
    assert str(paths[2]) in err[0]


def test_many_questions_are_counted(score, paths, names, change, tmp_path):
    for which, key in ((0, "questions"), (1, "annotations")):

        def many(content, key=key):
            first = content[key][0]
            content[key] += [{**first, "question_id": number} for number in range(1, 101)]

        change(paths[which], many)
    status, _, err = score()
    assert status == 1
    names(err[0], f"hacore: {paths[2]}:", "100 questions (1, 2, 3, ", "49, 50 and 50 more", "no answer")


def test_files_that_are_not_given_or_not_there(hacore, score, paths):
    lines = hacore("score", "vqa", "--questions", paths[0])[2]
    assert lines == [
        "hacore: --annotations, --results not given; name the official files and the results file"
    ]
    paths[1].unlink()
    status, _, err = score()
    assert status == 1
    assert err == [f"hacore: {paths[1]}: cannot be read (No such file or directory); give the official file"]


def test_imports_neither_torch_nor_pillow(paths):
    code = (
        "import sys\n"
        "from hacore.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as left:\n    assert not left.code\n"
        "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))\n"
    )
    words = [
        str(word) for word in ("--questions", paths[0], "--annotations", paths[1], "--results", paths[2])
    ]
    ran = subprocess.run(
        [sys.executable, "-c", code, "score", "vqa", *words], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"
