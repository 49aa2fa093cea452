"""Specs: one TOML file is the whole experiment. Nothing here imports torch."""

from hacore.spec._load import load_spec as load_spec
from hacore.spec._load import needs as needs
from hacore.spec._load import read_toml as read_toml
from hacore.spec._load import resolve as resolve
from hacore.spec._load import set_values as set_values
from hacore.spec._load import spec_keys as spec_keys
from hacore.spec._schema import SECTIONS as SECTIONS
from hacore.spec._schema import EvalConfig as EvalConfig
from hacore.spec._schema import FeaturesConfig as FeaturesConfig
from hacore.spec._schema import HeadConfig as HeadConfig
from hacore.spec._schema import Spec as Spec
from hacore.spec._schema import TrainConfig as TrainConfig
from hacore.spec._schema import Use as Use
from hacore.spec._structure import describe_type as describe_type
from hacore.spec._structure import inline as inline
from hacore.spec._structure import shown as shown
from hacore.spec._structure import structure_config as structure_config
from hacore.spec._structure import structure_table as structure_table
from hacore.spec._structure import unstructure_config as unstructure_config
from hacore.spec._sweep import Combination as Combination
from hacore.spec._sweep import Sweep as Sweep
from hacore.spec._sweep import is_sweep as is_sweep
from hacore.spec._sweep import load_sweep as load_sweep
from hacore.spec._write import dump_spec as dump_spec
from hacore.spec._write import spec_table as spec_table
