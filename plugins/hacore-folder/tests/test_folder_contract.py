import pytest

from hacore.testing import contract

TestShares = contract("dataset", "folder")
TestSplits = contract("dataset", "folder")
TestSeveral = contract("dataset", "folder")


@pytest.fixture(autouse=True, scope="module")
def folders(make_folder, tmp_path_factory):
    """The options need folders, which are made when the tests run."""
    for suite in (TestShares, TestSplits, TestSeveral):
        root = tmp_path_factory.mktemp("data") / "mine"
        rows = make_folder(root)
        suite.options = {"root": str(root), "size": [12, 16]}
        lines = ["image,question,answer,split"]
        for number, (image, question, answer) in enumerate(rows):
            split = ("train", "train", "val", "test")[number // 2 % 4]
            several = f"{answer}|{answer}ish" if suite is TestSeveral else answer
            lines.append(f"{image},{question},{several},{split}")
        if suite is not TestShares:
            (root / "questions.csv").write_text("\n".join(lines) + "\n")
