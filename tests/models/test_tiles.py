"""Tiles have no seams: what is decoded in parts is what is decoded whole."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import sorajax
from sorajax.config import VAEConfig
from sorajax.errors import InputError
from sorajax.models import tiles
from sorajax.models.vae import VAE
from sorajax.weights import memory
from tests import tiny

SHALLOW = {
    "2.1": dataclasses.replace(tiny.WAN["2.1"].vae, dim_mult=(1, 2), temperal_downsample=(True,)),
    "2.2": dataclasses.replace(tiny.WAN["2.2"].vae, dim_mult=(1, 1), temperal_downsample=(True,)),
}


@pytest.fixture(scope="module")
def models():
    made = {name: VAE(config, rngs=nnx.Rngs(0)) for name, config in SHALLOW.items()}
    rng = np.random.default_rng(0)  # so that no convolution starts as zero
    return {
        name: jax.tree.map(lambda leaf: leaf + 0.1 * rng.standard_normal(leaf.shape).astype(np.float32), vae)
        for name, vae in made.items()
    }


@pytest.mark.parametrize("family", list(SHALLOW))
@pytest.mark.parametrize("tile", [(9, 5), (4, 30), (1, 1), (9, 13), (100, 100)])
def test_tiles_are_the_whole_to_the_last_digits(models, family, tile):
    vae, rng = models[family], np.random.default_rng(1)
    z = rng.standard_normal((2, 3, 9, 30, vae.config.z_dim)).astype(np.float32)
    if tile == (1, 1):
        z = z[:1, :2, :3, :16]
    whole = np.asarray(vae.decode(z))
    assert np.abs(whole).max() > 0.05
    np.testing.assert_allclose(tiles.decode_in_tiles(vae, z, tile), whole, atol=1e-5)


@pytest.mark.parametrize("family", list(SHALLOW))
def test_a_window_narrower_than_the_reach_would_show(models, family, monkeypatch):
    vae = models[family]
    z = np.random.default_rng(1).standard_normal((1, 2, 4, 30, vae.config.z_dim)).astype(np.float32)
    narrow = max(1, tiles.reach(vae.config) // 3)
    monkeypatch.setattr(tiles, "reach", lambda config: narrow)
    assert np.abs(tiles.decode_in_tiles(vae, z, (4, 6)) - np.asarray(vae.decode(z))).max() > 1e-5


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 20))
def test_tiles_cover_the_frame_and_each_window_holds_all_that_its_tile_needs(size, tile, around):
    tile = min(size, tile)
    own, begun = tiles.window(size, tile, around), tiles.starts(size, tile)
    assert sorted({cell for start in begun for cell in range(start, start + tile)}) == list(range(size))
    for start in begun:
        corner = max(0, min(start - around, size - own))
        assert own <= size and corner <= max(start - around, 0)
        assert corner + own >= min(start + tile + around, size)


def test_a_pipeline_decodes_in_tiles_where_it_is_told_or_has_no_memory_for_the_whole(tmp_path):
    pipe = sorajax.load(tiny.write_wan(tmp_path / "model", "2.1"))
    z = np.random.default_rng(0).standard_normal((1, 2, 4, 40, 4)).astype(np.float32)
    whole = pipe.decode(z)
    np.testing.assert_allclose(pipe.decode(z, tile=(96, 32)), whole, atol=1e-4)
    pipe.stages.keep, pipe.budget = False, 0
    assert pipe._tile(z.shape) == (4, 5)
    np.testing.assert_allclose(pipe.decode(z), whole, atol=1e-4)
    with pytest.raises(InputError, match="tile 4x32 is smaller than 8x8 pixels"):
        pipe.decode(z, tile=(4, 32))


def test_less_memory_gives_smaller_tiles():
    vae, shape = VAEConfig(), (1, 21, 60, 104, 16)
    whole = memory.decoding(vae, "bfloat16", shape[1:4], None)
    assert memory.tile(vae, "bfloat16", shape, whole) is None
    sizes = [memory.tile(vae, "bfloat16", shape, int(whole * part)) for part in (0.9, 0.6, 0.3, 0.0)]
    areas = [rows * columns for rows, columns in sizes]
    assert areas == sorted(areas, reverse=True) and areas[0] > areas[-1] and areas[-1] <= memory.SMALLEST**2
