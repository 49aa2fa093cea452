"""The miniature of DAQUAR."""

import pytest
from hacore_daquar import miniature


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def make_daquar():
    """make_daquar(root, train=20, test=6, categories=894, folder="images")"""
    return miniature.write_daquar


@pytest.fixture
def write_triples():
    """write_triples(path, [(question, answer, image), ...])"""
    return miniature.write_triples


@pytest.fixture
def daquar(tmp_path):
    """20 training and 6 test images, three questions about each."""
    return miniature.write_daquar(tmp_path / "daquar")
