"""Installed plugins, and what they declare. Imports no torch."""

from hacore.registry.catalogue import catalogue, required_library
from hacore.registry.discovery import Registry, registry
from hacore.registry.installed import CORE, BrokenPlugin, Installed

__all__ = ["CORE", "BrokenPlugin", "Installed", "Registry", "catalogue", "registry", "required_library"]
