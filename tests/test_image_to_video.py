"""Clips that begin with a picture: what the picture becomes, who takes one, and what is refused."""

import hashlib
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import sorajax
from sorajax import request
from sorajax.cli import main
from sorajax.errors import CheckpointError, InputError
from sorajax.media.image import read_image
from sorajax.weights import layout
from tests import tiny

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (64, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("wan")
    return {family: tiny.write_wan(root / family, family) for family in ("2.1", "ti2v", "i2v-a14b")}


@pytest.fixture(scope="module")
def pipe(models):
    return sorajax.load(models["ti2v"])


def test_the_clip_begins_with_the_latents_of_the_picture_from_the_first_step_on(pipe):
    seen = []
    size, prompts = (32, 64), ["a dog", "a cat"]
    noise = pipe.noise(2, 3, size=size, frames=5)
    other = np.ascontiguousarray(PICTURE[::-1])
    final = pipe.sample(prompts, noise=noise, image=[PICTURE, other], steps=3, callback=lambda i, n, x: seen.append(x))
    for row, picture in enumerate((PICTURE, other)):
        first = pipe.encode_video(picture[None, None].astype(np.float32) / 127.5 - 1)[0, 0]
        for latents in (*seen, final):
            np.testing.assert_allclose(latents[row, 0], first, atol=1e-5)
    assert not np.allclose(final[:, 1:], pipe.sample(prompts, noise=noise, steps=3)[:, 1:], atol=1e-2)


def test_a_timestep_by_frame_is_that_of_all_frames_where_they_are_the_same(pipe):
    x = jnp.asarray(RNG.standard_normal((2, 3, 4, 2, 6)), jnp.float32)
    text = pipe.encode_text(["a dog", "a cat"])
    one = pipe.velocity(x, np.float32([300, 700]), text)
    many = pipe.velocity(x, np.repeat(np.float32([[300], [700]]), 3, axis=1), text)
    np.testing.assert_allclose(one, many, atol=1e-5 * np.abs(one).max())
    later = pipe.velocity(x, np.float32([[300, 300, 0], [700, 700, 0]]), text)
    assert not np.allclose(one, later, atol=1e-2)


def test_a_call_takes_the_proportions_of_the_picture_and_signs_its_digest(models, pipe, tmp_path):
    path = tmp_path / "dog.png"
    Image.fromarray(PICTURE).save(path)
    own = pipe.config.sample
    width, height = request.size_like(pipe.config, (32, 64))
    assert abs(np.log(height / width / 2)) < 0.15 and 0.8 < width * height / (own.width * own.height) < 1.25
    clip = pipe("a dog", image=path, size=(32, 64), frames=5, steps=1, seed=1)
    assert clip.facts.settings["image"] == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert "image" not in pipe("a dog", size=(32, 64), frames=5, steps=1, seed=1).facts.settings


def test_a_picture_is_turned_upright_cut_not_squashed_and_kept_where_it_fits(tmp_path):
    assert np.array_equal(read_image(PICTURE).fitted((32, 64)), PICTURE.astype(np.float32) / 127.5 - 1)
    wide = np.zeros((64, 96, 3), np.uint8)
    wide[:, 32:64] = 255  # the middle third is all that a square may show
    assert read_image(wide).fitted((32, 32))[:, 10:22].min() > 0.9
    halves = np.zeros((40, 20, 3), np.uint8)
    halves[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(halves).save(tmp_path / "turned.png", exif=exif)
    turned = read_image(tmp_path / "turned.png")
    assert turned.size == (40, 20) and turned.pixels[:, 30:].min() == 255 and turned.pixels[:, :10].max() == 0
    clear = Image.fromarray(np.zeros((20, 20, 4), np.uint8))
    assert read_image(clear).pixels.min() == 255


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("nowhere.png", "no image at 'nowhere.png'"),
        (__file__, "is not a readable image"),
        (np.zeros((8, 64, 3), np.uint8), "image of 64x8 pixels: .* at least 16"),
        (np.zeros((16, 640, 3), np.uint8), "image of 640x16 pixels: .* at most 4 times"),
        (np.zeros((32, 32, 3), np.float32), "image is float32 of shape"),
        ([PICTURE, PICTURE], "2 images for 1 prompts"),
    ],
)
def test_what_is_no_picture_for_a_clip_is_refused(pipe, image, message):
    with pytest.raises(InputError, match=message):
        pipe("a dog", image=image, frames=5)


def test_models_that_take_none_and_models_that_need_one_say_so(models, tmp_path, capsys):
    path = tmp_path / "dog.png"
    Image.fromarray(PICTURE).save(path)
    with pytest.raises(InputError, match="2.1 makes clips of text alone; use a model for image to video"):
        sorajax.load(models["2.1"])("a dog", image=PICTURE)
    with pytest.raises(InputError, match="i2v-a14b begins a clip with a picture; give one"):
        sorajax.load(models["i2v-a14b"])("a dog")
    output = tmp_path / "dog.mp4"
    assert main(["generate", "a dog", "-o", str(output), "--image", str(path)]) == 2
    assert "mini makes clips of text alone" in capsys.readouterr().err and not output.exists()


def test_the_command_makes_a_clip_of_a_picture(models, tmp_path):
    path, output = tmp_path / "dog.png", tmp_path / "dog.mp4"
    Image.fromarray(PICTURE).save(path)
    options = ["--size", "32x64", "--frames", "5", "--steps", "1", "--seed", "1", "--model", str(models["i2v-a14b"])]
    assert main(["generate", "a dog", "-o", str(output), "--image", str(path), *options]) == 0
    assert output.exists()


def test_a_model_with_an_image_encoder_is_refused_by_name(models, tmp_path):
    model = shutil.copytree(models["i2v-a14b"], tmp_path / "model")
    index = json.loads((model / layout.INDEX).read_text())
    (model / layout.INDEX).write_text(json.dumps(index | {"image_encoder": ["transformers", "CLIPVisionModel"]}))
    with pytest.raises(CheckpointError, match=r"needs an image encoder \(CLIP\), which is not supported"):
        sorajax.load(model)
    (model / layout.INDEX).write_text(json.dumps(index | {"_class_name": "WanPipeline"}))
    with pytest.raises(CheckpointError, match="in_channels is 12; a WanPipeline of 4 out_channels .* has 4"):
        sorajax.load(model)
