"""What a task would need on TPUs that are not here: compiled by the real compiler, timed by a model of the chip.

    from sorajax.plan import Request, plan
    plan(Request(task="sample", model=model, width=832, height=480, frames=81), "v6e:2x4").best

Nothing here makes weights or needs a TPU; the compiler comes with ``pip install 'sorajax[plan]'``.
"""

from sorajax.plan.planner import Attempt, Plan, plan
from sorajax.plan.request import TASKS, Request

__all__ = ["TASKS", "Attempt", "Plan", "Request", "plan"]
