"""Tables as people and their programs write them, and what is wrong with them, by line."""

import json

import pytest
from hacore_folder.findings import Findings
from hacore_folder.pictures import Pictures
from hacore_folder.questions import find_table, read_questions

from hacore.errors import DataError

ROWS = [
    ("a.png", "what is it?", "a ball"),
    ("b.png", "how many, in all?", "2"),
    ("a.png", "ist er größer?", "ja"),
]


@pytest.fixture
def root(tmp_path, picture):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    return tmp_path


def read(path, **options):
    findings = Findings(path)
    questions, notes = read_questions(findings, Pictures(path.parent), **options)
    return questions, findings.lines(), notes


def plain(questions):
    return [(one.image, one.question, *one.answers) for one in questions]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_usual_csv_is_the_same_table(root, write, encoding, separator, end):
    path = root / "questions.csv"
    write(path, ROWS, encoding=encoding, delimiter=separator, lineterminator=end)
    questions, problems, notes = read(path)
    assert (problems, notes) == ([], [])
    assert plain(questions) == ROWS
    assert [one.line for one in questions] == [one.id for one in questions] == [2, 3, 4]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", ["jsonl", "json", "indented"])
def test_json_is_the_same_table(root, kind, encoding):
    records = [dict(zip(("image", "question", "answer"), row, strict=True)) for row in ROWS]
    text = "\n".join(json.dumps(record) for record in records)
    if kind != "jsonl":
        text = json.dumps(records, indent=2 if kind == "indented" else None)
    path = root / f"questions.{'jsonl' if kind == 'jsonl' else 'json'}"
    path.write_text(text, encoding=encoding)
    questions, problems, _ = read(path)
    assert problems == []
    assert plain(questions) == ROWS
    lines = {"jsonl": [1, 2, 3], "json": [1, 1, 1], "indented": [2, 7, 12]}[kind]
    assert [one.line for one in questions] == lines
    assert [one.id for one in questions] == [1, 2, 3]


def test_columns_in_any_order_and_quoted_lines(root):
    path = root / "questions.csv"
    path.write_text(
        'Question , ANSWER,image,split,type,id\n"what\nis it, ""really""?",a  ball,./a.png,Train,shape,7\n\n'
        '"how many?",2,b.png,test,count,8.0\n'
    )
    (first, second), problems, _ = read(path)
    assert problems == []
    assert (first.line, first.question, first.answers) == (2, 'what is it, "really"?', ("a ball",))
    assert (first.image, first.split, first.type, first.id) == ("a.png", "train", "shape", 7)
    assert (second.line, second.id) == (5, 8)


def test_several_answers(root):
    path = root / "questions.csv"
    path.write_text("image,question,answer\na.png,what?,ball | sphere|ball\n")
    assert read(path)[0][0].answers == ("ball", "sphere")
    path = root / "questions.jsonl"
    path.write_text(
        '{"image": "a.png", "question": "what?", "answer": ["ball", "sphere", 3.0]}\n'
        '{"image": "a.png", "question": "which?", "answer": "this|that"}\n'
        '{"image": "a.png", "question": "how many?", "answer": 4}\n'
    )
    questions, problems, _ = read(path)
    assert problems == []
    assert [one.answers for one in questions] == [("ball", "sphere", "3"), ("this|that",), ("4",)]


def test_paths_of_windows_and_accents_of_macos(root, picture):
    picture(root / "sub" / "cafe\u0301.png")
    path = root / "questions.csv"
    path.write_text("image,question,answer\nsub\\caf\u00e9.png,what?,a cafe\u0301\n", encoding="utf-8")
    (question,), problems, _ = read(path)
    assert problems == []
    assert question.image == "sub/cafe\u0301.png"
    assert question.answers == ("a caf\u00e9",)


def test_everything_that_is_wrong_is_named_with_its_line(root, names):
    path = root / "questions.csv"
    path.write_text(
        "image,question,answer,split,id\n"
        "a.png,what?,ball,train,1\n"
        "A.PNG,what?,ball,train,2\n"
        "none.png,what?,ball,train,3\n"
        "none.png,how?,ball,train,4\n"
        "../a.png,what?,ball,train,5\n"
        "C:\\a.png,what?,ball,train,6\n"
        ",what?,ball,train,7\n"
        "a.png, ,ball,train,8\n"
        "a.png,!!,ball,train,9\n"
        "a.png,what?,,train,10\n"
        "a.png,what?,ball||bat,train,11\n"
        "a.png,what?,ball,trian,12\n"
        "a.png,what?,ball,,13\n"
        "a.png,what?,ball,train,x\n"
        "a.png,what?,ball,train,1\n"
        "a.png,what, or which?,ball,train,17\n"
        'a.png,"what" kind?,ball,train,18\n'
        "a.png,,,train,19\n"
    )
    questions, problems, _ = read(path)
    assert [one.line for one in questions] == [2]
    wanted = [
        (3, "A.PNG", "is not in the folder", "a.png"),
        (4, "none.png", "is not in the folder", str(root)),
        (6, "../a.png", "leaves the folder"),
        (7, "C:", "absolute"),
        (8, "image is empty"),
        (9, "question is empty"),
        (10, "!!", "no words"),
        (11, "answer is empty"),
        (12, "answers is empty"),
        (13, "trian", "did you mean 'train'", "train, val or test"),
        (14, "split is empty", "train, val or test"),
        (15, "id is 'x'", "whole number"),
        (16, "id 1", "line 2"),
        (17, "6 fields", "5", "comma", "double quotes"),
        (18, "double quotes"),
        (19, "question is empty"),
        (19, "answer is empty"),
    ]
    assert len(problems) == len(wanted), problems
    for problem, (line, *parts) in zip(problems, wanted, strict=True):
        names(problem, f"{path}:{line}:", *parts)


def test_broken_json_is_named_with_its_line(root, names):
    path = root / "questions.jsonl"
    path.write_text(
        '{"image": "a.png", "question": "what?", "answer": "ball"}\n{"image": \n[1]\n'
        '{"image": "a.png", "question": ["what?"], "answer": "ball"}\n'
        '{"image": "a.png", "question": "what?", "answer": true}\n'
        '{"image": "a.png", "question": "what?", "answer": []}\n'
    )
    questions, problems, _ = read(path)
    assert len(questions) == 1
    wanted = [
        (2, "not JSON"),
        (3, "object"),
        (4, "question is a list"),
        (5, "is true"),
        (6, "answers"),
    ]
    for problem, (line, *parts) in zip(problems, wanted, strict=True):
        names(problem, f"{path}:{line}:", *parts)


def test_items_of_one_line_are_told_apart(root, names):
    path = root / "questions.json"
    rows = [{"image": "a.png", "question": question, "answer": "b"} for question in ("what?", "", "how?", "")]
    path.write_text(json.dumps([*rows, 3]))
    second, fourth, fifth = read(path)[1]
    names(second, f"{path}:1: item 2:", "question is empty")
    names(fourth, f"{path}:1: item 4:", "question is empty")
    names(fifth, f"{path}:1: item 5:", "must be an object")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ('{"questions": []}', 1, "list of objects"),
        ('[{"image": "a.png"},\n{"image": }]', 2, "not JSON"),
        ('[{"image": "a.png"}\n\n{"image": "b.png"}]', 3, "comma"),
        ('[{"image": "a.png"}', 1, "cut off"),
        ("[" * 100_000, 1, "not JSON"),
    ],
)
def test_a_json_list_that_is_none(root, names, text, line, part):
    path = root / "questions.json"
    path.write_text(text)
    problems = read(path)[1]
    assert [problem for problem in problems if part in problem]
    names(problems[0] if f":{line}:" in problems[0] else problems[-1], f"{path}:{line}:", part)


@pytest.mark.parametrize(
    ("data", "place", "parts"),
    [
        (b"", "", ["no questions", "image, question, answer"]),
        (b"image,question,answer\n", "", ["no questions"]),
        (b"image,question,answr\na.png,what?,ball\n", ":1", ["no column 'answer'", "did you mean 'answr'"]),
        (b"a.png,what?,ball\n", ":1", ["no column", "a.png, what?, ball"]),
        (b"image,question,answer,image\na.png,what?,ball,b.png\n", ":1", ["'image' twice"]),
        (b'image,question,answer\n\na.png,"what?,ball\n', ":3", ["never ends"]),
        ("image,question,answer\na.png,größer?,ja\n".encode("latin-1"), ":2", ["UTF-8"]),
        ("image,question,answer\n".encode("utf-16-le"), "", ["UTF-16", "UTF-8"]),
        ("image,question,answer\n".encode("utf-32"), "", ["UTF-32", "UTF-8"]),
        (b"\xff\xfea", "", ["UTF-16", "cut off"]),
    ],
)
def test_a_table_that_is_none(root, names, data, place, parts):
    path = root / "questions.csv"
    path.write_bytes(data)
    questions, problems, _ = read(path)
    assert questions == []
    names(problems[0], f"{path}{place}:", *parts)


def test_columns_that_are_not_read_are_told(root, names):
    path = root / "questions.csv"
    path.write_text("image,question,answer,spilt,\na.png,what?,ball,train,\n")
    questions, problems, notes = read(path)
    assert (len(questions), problems) == (1, [])
    (note,) = notes
    names(note, "spilt", "not read", "split")


def test_without_answers(root):
    path = root / "questions.csv"
    path.write_text("image,question,answer,split\na.png,what?,,\nb.png,which?,ball,nowhere\n")
    questions, problems, notes = read(path, answered=False)
    assert (problems, notes) == ([], [])
    assert [(one.image, one.answers, one.split) for one in questions] == [
        ("a.png", (), ""),
        ("b.png", (), ""),
    ]


def test_the_table_of_a_folder(tmp_path, names):
    def problem():
        with pytest.raises(DataError) as caught:
            find_table(tmp_path)
        return str(caught.value)

    names(problem(), str(tmp_path), "questions.csv", "image, question, answer")
    (tmp_path / "vqa.csv").touch()
    names(problem(), "rename vqa.csv")
    (tmp_path / "questions.jsonl").touch()
    assert find_table(tmp_path) == tmp_path / "questions.jsonl"
    (tmp_path / "questions.csv").touch()
    names(problem(), "questions.csv and questions.jsonl", "keep one")
    with pytest.raises(DataError, match="is not a folder"):
        find_table(tmp_path / "none")
