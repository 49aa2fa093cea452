"""What one does with a spec or a run: check it, run it, measure it again."""

from hacore.workflow.check import Check, check
from hacore.workflow.evaluate import evaluate_run
from hacore.workflow.run import run

__all__ = ["Check", "check", "evaluate_run", "run"]
