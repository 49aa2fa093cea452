"""hacore: a workbench for hard attention in visual question answering."""

__version__ = "0.1.0"
