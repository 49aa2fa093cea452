"""Installed plugins, and what they declare. Imports no torch."""

from hacore.registry.catalogue import CORE, catalogue, required_libraries
from hacore.registry.discovery import Registry, registry
from hacore.registry.installed import BrokenPlugin, Installed

__all__ = ["CORE", "BrokenPlugin", "Installed", "Registry", "catalogue", "registry", "required_libraries"]
