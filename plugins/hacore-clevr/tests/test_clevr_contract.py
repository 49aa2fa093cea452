import pytest

from hacore.testing import contract

TestContract = contract("dataset", "clevr")


@pytest.fixture(autouse=True, scope="module")
def folder(make_official, tmp_path_factory):
    """The options need a folder, which is made when the tests run."""
    root = make_official(tmp_path_factory.mktemp("data") / "CLEVR_mini")
    TestContract.options = {"root": str(root), "size": [8, 12]}
