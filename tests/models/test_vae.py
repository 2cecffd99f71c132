"""The video autoencoder against diffusers' AutoencoderKLWan, in pieces and whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sorajax.config import VAEConfig
from sorajax.errors import CheckpointError, ConfigError, InputError
from sorajax.models.conv import conv2d, conv3d_as_2d, conv3d_native, upsampled_conv2d
from sorajax.models.vae import VAE, patchify, unpatchify
from sorajax.weights.vae import export_vae, load_vae
from tests.golden import make_vae

LAYOUTS = tuple(make_vae.CONFIGS)
SMALL = VAEConfig(base_dim=2, z_dim=2, dim_mult=(1, 2), num_res_blocks=1, temperal_downsample=(True,))

encode = jax.jit(VAE.encode, static_argnames="stream")
decode = jax.jit(VAE.decode, static_argnames=("stream", "clamp"))


@functools.cache
def model(layout: str, seed: int = 0) -> VAE:
    return randomised(VAE(VAEConfig(**make_vae.CONFIGS[layout]), rngs=nnx.Rngs(1)), seed)


def randomised(vae: VAE, seed: int = 0) -> VAE:
    load_vae(vae, make_vae.weights({name: tensor.shape for name, tensor in export_vae(vae).items()}, seed))
    return vae


def worst(ours: jax.Array, theirs: np.ndarray) -> float:
    return float(np.abs(np.asarray(ours) - theirs).max())


@pytest.mark.parametrize("stream", [True, False], ids=["in pieces", "whole"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_moments_and_frames_equal_diffusers(layout, stream):
    golden, (video, latents) = np.load(make_vae.GOLDEN), make_vae.inputs(make_vae.CONFIGS[layout])
    mean, logvar = encode(model(layout), video, stream=stream)
    assert worst(mean, golden[f"{layout}/mean"]) < 1e-5
    assert worst(logvar, golden[f"{layout}/logvar"]) < 1e-5
    assert worst(decode(model(layout), latents, stream=stream), golden[f"{layout}/frames"]) < 1e-5


def test_an_image_is_the_first_frame_of_a_video():
    golden, (video, latents) = np.load(make_vae.GOLDEN), make_vae.inputs(make_vae.CONFIGS["wan22"])
    mean, _ = encode(model("wan22"), video[:, :1])
    assert worst(mean, golden["wan22/mean"][:, :1]) < 1e-5
    assert worst(decode(model("wan22"), latents[:, :1]), golden["wan22/frames"][:, :1]) < 1e-5


@pytest.mark.live("torch", "diffusers")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_moments_and_frames_equal_diffusers_run_live(layout):
    video, latents = make_vae.inputs(make_vae.CONFIGS[layout], seed=2)
    theirs, ours = make_vae.reference(make_vae.CONFIGS[layout], video, latents, seed=3), model(layout, seed=3)
    exported = export_vae(ours)
    assert exported.keys() == theirs["weights"].keys()
    for name, tensor in theirs["weights"].items():
        np.testing.assert_array_equal(exported[name], tensor, err_msg=name)
    mean, logvar = encode(ours, video)
    assert worst(mean, theirs["mean"]) < 1e-5
    assert worst(logvar, theirs["logvar"]) < 1e-5
    assert worst(decode(ours, latents), theirs["frames"]) < 1e-5


def test_what_is_remembered_keeps_its_size():
    decoder, latents = model("wan22").decoder, jnp.zeros((1, 1, 2, 3, 4))
    _, first = jax.eval_shape(decoder, latents)
    _, later = jax.eval_shape(decoder, latents, first)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), first) == jax.tree.map(lambda a: (a.shape, a.dtype), later)


def test_frames_are_clamped_unless_training_asks_for_them_as_they_are():
    vae, latents = randomised(VAE(SMALL, rngs=nnx.Rngs(0))), 9 * jax.random.normal(jax.random.key(0), (1, 2, 2, 2, 2))
    free = decode(vae, latents, stream=False, clamp=False)
    assert jnp.abs(free).max() > 1
    np.testing.assert_array_equal(decode(vae, latents, stream=False), jnp.clip(free, -1, 1))


@pytest.mark.parametrize("video", [0.0, 0.5], ids=["grey", "noise"])
def test_every_parameter_learns_and_no_gradient_is_nan(video):
    vae = randomised(VAE(SMALL, rngs=nnx.Rngs(0)))
    frames = video * jax.random.normal(jax.random.key(0), (1, 5, 4, 4, 3))

    def loss(vae: VAE) -> jax.Array:
        mean, logvar = vae.encode(frames, stream=False)
        return jnp.sum(vae.decode(mean, stream=False, clamp=False) ** 2) + jnp.sum(logvar**2)

    for path, gradient in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(vae)):
        assert jnp.all(jnp.isfinite(gradient)), path
        assert jnp.any(gradient != 0) or not video, path


def test_bfloat16_is_close_to_float32_and_gives_float32():
    precise = randomised(VAE(SMALL, rngs=nnx.Rngs(0)))
    coarse = randomised(VAE(SMALL, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
    frames = jax.random.uniform(jax.random.key(0), (1, 5, 4, 4, 3), minval=-1)
    (mean, _), (rough, _) = encode(precise, frames), encode(coarse, frames)
    assert rough.dtype == jnp.float32
    assert 0 < worst(rough, mean) < 0.03 * jnp.abs(mean).max()


@pytest.mark.parametrize(("kernel", "time_stride"), [((3, 3, 3), 1), ((3, 1, 1), 1), ((3, 1, 1), 2), ((1, 1, 1), 1)])
def test_both_forms_of_the_causal_convolution_and_their_gradients_agree(kernel, time_stride):
    x, k = (jax.random.normal(jax.random.key(n), s) for n, s in enumerate([(2, 5, 4, 6, 3), (*kernel, 3, 2)]))

    def value_and_gradients(form):
        return jax.value_and_grad(lambda x, k: jnp.sum(jnp.sin(form(x, k, time_stride))), (0, 1))(x, k)

    assert conv3d_native(x, k, time_stride).shape == conv3d_as_2d(x, k, time_stride).shape
    np.testing.assert_allclose(conv3d_native(x, k, time_stride), conv3d_as_2d(x, k, time_stride), atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        value_and_gradients(conv3d_native),
        value_and_gradients(conv3d_as_2d),
    )


@pytest.mark.parametrize("shape", [(2, 4, 5, 7, 3), (1, 3, 70, 33, 3), (3, 3, 1, 2, 3)])
def test_the_bfloat16_convolution_and_its_gradients_are_within_its_rounding(shape):
    x, k, g = (
        jax.random.normal(jax.random.key(n), s).astype(jnp.bfloat16)
        for n, s in enumerate([shape, (3, 3, 3, 3, 20), (shape[0], shape[1] - 2, *shape[2:4], 20)])
    )
    y, pull = jax.vjp(conv3d_as_2d, x, k)
    exact, exact_pull = jax.vjp(conv3d_native, x.astype(jnp.float32), k.astype(jnp.float32))
    assert y.dtype == jnp.bfloat16
    for mine, other in zip((y, *pull(g)), (exact, *exact_pull(g.astype(jnp.float32))), strict=True):
        assert worst(mine.astype(jnp.float32), other) < 2**-8 * jnp.abs(other).max()


def test_upsampling_by_four_small_kernels_equals_repeating_pixels():
    x, k = jax.random.normal(jax.random.key(0), (2, 4, 5, 3)), jax.random.normal(jax.random.key(1), (3, 3, 3, 2))
    repeated = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
    np.testing.assert_allclose(upsampled_conv2d(x, k), conv2d(repeated, k, padding=((1, 1), (1, 1))), atol=1e-5)


def test_patches_become_channels_in_the_order_colour_column_row():
    x = jnp.arange(2 * 4 * 6 * 3).reshape(1, 2, 4, 6, 3)
    patches = patchify(x, 2)
    row, column, colour = 1, 0, 2
    assert patches[0, 1, 1, 2, colour * 4 + column * 2 + row] == x[0, 1, 2 + row, 4 + column, colour]
    np.testing.assert_array_equal(unpatchify(patches, 2), x)


def test_latents_are_normalised_by_channel():
    config = VAEConfig(**make_vae.CONFIGS["wan21"] | {"latents_mean": (1.0, 2, 3, 4), "latents_std": (1.0, 2, 4, 8)})
    vae = nnx.eval_shape(lambda: VAE(config, rngs=nnx.Rngs(0)))
    np.testing.assert_allclose(vae.normalise(jnp.full((1, 1, 1, 1, 4), 3.0))[0, 0, 0, 0], [2, 0.5, 0, -0.125])
    z = jax.random.normal(jax.random.key(0), (1, 2, 2, 2, 4))
    np.testing.assert_allclose(vae.denormalise(vae.normalise(z)), z, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 6, 16, 16, 3), "6 frames: give 1 \\+ 4k"),
        ((1, 5, 20, 16, 3), "16x20 pixels: give multiples of 8"),
        ((1, 5, 16, 16, 4), "height, width, 3\\] is expected"),
    ],
)
def test_a_video_that_does_not_fit_is_refused(shape, message):
    with pytest.raises(InputError, match=message):
        model("wan21").encode(jnp.zeros(shape))


def test_latents_of_another_model_are_refused():
    with pytest.raises(InputError, match="\\[batch, t, h, w, 4\\] is expected"):
        model("wan21").decode(jnp.zeros((1, 1, 2, 2, 16)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim_mult": (1, 2, 4), "is_residual": True}, "cannot go from 4 to 8 channels"),
        ({"temperal_downsample": (True,)}, "has 1 values, dim_mult asks for 2"),
        ({"latents_mean": (0.0,)}, "latents_mean has 1 values, z_dim asks for 4"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(changes, message):
    values = {"base_dim": 2, "z_dim": 4, "dim_mult": (1, 2, 2), "temperal_downsample": (True, True)} | changes
    with pytest.raises(ConfigError, match=message):
        nnx.eval_shape(lambda: VAE(VAEConfig(**values), rngs=nnx.Rngs(0)))


def test_weights_of_the_other_layout_are_refused():
    with pytest.raises(CheckpointError, match="missing.*unexpected"):
        load_vae(model("wan21"), export_vae(model("wan22")))
