"""Specs: one TOML file is the whole experiment. Nothing here imports torch."""

from hacore.spec._load import SpecLike, load_spec, needs, read_toml, resolve, set_values
from hacore.spec._schema import SECTIONS, EvalConfig, FeaturesConfig, HeadConfig, Spec, TrainConfig, Use
from hacore.spec._structure import (
    Overrides,
    describe_type,
    inline,
    override_words,
    shown,
    structure_config,
    structure_table,
    unstructure_config,
)
from hacore.spec._sweep import Combination, Sweep, is_sweep, load_sweep
from hacore.spec._write import dump_spec, spec_table

__all__ = [
    "SECTIONS",
    "Combination",
    "EvalConfig",
    "FeaturesConfig",
    "HeadConfig",
    "Overrides",
    "Spec",
    "SpecLike",
    "Sweep",
    "TrainConfig",
    "Use",
    "describe_type",
    "dump_spec",
    "inline",
    "is_sweep",
    "load_spec",
    "load_sweep",
    "needs",
    "override_words",
    "read_toml",
    "resolve",
    "set_values",
    "shown",
    "spec_table",
    "structure_config",
    "structure_table",
    "unstructure_config",
]
