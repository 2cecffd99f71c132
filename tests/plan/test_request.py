"""What may be asked, and what is said of the rest."""

import pytest

from sorajax.errors import ConfigError, InputError
from sorajax.plan import chips, meshes
from sorajax.plan.request import Request, find_model, parse_mesh, parse_prices

SMALL = find_model("wan2.1-t2v-1.3b")
LARGE = find_model("wan2.1-t2v-14b")


def request(**changes: object) -> Request:
    return Request(**{"task": "sample", "model": SMALL, "width": 832, "height": 480, "frames": 81, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "dream"}, "task 'dream' is unknown; known: train, sample, text, decode"),
        ({"batch": 0}, "batch is 0; at least 1"),
        ({"task": "train", "weights": "int8"}, "weights 'int8' is unknown to train; known: float32, bfloat16"),
        ({"width": 830}, "size 830x480 is not a multiple of 16x16 pixels; nearest: 832x480"),
        ({"frames": 80}, r"frames is 80; wan2.1-t2v-1.3b makes 1 \+ 4k frames, for example 81"),
    ],
)
def test_what_the_model_cannot_make_is_refused_with_what_it_can(changes, message):
    with pytest.raises(InputError, match=message):
        request(**changes)


@pytest.mark.parametrize(
    ("preset", "size", "tokens", "weights"),
    [
        ("wan2.1-t2v-1.3b", (832, 480, 81), 32760, 1_418_996_800),
        ("wan2.1-t2v-14b", (1280, 720, 81), 75600, 14_288_491_584),
        ("wan2.2-ti2v-5b", (1280, 704, 121), 27280, 4_999_787_712),
    ],
)
def test_presets_have_the_published_sizes(preset, size, tokens, weights):
    import jax
    from flax import nnx

    from sorajax.models.dit import DiT

    model = find_model(preset)
    width, height, frames = size
    assert (model.sample.width, model.sample.height, model.sample.frames) == size
    assert Request(task="train", model=model, width=width, height=height, frames=frames).tokens == tokens
    abstract = jax.eval_shape(lambda: DiT(model.dit, rngs=nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(abstract)) == weights


def test_a_request_survives_json():
    assert Request.from_dict(request().to_dict()) == request()


def test_an_unknown_model_is_refused():
    with pytest.raises((ConfigError, InputError), match="wan3"):
        find_model("wan3")


@pytest.mark.parametrize("text", ["fsdp", "fsdp=", "fsdp=0", "fsdp=4,fsdp=2", "fsdp:4", ""])
def test_a_mesh_is_axis_and_size(text):
    with pytest.raises(InputError, match="AXIS=SIZE"):
        parse_mesh(text)
    assert parse_mesh("fsdp=4, seq=2") == {"fsdp": 4, "seq": 2}


@pytest.mark.parametrize("text", ["v5e", "v9=1", "v5e=dear", "v5e=-1", "v5e=inf"])
def test_prices_are_of_chips_that_exist(text):
    with pytest.raises(InputError, match="for example v5e=1.2"):
        parse_prices(text)
    assert parse_prices("v5e=1.2, v6e=2.7") == {"v5e": 1.2, "v6e": 2.7}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("v5e:3x3", "v5e:2x4, v5e:4x4, v5e:2x2"),
        ("v5p:8x8", "v5p:4x4x4, v5p:2x4x4, v5p:4x4x8"),
        ("v6:2x4", "v6e:2x4"),
        ("tpu7:2x2x1", "tpu7x:2x2x1"),
        ("v5e", "v5e:1x1"),
        ("", ""),
    ],
)
def test_a_slice_that_does_not_exist_gets_the_nearest_names(name, nearest):
    with pytest.raises(InputError, match=f"topology {name!r} does not exist; nearest: {nearest}"):
        chips.parse(name)


@pytest.mark.parametrize("name", [*chips.names(), "v5p:12x12x12"])
def test_slices_that_are_offered_are_known(name):
    assert chips.parse(name).name == name


def test_a_device_of_tpu7x_is_half_a_chip():
    assert chips.parse("tpu7x:2x2x1").devices == 8


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        ({"sequence": 8}, "mesh axis 'sequence' is unknown; known: data, fsdp, seq, tensor"),
        ({"fsdp": 4}, "mesh fsdp 4 has 4 devices, v6e:2x4 has 8; sizes must multiply to that"),
        ({"data": 8}, "mesh axis data is 8, which does not divide a batch of 2; use a divisor of 2"),
        ({"tensor": 8}, "mesh axis tensor is 8, which does not divide 12 heads"),
    ],
)
def test_a_mesh_that_does_not_divide_is_refused(mesh, message):
    with pytest.raises(InputError, match=message):
        meshes.check(request(), mesh, chips.parse("v6e:2x4"))


def test_tokens_that_do_not_divide_are_padded_and_such_meshes_come_later():
    found = meshes.candidates(request(batch=2), chips.parse("v6e:4x4"), 10**9)
    whole, padded = ({"data": 1, "fsdp": 1, "seq": seq, "tensor": 16 // seq} for seq in (4, 16))
    assert found.index(whole) < found.index(padded)
    with pytest.raises(InputError, match="mesh axis seq is 16, more than the 9 tokens of a clip"):
        meshes.check(request(width=48, height=48, frames=1), {"seq": 16}, chips.parse("v6e:4x4"))


def test_meshes_that_split_tokens_come_first_where_weights_fit_and_others_where_they_do_not():
    few, many = chips.parse("v6e:2x4"), 10**9
    assert meshes.candidates(request(), few, many)[0] == {"data": 2, "fsdp": 1, "seq": 4, "tensor": 1}
    large = request(model=LARGE, width=1280, height=720)
    first = meshes.candidates(large, chips.parse("v5e:2x4"), resting=8 * 14_300_000_000)[0]
    assert first["data"] == 1
    assert meshes.thriftiest(meshes.candidates(large, few, many)) == {"data": 1, "fsdp": 1, "seq": 8, "tensor": 1}


def test_every_candidate_divides():
    slice_ = chips.parse("v5e:4x4")
    for sizes in meshes.candidates(request(batch=3), slice_, 10**9):
        assert meshes.check(request(batch=3), sizes, slice_) == sizes


@pytest.mark.parametrize(
    ("name", "slice_"),
    [("v5litepod-8", "v5e:2x4"), ("v6e-8", "v6e:2x4"), ("v5p-8", "v5p:2x2x1"), ("v5p-64", "v5p:2x4x4")],
)
def test_accelerator_types_stand_for_their_usual_slices(name, slice_):
    assert chips.parse(name).name == slice_


def test_an_accelerator_type_of_no_such_size_gets_the_nearest_slices():
    with pytest.raises(InputError, match="topology 'v6e-7' does not exist; nearest: v6e:2x4"):
        chips.parse("v6e-7")


def test_the_decoder_gives_columns_to_the_devices_that_clips_leave_idle():
    wide = request(task="decode", model=LARGE, width=832, height=480)  # 104 columns of latents
    found = meshes.candidates(wide, chips.parse("v6e:2x4"), 10**9)
    assert found[0] == {"data": 1, "fsdp": 1, "seq": 8, "tensor": 1}
    idle = {"data": 1, "fsdp": 1, "seq": 16, "tensor": 1}
    assert meshes.check(wide, idle, chips.parse("v6e:4x4")) == idle
