"""What a configuration names as `module:function`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import ConfigError

__all__ = ["find"]


def find(target: str, place: str) -> Any:
    """The object that `target` names, as a configuration gives it at `place`.  Raises ConfigError."""
    module_name, _, attribute = target.partition(":")
    try:
        found: Any = import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"{place}: the module of {target!r} cannot be imported ({error}); "
            "is its folder on PYTHONPATH, or its package installed?"
        ) from error
    except Exception as error:  # it is somebody's program, and may fail in any way
        raise ConfigError(f"{place}: the module of {target!r} fails: {type(error).__name__}: {error}") from error
    for name in attribute.split("."):
        found = getattr(found, name, None)
        if found is None:
            raise ConfigError(f"{place}: {module_name!r} has no {attribute!r}")
    return found
