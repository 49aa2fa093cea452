"""What a sweep asks of a place where its runs are executed, which the package hacore-sweep brings."""

try:
    from hacore_sweep.executors import Demand, Ended, Process, Work, Workers
except ImportError as error:
    from hacore.registry.installing import missing_package

    raise missing_package("hacore.executors", "hacore_sweep") from error

__all__ = ["Demand", "Ended", "Process", "Work", "Workers"]
