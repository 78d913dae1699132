"""Modules of the library, and the base class of users' modules."""

# Submodules first, then the classes of the same names, so that the names are the classes
# whatever is imported first.
from .BaseHealthCheck import BaseHealthCheck
from .Heartbeat import Heartbeat
from .library import init_library_module_events
from .Module import ConfigScopeEnum, Module

__all__ = [
    "BaseHealthCheck",
    "ConfigScopeEnum",
    "Heartbeat",
    "Module",
    "init_library_module_events",
]
