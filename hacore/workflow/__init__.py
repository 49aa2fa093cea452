"""What one does with a spec or a run: check it, run it, measure it again."""

from hacore.workflow.checking import Check, check
from hacore.workflow.measuring import evaluate_run
from hacore.workflow.measuring import evaluate_run as eval
from hacore.workflow.running import run

__all__ = ["Check", "check", "eval", "evaluate_run", "run"]
