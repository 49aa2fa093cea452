"""Installed plugins, and what they declare. Imports no torch."""

from hacore.registry.catalogue import CORE, catalogue, published, required_library
from hacore.registry.discovery import Registry, registry
from hacore.registry.installed import BrokenPlugin, Installed
from hacore.registry.installing import install_arguments, install_words

__all__ = [
    "CORE",
    "BrokenPlugin",
    "Installed",
    "Registry",
    "catalogue",
    "install_arguments",
    "install_words",
    "published",
    "registry",
    "required_library",
]
