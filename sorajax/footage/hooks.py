"""What a user gives a preparation by the command line: limits by name, and functions of their own."""

import dataclasses
import importlib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sorajax.config import from_dict
from sorajax.errors import InputError
from sorajax.footage.augment import Augment
from sorajax.footage.filters import FilterConfig

T = TypeVar("T")


def limits(given: Sequence[str]) -> FilterConfig:
    """A config of NAME=VALUE pairs. Raises ConfigError or InputError for one that is not known or does not fit."""
    return _config(FilterConfig, given, "--limit", "min_seconds=2")


def augment(given: Sequence[str]) -> Augment:
    """A config of NAME or NAME=VALUE, as in flips crops=2 strides=1,2. Raises as ``limits`` does."""
    return _config(Augment, given, "--augment", "crops=2 or strides=1,2")


def _config(kind: type[T], given: Sequence[str], option: str, example: str) -> T:
    """A name alone is true."""
    kinds = {f.name: type(f.default) for f in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    values: dict[str, Any] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        try:
            own = kinds.get(name, float)
            if own is bool:
                values[name] = {"true": True, "false": False}[text.lower() if equals else "true"]
            elif own is tuple:
                values[name] = [int(one) for one in text.split(",")]
            else:
                values[name] = own(text) if name in kinds else text
        except KeyError:
            raise InputError(f"{option} {pair}: {text!r} is neither true nor false; write one of them") from None
        except ValueError:
            raise InputError(f"{option} {pair}: {text!r} is not a number; write it as in {example}") from None
    return from_dict(kind, values, option)


def resources(given: Sequence[str]) -> dict[str, float]:
    """What a process asks of a cluster, of NAME=X pairs. Raises InputError for an amount that is none."""
    values: dict[str, float] = {}
    for pair in given:
        name, _, text = pair.partition("=")
        try:
            values[name] = float(text)
        except ValueError:
            values[name] = math.nan
        if not name or not 0 < values[name] < math.inf:
            raise InputError(f"--ray-resources {pair}: no name and number above 0; write it as in GPU=1")
    return values


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
