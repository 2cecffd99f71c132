"""What the forward pass of a block keeps for its backward pass; the rest is computed again."""

from collections.abc import Callable
from typing import Any

import jax

from sorajax.attention import KEPT
from sorajax.errors import ConfigError

POLICIES: dict[str, Any] = {
    "block": jax.checkpoint_policies.nothing_saveable,
    "attention": jax.checkpoint_policies.save_only_these_names(KEPT),
    "products": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "none": jax.checkpoint_policies.everything_saveable,
}
"""Least memory first: a block's input alone; and the output of its attention, whose kernel then runs once; the results
of all products with weights; everything."""


def check(policy: str) -> str:
    """Raises ConfigError for a policy that does not exist."""
    if policy not in POLICIES:
        raise ConfigError(f"remat: {policy!r} is unknown; known: {', '.join(POLICIES)}")
    return policy


def remat(function: Callable[..., Any], policy: str) -> Callable[..., Any]:
    """The function, of whose forward pass only what the policy names is kept. Gradients are the same."""
    return jax.checkpoint(function, policy=POLICIES[check(policy)])
