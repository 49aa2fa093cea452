import pytest

from hacore.testing import contract

TestV2 = contract("dataset", "vqa-v2")
TestCp = contract("dataset", "vqa-cp-v2")
TestSoft = contract("dataset", "vqa-v2")


@pytest.fixture(autouse=True, scope="module")
def folder(make_v2, make_cp, tmp_path_factory):
    """The options need a folder, which is made when the tests run."""
    root = make_v2(tmp_path_factory.mktemp("data") / "vqa2")
    other = make_cp(root, tmp_path_factory.mktemp("data") / "vqacp")
    TestV2.options = {"root": str(root), "size": [8, 12]}
    TestSoft.options = {**TestV2.options, "targets": "soft", "loss": "binary"}
    TestCp.options = {"root": str(other), "images": str(root), "size": [8, 12], "validation": 0.3}
