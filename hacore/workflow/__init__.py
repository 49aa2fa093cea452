"""What one does with a spec or a run: check it, run it, measure it again."""

from hacore.workflow import run
from hacore.workflow.checking import Check, check
from hacore.workflow.measuring import evaluate_run

__all__ = ["Check", "check", "evaluate_run", "run"]
