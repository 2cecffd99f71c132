"""Write solvers.npz: runs of diffusers' schedulers on a velocity that is known in closed form.

Made with diffusers 0.42.1, torch 2.13.0 (CPU). Run: ``python tests/golden/make_solvers.py``.
"""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("solvers.npz")
STEPS, SHIFTS = (1, 2, 5, 20), (1.0, 3.0, 8.0)


def problem() -> tuple[np.ndarray, np.ndarray]:
    """A matrix A [c, c] and noise [b, t, h, w, c], f32; the velocity is A x + sin(t / 100)."""
    random = np.random.default_rng(0)
    return random.normal(size=(4, 4)).astype(np.float32) / 4, random.normal(size=(1, 2, 3, 2, 4)).astype(np.float32)


def reference(solver: str, steps: int, shift: float) -> dict[str, np.ndarray]:
    """sigmas [steps + 1], timesteps [steps] and the final latents of a diffusers run."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

    if solver == "euler":
        scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    else:
        scheduler = UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=shift
        )
    scheduler.set_timesteps(steps)
    a, x = (torch.from_numpy(v) for v in problem())
    for t in scheduler.timesteps:
        x = scheduler.step(x @ a + torch.sin(t.float() / 100), t, x).prev_sample
    return {
        "sigmas": scheduler.sigmas.numpy(),
        "timesteps": scheduler.timesteps.numpy().astype(np.float32),
        "latents": x.numpy(),
    }


if __name__ == "__main__":
    runs = {
        f"{solver}/{steps}/{shift}/{name}": value
        for solver in ("euler", "unipc")
        for steps in STEPS
        for shift in SHIFTS
        for name, value in reference(solver, steps, shift).items()
    }
    np.savez_compressed(GOLDEN, **runs)
    print(f"{len(runs)} arrays, {GOLDEN.stat().st_size} bytes")
