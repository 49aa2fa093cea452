"""What a run leaves in its folder, and what one does with it. Importing this imports no torch."""

from hacore.runs.folder import RunFolder
from hacore.runs.result import Result

__all__ = ["Result", "RunFolder"]
