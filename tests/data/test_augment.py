# SPDX-License-Identifier: Apache-2.0
"""Augmentations against NumPy and SciPy, and what holds for all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import jaxnn as nn
from jaxnn.data import augment

N, H, W = 6, 12, 10

MOVES = [
    augment.shift(2),
    augment.crop(3),
    augment.rotate(30),
    augment.scale(0.3),
    augment.shear(20),
    augment.elastic(15, 2),
]
OTHERS = [
    augment.flip(),
    augment.cutout(4),
    augment.brightness(0.3),
    augment.contrast(0.5),
    augment.noise(0.2),
    augment.chain(augment.rotate(20), augment.shift(1), augment.noise(0.1)),
]
NOTHING = [
    augment.shift(0),
    augment.crop(0),
    augment.rotate(0),
    augment.scale(0),
    augment.shear(0),
    augment.elastic(0),
    augment.flip(0),
    augment.cutout(4, rate=0),
    augment.brightness(0),
    augment.contrast(0),
    augment.noise(0),
    augment.chain(),
    augment.chain(augment.rotate(0), augment.elastic(0), augment.flip(0)),
]
MIXING = [augment.mixup(0.4, classes=3), augment.cutmix(classes=3)]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (N, H, W, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def labels():
    return np.arange(N) % 3


def by_scipy(image: np.ndarray, rows: np.ndarray, columns: np.ndarray, fill=0.0):
    """Each channel at rows and columns from the middle; what is outside is `fill`."""
    at = [rows + (image.shape[0] - 1) / 2, columns + (image.shape[1] - 1) / 2]
    planes = [
        ndimage.map_coordinates(plane, at, order=1, mode="grid-constant", cval=fill)
        for plane in np.moveaxis(image, -1, 0)
    ]
    return np.stack(planes, -1)


def middle_grid():
    return np.meshgrid(
        np.arange(H) - (H - 1) / 2, np.arange(W) - (W - 1) / 2, indexing="ij"
    )


@pytest.mark.quick
# ---- against an independent formula ----


def test_rotate_is_that_of_scipy(images, key):
    turn = augment.rotate(40, fill=0.5)
    angles = np.asarray(turn.draw(key, N))
    assert np.abs(angles).max() <= 40
    wanted = [
        ndimage.rotate(image, a, reshape=False, order=1, mode="grid-constant", cval=0.5)
        for image, a in zip(images, angles, strict=True)
    ]
    np.testing.assert_allclose(turn(key, images), wanted, atol=2e-5)


def test_a_positive_angle_turns_counterclockwise():
    turn = augment.rotate(90)
    image = jnp.zeros((1, 5, 5, 1)).at[0, 2, 4].set(1.0)  # at three o'clock
    points = turn.origins(jax.random.key(3), augment.geometric.grid(image), True)
    angle = float(turn.draw(jax.random.key(3), 1)[0])
    noon = -np.sin(np.deg2rad(angle)) * 2, np.cos(np.deg2rad(angle)) * 2
    seen = augment.geometric.sample(image, points, 0.0)[0, ..., 0]
    center = np.average(
        np.argwhere(np.asarray(seen) > 0) - 2, 0, weights=seen[np.asarray(seen) > 0]
    )
    assert np.dot(center, noon) > 3  # of 4, in the same direction


def test_scale_and_shear_are_affine_maps_of_scipy(images, key):
    for step in (augment.scale(0.4), augment.shear(30)):
        drawn = np.asarray(step.draw(key, N), np.float64)
        result = np.asarray(step(key, images))
        for image, amount, got in zip(images, drawn, result, strict=True):
            matrix = np.eye(2) / amount
            if isinstance(step, augment.shear):
                matrix = np.array([[1, 0], [np.tan(np.deg2rad(amount)), 1]])
            center = np.array([(H - 1) / 2, (W - 1) / 2])
            wanted = [
                ndimage.affine_transform(
                    plane,
                    matrix,
                    offset=center - matrix @ center,
                    order=1,
                    mode="grid-constant",
                )
                for plane in np.moveaxis(image, -1, 0)
            ]
            np.testing.assert_allclose(got, np.stack(wanted, -1), atol=2e-5)


def test_shift_moves_whole_pictures(images, key):
    step = augment.shift(3, fill=-1.0)
    for image, (down, right), got in zip(
        images, np.asarray(step.draw(key, N)), step(key, images), strict=True
    ):
        wide = np.pad(image, ((3, 3), (3, 3), (0, 0)), constant_values=-1.0)
        wanted = wide[3 - down : 3 - down + H, 3 - right : 3 - right + W]
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("fill, mode", [(0.0, "constant"), ("mirror", "reflect")])
def test_crop_cuts_out_of_the_padded_picture(images, key, fill, mode):
    step = augment.crop(2, fill=fill)
    corners = np.asarray(step.draw(key, N))
    for image, (top, left), got in zip(images, corners, step(key, images), strict=True):
        wide = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode=mode)
        np.testing.assert_array_equal(got, wide[top : top + H, left : left + W])


def test_elastic_samples_where_its_field_says(images, key):
    step = augment.elastic(15, 2)
    fields = np.asarray(step.draw(key, N, (H, W)))
    rows, columns = middle_grid()
    wanted = [
        by_scipy(image, rows + down, columns + right)
        for image, (down, right) in zip(images, fields, strict=True)
    ]
    np.testing.assert_allclose(step(key, images), wanted, atol=2e-5)


@pytest.mark.quick
def test_elastic_field_is_filtered_noise(key):
    """Of the same variance and the same smoothness as Simard's, by SciPy's filter."""
    alpha, sigma, many = 34.0, 3.0, 800
    field = np.asarray(augment.elastic(alpha, sigma).draw(key, many // 2, (14, 9)))
    field = field.reshape(many, 14, 9)
    uniform = np.random.default_rng(0).uniform(-1, 1, (many, 44, 39))
    noise = ndimage.gaussian_filter(uniform, (0, sigma, sigma))[:, 15:29, 15:24] * alpha
    for axis in (1, 2):
        for lag in (0, 1, 3, 6):
            ours, theirs = (
                np.mean(
                    np.take(f, range(9 - lag), axis) * np.take(f, range(lag, 9), axis)
                )
                for f in (field, noise)
            )
            assert abs(ours - theirs) < 0.08 * np.mean(noise**2), (axis, lag)
    assert abs(np.mean(field)) < 0.1 * field.std()
    everywhere = field.std(0)  # at the border as in the middle
    assert everywhere.max() < 1.2 * everywhere.min()


def test_a_chain_is_one_map(images, key):
    """Rotated, then scaled, then distorted, in one interpolation; NumPy composes."""
    turn, grow, bend = augment.rotate(30), augment.scale(0.3), augment.elastic(15, 2)
    keys = [jax.random.fold_in(key, i) for i in range(3)]
    angles = np.deg2rad(np.asarray(turn.draw(keys[0], N), np.float64))
    factors = np.asarray(grow.draw(keys[1], N), np.float64)
    fields = np.asarray(bend.draw(keys[2], N, (H, W)), np.float64)
    result = augment.chain(turn, grow, bend)(key, images)
    grid = np.stack(middle_grid())
    for image, angle, factor, field, got in zip(
        images, angles, factors, fields, result, strict=True
    ):
        cos, sin = np.cos(angle), np.sin(angle)
        rows, columns = (grid + field) / factor
        rows, columns = cos * rows + sin * columns, cos * columns - sin * rows
        np.testing.assert_allclose(got, by_scipy(image, rows, columns), atol=5e-5)


def test_a_field_before_another_map_is_read_between_its_pixels(key):
    """A chain equals its steps one by one on a picture that is linear in space."""
    rows, columns = middle_grid()
    ramp = np.stack([rows, columns], -1)[None].astype(np.float32)
    bend, move = augment.elastic(10, 3), augment.shift(2)
    keys = [jax.random.fold_in(key, i) for i in range(2)]
    apart = move(keys[1], bend(keys[0], ramp))
    fused = augment.chain(bend, move)(key, ramp)
    inside = np.s_[:, 3:-3, 3:-3]
    np.testing.assert_allclose(fused[inside], apart[inside], atol=1e-4)
    assert np.abs(fused - ramp)[inside].max() > 0.5


def test_what_a_chain_moves_out_it_can_move_back(key):
    there = augment.chain(*[augment.shift(5)] * 8)
    x = jnp.ones((40, 8, 8, 1))
    total = sum(s.draw(k, 40) for k, s in there.groups(key)[0])
    kept = (np.clip(8 - np.abs(total), 0, 8)).prod(1)
    np.testing.assert_allclose(there(key, x).sum((1, 2, 3)), kept)


def test_steps_that_fill_otherwise_stay_apart(images, key):
    first, second = augment.shift(3), augment.shift(3, fill=1.0)
    k0, k1 = (jax.random.fold_in(key, i) for i in range(2))
    wanted = second(k1, first(k0, images))
    np.testing.assert_array_equal(augment.chain(first, second)(key, images), wanted)


def test_flip_mirrors_those_drawn(images, key):
    for step, axis in ((augment.flip(), 1), (augment.flip(vertical=True), 0)):
        drawn = np.asarray(step.draw(key, N))
        for image, mirrored, got in zip(images, drawn, step(key, images), strict=True):
            wanted = np.flip(image, axis) if mirrored else image
            np.testing.assert_array_equal(got, wanted)
    assert 350 < augment.flip(0.4).draw(key, 1000).sum() < 450


def test_cutout_hides_one_square(key):
    x = jnp.ones((400, 9, 9, 3))
    hidden = np.asarray(augment.cutout(4, fill=0.5)(key, x) == 0.5)
    assert (hidden == hidden[..., :1]).all()  # in all channels
    for mask in hidden[..., 0]:
        rows, columns = mask.any(1), mask.any(0)
        assert (mask == rows[:, None] & columns).all()  # a rectangle
        for line in (rows, columns):
            (places,) = np.nonzero(line)
            assert np.ptp(places) + 1 == len(places)
            cut = line[0] or line[-1]
            assert 2 <= len(places) <= 4 if cut else len(places) == 4
    assert 0.9 < hidden.mean((1, 2, 3)).max() / (16 / 81) <= 1
    some = np.asarray(augment.cutout(4, rate=0.25)(key, x) == 0).any((1, 2, 3))
    assert 70 < some.sum() < 130


def test_brightness_and_contrast_are_their_formulas(images, key):
    lighter = augment.brightness(0.5)
    drawn = np.asarray(lighter.draw(key, N))[:, None, None, None]
    np.testing.assert_allclose(lighter(key, images), images + drawn, atol=1e-6)
    stronger = augment.contrast(0.5)
    drawn = np.asarray(stronger.draw(key, N))[:, None, None, None]
    mean = images.mean((1, 2), keepdims=True)
    wanted = mean + drawn * (images - mean)
    np.testing.assert_allclose(stronger(key, images), wanted, atol=1e-6)


def test_noise_is_normal(key):
    x = jnp.full((10, 40, 40, 1), 0.5)
    drawn = np.asarray(augment.noise(0.2)(key, x) - x).ravel()
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 0.2) < 0.005
    assert abs(np.mean(np.abs(drawn) < 0.2) - 0.6827) < 0.02


def test_a_range_clips_and_gives_the_amounts_their_unit(images, key):
    bright = augment.brightness(0.9)(key, images)
    clipped = augment.brightness(0.9, range=(0, 1))(key, images)
    np.testing.assert_array_equal(clipped, np.clip(bright, 0, 1))
    assert (np.asarray(bright) > 1).any() or (np.asarray(bright) < 0).any()
    wide = augment.brightness(0.3, range=(0, 255))(key, 255 * images)
    narrow = augment.brightness(0.3, range=(0, 1))(key, images)
    np.testing.assert_allclose(wide, 255 * narrow, atol=1e-3)


def test_integers_with_a_range_are_rounded(images, key):
    pixels = np.round(255 * images).astype(np.uint8)
    for step in (
        augment.rotate(30, range=(0, 255)),
        augment.noise(0.2, range=(0, 255)),
        augment.chain(augment.rotate(30), augment.noise(0.1), range=(0, 255)),
    ):
        floats = step(key, pixels.astype(np.float32))
        got = step(key, pixels)
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, np.round(floats))


def test_a_chain_gives_its_range_to_its_steps(images, key):
    steps = augment.rotate(20), augment.brightness(0.5), augment.noise(0.3)
    wide, narrow = (augment.chain(*steps, range=(0, top)) for top in (255, 1))
    result = wide(key, 255 * images)
    np.testing.assert_allclose(result, 255 * narrow(key, images), atol=1e-2)
    assert np.abs(result - 255 * images).mean() > 30
    assert repr(wide) == (
        "chain(rotate(20), brightness(0.5), noise(0.3), range=(0, 255))"
    )
    assert eval(repr(wide), vars(augment)) == wide
    alike = augment.noise(0.3, range=(0, 255))
    inner = augment.chain(augment.brightness(0.5), alike, range=(0, 255))
    for nested in (inner, augment.chain(*steps[1:])):
        assert augment.chain(steps[0], nested, range=(0, 255)) == wide
    kept = augment.chain(inner)  # without a range, a chain leaves them theirs
    assert kept.steps == (inner,) and eval(repr(kept), vars(augment)) == kept


# ---- mixing ----


def test_mixup_mixes_pictures_and_targets_alike(images, labels, key):
    wide = np.eye(N)[:, :, None, None] * np.ones((1, 1, 3, 3))  # example i: channel i
    pictures = jnp.asarray(np.moveaxis(wide, 1, -1), jnp.float32)
    mixed, targets = augment.mixup(0.7, classes=N)(key, pictures, np.arange(N))
    np.testing.assert_allclose(
        mixed, np.asarray(targets)[:, None, None] * np.ones((1, 3, 3, 1)), atol=1e-6
    )
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    assert ((np.asarray(targets) > 0).sum(1) == 2).any()


def test_mixup_mixes_masks_as_it_mixes_pictures(key):
    n = 8  # as many as columns: a share must not go along the wrong axis
    mask = np.random.default_rng(0).uniform(size=(n, n, n, 1)) > 0.5
    mask, mix = mask.astype(np.float32), augment.mixup(1.0)
    _, shares = mix(key, mask, np.eye(n, dtype=np.float32))
    pictures, masks = mix(key, mask, mask)
    np.testing.assert_allclose(masks, pictures, atol=1e-6)
    np.testing.assert_allclose(
        masks, np.einsum("nm,mhwc->nhwc", shares, mask), atol=1e-6
    )
    _, rows = mix(key, mask, mask[..., 0])
    np.testing.assert_allclose(rows, masks[..., 0], atol=1e-6)


def test_cutmix_shares_are_areas(key):
    pictures = jnp.broadcast_to(jnp.eye(N)[:, None, None], (N, H, W, N))
    mixed, targets = augment.cutmix(classes=N)(key, pictures, np.arange(N))
    np.testing.assert_allclose(mixed.mean((1, 2)), targets, atol=1e-6)
    assert set(np.unique(mixed)) <= {0.0, 1.0}
    assert ((np.asarray(targets) > 0).sum(1) == 2).any()


def test_shares_follow_their_beta_distribution(key):
    for alpha in (0.2, 1.0, 3.0):
        drawn = np.asarray(augment.mixup(alpha).draw(key, 4000))
        assert abs(drawn.mean() - 0.5) < 0.03
        assert abs(drawn.var() - 1 / (4 * (2 * alpha + 1))) < 0.01


def test_soft_targets_pass(images, labels, key):
    for step in MIXING:
        soft = np.eye(3, dtype=np.float32)[labels]
        for a, b in zip(
            step(key, images, labels), step(key, images, soft), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_a_chain_that_mixes_takes_targets(images, labels, key):
    turn, mix = augment.rotate(20), augment.mixup(classes=3)
    both = augment.chain(turn, mix)
    assert both.mixes and not augment.chain(turn).mixes
    k0, k1 = (jax.random.fold_in(key, i) for i in range(2))
    wanted = mix(k1, turn(k0, images), labels)
    for a, b in zip(both(key, images, labels), wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_accuracy_and_loss_take_mixed_targets(images, labels, key):
    _, targets = augment.mixup(0.2, classes=3)(key, images, labels)
    logits = 5 * jnp.asarray(targets)
    assert nn.metrics.accuracy(logits, targets).tolist() == [1.0] * N
    assert np.isfinite(nn.losses.softmax_cross_entropy(logits, targets)).all()


# ---- what holds for all ----


@pytest.mark.parametrize("step", MOVES + OTHERS, ids=repr)
def test_every_picture_is_changed_by_the_key_alone(step, key):
    one = np.random.default_rng(1).uniform(0, 1, (1, H, W, 1)).astype(np.float32)
    same = np.broadcast_to(one, (8, H, W, 1))
    run = jax.jit(step)
    result = np.asarray(run(key, same))
    assert result.shape == same.shape and np.isfinite(result).all()
    kinds = 2 if isinstance(step, augment.flip) else 6
    assert len(np.unique(result.reshape(8, -1), axis=0)) >= kinds
    np.testing.assert_array_equal(result, run(key, same))
    assert not np.array_equal(result, run(jax.random.key(1), same))


def test_inside_vmap_and_scan_as_eagerly(images, key):
    step = augment.chain(augment.elastic(15, 2), augment.rotate(20), augment.cutout(4))
    keys = jax.random.split(key, 3)
    many = np.stack([step(k, images) for k in keys])
    assert not np.array_equal(many[0], many[1])
    mapped = jax.jit(jax.vmap(step, (0, None)))(keys, images)
    np.testing.assert_allclose(mapped, many, atol=1e-4)
    scanned = jax.lax.scan(lambda _, k: (None, step(k, images)), None, keys)[1]
    np.testing.assert_allclose(scanned, many, atol=1e-4)


@pytest.mark.parametrize("step", NOTHING, ids=repr)
def test_nothing_changes_nothing(step, images, key):
    np.testing.assert_allclose(step(key, images), images, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtypes_stay(dtype, images, labels, key):
    x = jnp.asarray(images, dtype)
    for step in MOVES + OTHERS:
        y = step(key, x)
        assert (y.dtype, y.shape) == (x.dtype, x.shape), step
    for step in MIXING:
        y, targets = step(key, x, labels)
        assert (y.dtype, y.shape, targets.dtype) == (x.dtype, x.shape, jnp.float32)


def test_gradients_are_finite(images, key):
    step = augment.chain(*MOVES, *OTHERS)
    gradient = jax.grad(lambda x: (step(key, x) ** 2).sum())(jnp.asarray(images))
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


@pytest.mark.parametrize(
    "step", [*MOVES, *OTHERS, *MIXING, augment.rotate(5, range=[0, 1])], ids=repr
)
def test_records_are_equal_when_built_alike(step):
    again = eval(repr(step), vars(augment))
    assert again == step and hash(again) == hash(step)
    assert step != augment.noise(0.123)


def test_numbers_of_numpy_are_those_of_python():
    pairs = [
        (augment.rotate(np.int64(5)), augment.rotate(5)),
        (augment.brightness(np.float32(0.5)), augment.brightness(0.5)),
        (augment.shift(np.int32(2), fill=np.float64(1)), augment.shift(2, fill=1.0)),
        (augment.flip(range=(np.uint8(0), np.uint8(9))), augment.flip(range=(0, 9))),
    ]
    for ours, theirs in pairs:
        assert (ours, repr(ours), hash(ours)) == (theirs, repr(theirs), hash(theirs))


def test_an_equal_one_compiles_once(images, key):
    traces = []

    def run(key, images, step):
        traces.append(step)
        return step(key, images)

    run = jax.jit(run, static_argnums=2)
    for degrees in (11, 11, 11.0):
        run(key, images, augment.chain(augment.rotate(degrees)))
    assert len(traces) == 1


# ---- bad input ----


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: augment.rotate(-1), "rotate: degrees must be a number from 0 to 180"),
        (lambda: augment.rotate("15"), "rotate: degrees must be a number"),
        (lambda: augment.rotate(float("nan")), "degrees .* got nan"),
        (lambda: augment.scale(1.0), "scale: amount must be a number from 0 to 0.99"),
        (lambda: augment.shift(1.5), r"shift: pixels must be an int .* got 1.5"),
        (lambda: augment.shift(True), "shift: pixels must be an int"),
        (lambda: augment.crop(-1), "crop: padding must be an int of at least 0"),
        (lambda: augment.shear(90), "shear: degrees must be a number from 0 to 80"),
        (lambda: augment.elastic(34, 0), "elastic: sigma must be a number of at least"),
        (lambda: augment.flip(1.5), "flip: rate must be a number from 0 to 1, got 1.5"),
        (lambda: augment.cutout(4, -0.1), "cutout: rate must be a number from 0 to 1"),
        (lambda: augment.cutout(0), "cutout: size must be an int of at least 1"),
        (lambda: augment.contrast(2), "contrast: amount must be a number from 0 to 1"),
        (lambda: augment.noise(-1), "noise: amount must be a number of at least 0"),
        (lambda: augment.mixup(0), "mixup: alpha must be above 0, got 0"),
        (lambda: augment.cutmix(classes=0), "cutmix: classes must be an int"),
        (
            lambda: augment.shift(1, fill="zero"),
            "fill must be a number or one of 'near",
        ),
        (lambda: augment.noise(range=(1, 0)), r"noise: range must be .* got \(1, 0\)"),
        (lambda: augment.noise(range=255), "noise: range must be .* got 255"),
        (lambda: augment.chain(15), "chain: steps must be augmentations .* got 15"),
        (
            lambda: augment.chain(augment.noise(0.2, range=(0, 1)), range=(0, 255)),
            r"chain: range must be that of all steps, got \(0, 255\) .* noise\(0.2",
        ),
        (lambda: augment.rotate(np.bool_(True)), "rotate: degrees must be a number"),
    ],
)
def test_bad_amounts(build, message):
    with pytest.raises((TypeError, ValueError), match=message):
        build()


def test_bad_pictures(images, labels, key):
    turn, pixels = augment.rotate(), np.zeros((2, 4, 4, 1), np.uint8)
    hint = r"got uint8\[2,4,4,1\]: divide by 255 first, or .* range=\(0, 255\)"
    for step in (turn, augment.flip(), augment.chain(turn)):
        with pytest.raises(TypeError, match=hint):
            step(key, pixels)
    with pytest.raises(TypeError, match=r"images must be floats .* got bool"):
        turn(key, pixels > 0)
    with pytest.raises(ValueError, match=r"\[N, H, W, C\], got .*by images\[..., None"):
        turn(key, images[..., 0])
    with pytest.raises(ValueError, match="reshape flat pictures"):
        turn(key, images.reshape(N, -1))
    for bad in (0, jax.random.split(key), images):
        with pytest.raises(TypeError, match="key must be one random key"):
            turn(bad, images)


def test_bad_targets(images, labels, key):
    with pytest.raises(ValueError, match=r"classes there are, as in mixup\(classes=10"):
        augment.mixup()(key, images, labels)
    for bad in (labels[:-1], labels / 2, np.eye(3, dtype=int)[labels]):
        with pytest.raises(ValueError, match="cutmix: targets must be integer labels"):
            augment.cutmix(classes=3)(key, images, bad)
    with pytest.raises(ValueError, match=r"cutmix: targets .* cut out of masks too"):
        augment.cutmix()(key, images, images)
    with pytest.raises(TypeError, match=r"called with \(key, images, targets\)"):
        augment.chain(augment.mixup())(key, images)
    with pytest.raises(TypeError, match=r"called with \(key, images\)"):
        augment.chain(augment.flip())(key, images, labels)


# ---- the picture ----


def test_show_draws_originals_and_what_becomes_of_them(tmp_path, images, labels, key):
    from example import drawn

    path = tmp_path / "new" / "augmented.png"
    figure = augment.show(augment.rotate(30), images[:2, ..., :1], key, path, times=3)
    assert drawn(path)
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(shown) == 2 * 4
    np.testing.assert_array_equal(shown[0], images[0, ..., 0])
    augment.show(MIXING[0], images[:3], key, targets=labels[:3], times=2)
    color = np.repeat(images[:1, ..., :1], 3, -1)
    augment.show(augment.noise(), color, key, times=1)
    figure = augment.show(lambda key, x: 0 * x, color, key, times=np.int64(1))
    assert not figure.axes[-1].images[0].get_array().any()


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"times": 0}, ValueError, "times must be an int"),
        ({"key": 0}, TypeError, "key must be one random key"),
        ({"augmentation": 15}, TypeError, "augmentation must be one such as .* got 15"),
        ({"augmentation": MIXING[0]}, TypeError, r"targets must be given, as mixup\("),
        (
            {"targets": np.arange(N)},
            TypeError,
            r"targets must be left out, as noise\(0.1\) does",
        ),
    ],
    ids=["times", "key", "augmentation", "no targets", "targets"],
)
def test_show_refuses_what_it_can_not_draw(images, key, change, error, message):
    given = {"augmentation": augment.noise(), "images": images, "key": key} | change
    with pytest.raises(error, match=rf"augment\.show: {message}"):
        augment.show(**given)
