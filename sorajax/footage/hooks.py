"""What a user gives a preparation by the command line: limits by name, and functions of their own."""

import dataclasses
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sorajax.config import from_dict
from sorajax.errors import InputError
from sorajax.footage.filters import FilterConfig


def limits(given: Sequence[str]) -> FilterConfig:
    """A config of NAME=VALUE pairs. Raises ConfigError or InputError for one that is not known or does not fit."""
    kinds = {f.name: type(f.default) for f in dataclasses.fields(FilterConfig)}
    values: dict[str, Any] = {}
    for pair in given:
        name, _, text = pair.partition("=")
        try:
            kind = kinds.get(name, float)
            values[name] = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        except KeyError:
            raise InputError(f"--limit {pair}: {text!r} is neither true nor false; write one of them") from None
        except ValueError:
            raise InputError(f"--limit {pair}: {text!r} is not a number; write it as in min_seconds=2") from None
    return from_dict(FilterConfig, values, "--limit")


def function(name: str) -> Callable[..., Any]:
    """The function of "module:function", sought in the current folder too. Raises InputError if there is none."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{name} cannot be loaded ({error}); name it as module:function") from None
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise InputError(f"{name} is no function; name one that takes a scene")
    return found
