"""An objective that is trained in no time: a matrix that turns noise into what another matrix makes of it."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from sorajax.train import loop
from sorajax.train.config import OptimizerConfig, TrainConfig
from sorajax.weights import folder as folders
from tests import tiny

SIZE = 8
RUN = TrainConfig(
    objective="vae",
    model=tiny.CONFIG,
    optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=2),
    steps=6,
    batch=2,
    log_every=1,
    checkpoint_every=3,
    evaluate_every=100,
)
"""Its objective is never built, ``Line`` is."""


class Line:
    """Stands in for an objective; ``poison`` are batches whose loss is not finite."""

    poison: tuple[int, ...] = ()

    def __init__(self, config: TrainConfig, folder):
        self.config, self.result = config, folder
        self.frozen = ()
        self.wanted = np.random.default_rng(0).standard_normal((SIZE, SIZE)).astype(np.float32)

    def init(self, rngs):
        return nnx.Linear(SIZE, SIZE, rngs=rngs)

    def size(self, index):
        return self.config.batch

    def names(self, index):
        return [f"row {index}.{i}" for i in range(self.config.batch)]

    def sources(self):
        return {}

    def learned_from(self):
        return ["random rows"]

    def tokens(self, batch):
        return batch["x"].size

    def batch(self, index, rows=None):
        x = np.random.default_rng((self.config.seed, index)).standard_normal((self.config.batch, SIZE))
        x = np.full_like(x, np.nan) if index in self.poison else x
        x = x.astype(np.float32)
        y = x @ self.wanted
        return {"x": x, "y": y} if rows is None else {"x": x[rows], "y": y[rows]}

    def loss(self, model, frozen, batch, key):
        return jnp.mean((model(batch["x"]) - batch["y"]) ** 2), {}

    def evaluate(self, model, step, folder, *, signed=True):
        return {"norm": float(jnp.linalg.norm(model.kernel[...]))}

    def export(self, model, folder):
        folder.mkdir(parents=True, exist_ok=True)
        folders.save_config(folder, self.config.model)
        np.save(folder / "kernel.npy", np.asarray(model.kernel[...]))


def stand_in(monkeypatch, poison: tuple[int, ...] = ()) -> None:
    """Runs train ``Line``."""
    made = type("Poisoned", (Line,), {"poison": poison})
    monkeypatch.setattr(loop, "make_objective", lambda config, folder, mesh: made(config, folder))
