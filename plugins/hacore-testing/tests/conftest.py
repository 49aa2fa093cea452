"""Runs a contract on a class that no package declares."""

import inspect
import itertools
import sys
import types

import attrs
import pytest

from hacore.plugin import Component
from hacore.registry import Installed
from hacore.testing import contract


@attrs.frozen(kw_only=True)
class Nothing:
    """No options."""


def cases(test):
    """Every combination of a test's parameters, as pytest would call it."""
    axes = []
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "skipif" and mark.args[0]:
            return []
        if mark.name == "parametrize":
            axes.append([{mark.args[0]: value} for value in mark.args[1]])
    return [
        {key: value for part in parts for key, value in part.items()} for parts in itertools.product(*axes)
    ]


@pytest.fixture
def failures(monkeypatch):
    """failures(kind, cls, config=..., **options): {test: its one line} of the tests that fail."""

    def run(kind, cls, config=Nothing, settings=None, **options):
        tests = contract(kind, "mine", **(settings or {}), **options)
        component = Component(kind=kind, name="mine", target="here:It", config=config, summary="for a test")
        monkeypatch.setitem(sys.modules, "here", types.SimpleNamespace(It=cls))
        local = Installed(declared=component, distribution="here", version="1")
        tests.installed = staticmethod(lambda: local)
        problems = {}
        for name, test in inspect.getmembers(tests, inspect.isfunction):
            if not name.startswith("test_") or name == "test_declaring_imports_no_torch":
                continue
            for case in cases(test):
                try:
                    test(tests(), **case)
                except pytest.skip.Exception:
                    pass
                except pytest.fail.Exception as failure:
                    problems.setdefault(name, failure.msg)
                except Exception as error:
                    problems.setdefault(name, type(error).__name__)
        assert all(
            "\n" not in message for message in problems.values() if not message.startswith("RuntimeError")
        )
        return problems

    return run
