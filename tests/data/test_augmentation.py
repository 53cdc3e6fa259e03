"""Augmented data: the law of every change, arrays and labels untouched, and resumed runs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from chainrule import (
    Activation,
    Dense,
    Flatten,
    Sequential,
    Trainer,
    callbacks,
    data,
    losses,
    optimizers,
)
from chainrule.core.errors import ArgumentError, ConfigurationError, ShapeError
from chainrule.data.augmented_batches import AugmentedBatches
from chainrule.data.batches_of import batches_of

N = 30
RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(N, 6, 7, 2)), np.arange(N) % 3
MANY = 4000


def changed(image: Any, count: int = MANY, seed: int = 0, **how: Any) -> Any:
    """One image, changed many times."""
    images = np.repeat(np.asarray(image, float)[np.newaxis, ..., np.newaxis], count, axis=0)
    return data.augmented(images, **how).changed(images, np.random.default_rng(seed))[..., 0]


def dot(row: int, column: int, height: int = 5, width: int = 7) -> Any:
    image = np.zeros((height, width))
    image[row, column] = 1
    return image


def places(images: Any) -> list[tuple[int, int]]:
    """Where the only dot of each image is."""
    assert set(np.unique(images)) <= {0.0, 1.0}
    found = np.argwhere(images)
    assert found[:, 0].tolist() == list(range(len(images)))
    return [tuple(place) for place in found[:, 1:].tolist()]


# ------------------------------------------------------------------------------- the changes


@pytest.mark.parametrize(("shift", "down", "right"), [(2, 2, 2), ((1, 3), 1, 3), ((0, 1), 0, 1)])
def test_all_shifts_are_equally_likely(shift, down, right):
    found = places(changed(dot(2, 3), shift=shift))
    counts = {place: found.count(place) for place in set(found)}
    expected = {(2 + i, 3 + j) for i in range(-down, down + 1) for j in range(-right, right + 1)}
    assert set(counts) == expected
    share = MANY / len(expected)
    assert all(abs(count - share) < 5 * np.sqrt(share) for count in counts.values())


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        ("horizontal", {(1, 1), (1, 5)}),
        ("vertical", {(1, 1), (3, 1)}),
        ("both", {(1, 1), (1, 5), (3, 1), (3, 5)}),
    ],
)
def test_all_flips_are_equally_likely(flip, expected):
    found = places(changed(dot(1, 1), flip=flip))
    assert set(found) == expected
    share = MANY / len(expected)
    assert all(abs(found.count(place) - share) < 5 * np.sqrt(share) for place in expected)


def test_angles_are_uniform_and_an_image_turns_about_its_centre():
    """The intensity has a constant gradient; its direction is the angle of the image."""
    down, right = np.mgrid[-4:5, -4:5] * 1.0
    images = changed(right, rotation=30)
    inner = images[:, 2:-2, 2:-2]
    by_row = (inner * down[2:-2, 2:-2]).sum(axis=(1, 2))
    by_column = (inner * right[2:-2, 2:-2]).sum(axis=(1, 2))
    angles = np.degrees(np.arctan2(by_row, by_column))
    size = (right[2:-2, 2:-2] ** 2).sum()
    np.testing.assert_allclose(np.hypot(by_row, by_column), size, rtol=1e-12)
    np.testing.assert_allclose(images[:, 4, 4], 0, atol=1e-12)
    assert -30 <= angles.min() < -29.8 and 29.8 < angles.max() <= 30
    assert abs(angles.mean()) < 1.5 and abs(angles.std() - 60 / np.sqrt(12)) < 0.7


def test_a_quarter_turn_is_that_of_numpy():
    image = RNG.normal(size=(5, 5))

    class Always:
        """A generator whose angles are always the largest."""

        def __init__(self):
            self.rng = np.random.default_rng(0)

        def uniform(self, low, high, size):
            return np.full(size, high)

        def __getattr__(self, name):
            return getattr(self.rng, name)

    images = image[np.newaxis, ..., np.newaxis]
    turned = data.augmented(images, rotation=90).changed(images, Always())[0, ..., 0]
    np.testing.assert_allclose(turned, np.rot90(image), atol=1e-12)


def test_noise_is_normal_and_independent():
    noise = changed(np.zeros((2, 3)), noise=0.5)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 0.5) < 0.01
    flat = noise.reshape(MANY, -1)
    assert np.abs(np.corrcoef(flat.T) - np.eye(6)).max() < 0.1
    assert abs((noise**4).mean() / 0.5**4 - 3) < 0.2


def test_pixels_from_outside_have_the_value_of_fill():
    image = np.ones((3, 3))
    for fill in (0.0, 7.0):
        values = set(np.unique(changed(image, count=50, shift=2, fill=fill)))
        assert values == {1.0, fill}
    far = changed(image, count=100, shift=5, fill=7)
    assert (far == 7).all(axis=(1, 2)).any()


def test_without_changes_images_are_as_they_were():
    np.testing.assert_array_equal(data.augmented(X, T).changed(X, RNG), X)
    tiny = data.augmented(X, T, rotation=1e-9).changed(X, RNG)
    np.testing.assert_allclose(tiny, X, atol=1e-8)


# ------------------------------------------------------------------------------- in a run


def fitted(*given: Any, seed: int = 1, **options: Any) -> Any:
    batches = batches_of(*given, rng=np.random.default_rng(seed), **{"batch_size": 8, **options})
    batches.fit_to(losses.SoftmaxCrossEntropy(), lambda data: ((3,),), np.dtype("float32"))
    return batches


HOW: dict[str, Any] = {"shift": 1, "flip": "both", "rotation": 10, "noise": 0.1}


def as_bytes(batches: Any) -> list[Any]:
    return [(x.tobytes(), t.tobytes(), w is not None and w.tobytes()) for (x,), t, w in batches]


def test_labels_and_weights_stay_with_their_images():
    x = np.zeros((N, 4, 4, 1))
    x[:] = np.arange(N).reshape(N, 1, 1, 1)
    weights = 1.0 + np.arange(N)
    batches = fitted(
        data.augmented(x, np.arange(N) % 3, flip="both", noise=0.01), sample_weights=weights
    )
    seen = []
    for _ in range(2):
        for (images,), t, w in batches.epoch():
            numbers = np.rint(images[:, 0, 0, 0]).astype(int)
            np.testing.assert_array_equal(t, numbers % 3)
            np.testing.assert_array_equal(w, 1 + numbers)
            assert images.dtype == np.float32 and not images.flags.writeable
            seen += numbers.tolist()
    assert sorted(seen) == sorted([*range(N), *range(N)])


def test_the_arrays_of_the_user_never_change():
    x, t = X.copy(), T.copy()
    list(fitted(data.augmented(x, t, **HOW)).epoch())
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(t, T)


def test_every_epoch_changes_the_images_anew_and_a_seed_repeats_them():
    one, same, other = (fitted(data.augmented(X, T, **HOW), seed=n) for n in (1, 1, 2))
    first, second = as_bytes(one.epoch()), as_bytes(one.epoch())
    assert first != second
    assert [as_bytes(same.epoch()), as_bytes(same.epoch())] == [first, second]
    assert as_bytes(other.epoch()) != first


def test_every_batch_of_an_epoch_has_changes_of_its_own():
    same = np.ones((N, 4, 4, 1))
    images = [x for (x,), _, _ in fitted(data.augmented(same, T, noise=1.0)).epoch()]
    assert len({image.tobytes() for batch in images for image in batch}) == N


class Pairs:
    """A dataset that gives one sample at a time."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, number: int) -> Any:
        return X[number], T[number]


def made(rng: np.random.Generator) -> Any:
    rows = rng.integers(0, N, 8)
    return X[rows], T[rows]


KINDS: dict[str, Any] = {
    "arrays": lambda: ((X, T), {}),
    "pairs": lambda: ((Pairs(),), {}),
    "a list of batches": lambda: (([(X[:15], T[:15]), (X[15:], T[15:])],), {"batch_size": None}),
    "a function": lambda: ((made,), {"batch_size": None, "steps_per_epoch": 3}),
}


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_position_restores_the_batches_that_would_have_followed(kind, prefetch):
    given, options = KINDS[kind]()
    make = [fitted(data.augmented(*given, **HOW), seed=n, prefetch=prefetch, **options)
            for n in (1, 2)]  # fmt: skip
    one, other = make
    assert isinstance(one, AugmentedBatches)
    list(one.epoch())
    running = one.epoch()
    next(running)
    other.go_to(json.loads(json.dumps(one.position())))
    assert other.position() == one.position()
    assert as_bytes(other.epoch(1)) == as_bytes(running)
    assert as_bytes(other.epoch()) == as_bytes(one.epoch())
    one.close()
    other.close()


def test_an_interrupted_epoch_can_be_continued():
    whole, left = (fitted(data.augmented(X, T, **HOW), prefetch=on) for on in (False, True))
    expected, running = as_bytes(whole.epoch()), left.epoch()
    got = as_bytes(next(running) for _ in range(2))
    running.close()
    assert got + as_bytes(left.epoch(2)) == expected
    left.close()


class StopError(Exception):
    """Simulates the end of a process."""


class Stops(callbacks.Callback):
    def on_step_end(self, trainer, epoch, step, cost):
        if trainer.steps == 6:
            raise StopError


def run(given: list[Any], rng: int = 3, how: Any = HOW, **options: Any) -> Trainer:
    model = Sequential([Flatten(), Dense(5), Activation("tanh"), Dense(3)])
    trainer = Trainer(model, losses.SoftmaxCrossEntropy(), optimizers.Adam(0.01), rng=rng)
    trainer.fit(
        data.augmented(X, T, **how), epochs=3, batch_size=8, callbacks=given, progress=False,
        **options,
    )  # fmt: skip
    return trainer


def test_a_resumed_run_has_the_same_bits(tmp_path):
    """Stopped after step 6 of 12, in the middle of the second epoch of four steps."""
    whole = run([])
    with pytest.raises(StopError):
        run([callbacks.Checkpoint(tmp_path, every_steps=1), Stops()])
    resumed = run([callbacks.Checkpoint(tmp_path)], rng=99, resume_from=tmp_path)
    assert whole.model.parameters.value.tobytes() == resumed.model.parameters.value.tobytes()
    assert whole.history["loss"] == resumed.history["loss"]


def test_a_run_is_not_resumed_with_other_changes_or_images(tmp_path):
    with pytest.raises(StopError):
        run([callbacks.Checkpoint(tmp_path, every_steps=1), Stops()])
    with pytest.raises(ConfigurationError, match="not those of the run to resume") as caught:
        run([], how={**HOW, "shift": 2}, resume_from=tmp_path)
    assert "shift=(2, 2)" in caught.value.received


def test_the_targets_may_be_given_to_fit():
    one, other = fitted(data.augmented(X, **HOW), T), fitted(data.augmented(X, T, **HOW))
    assert as_bytes(one.epoch()) == as_bytes(other.epoch())
    with pytest.raises(ConfigurationError, match="the targets are given twice"):
        fitted(data.augmented(X, T), T)


def test_noise_is_for_rows_of_any_shape():
    batches = fitted(data.augmented(X.reshape(N, -1), T, noise=0.1))
    (x,), _, _ = next(batches.epoch())
    assert x.shape == (8, 84)


# ------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("shift", -1, "a number of pixels, 0 or more, or a pair (vertical, horizontal)"),
        ("shift", 0.5, "a number of pixels, 0 or more, or a pair (vertical, horizontal)"),
        ("shift", (1, 2, 3), "a number of pixels, 0 or more, or a pair (vertical, horizontal)"),
        ("shift", True, "a number of pixels, 0 or more, or a pair (vertical, horizontal)"),
        ("flip", "left", "'horizontal' or 'vertical' or 'both'"),
        ("flip", True, "'horizontal' or 'vertical' or 'both'"),
        ("rotation", -5, "a finite number, 0 or more"),
        ("noise", float("nan"), "a finite number, 0 or more"),
        ("noise", "0.1", "a finite number, 0 or more"),
        ("fill", float("inf"), "a finite number"),
    ],
)
def test_arguments_that_are_invalid_are_refused(name, value, expected):
    with pytest.raises(ConfigurationError, match=f"{name} has an invalid value") as caught:
        data.augmented(X, T, **{name: value})
    assert caught.value.expected == expected
    assert caught.value.hint.startswith(f"{name}=")


def test_an_unknown_argument_is_a_named_error():
    with pytest.raises(ArgumentError, match="there is no argument 'zoom'"):
        data.augmented(np.ones((2, 4, 4, 1)), zoom=0.1)


def test_samples_that_are_no_images_are_refused():
    with pytest.raises(ShapeError, match="not images") as caught:
        fitted(data.augmented(X[..., 0], T, shift=1))
    assert caught.value.received == "(batch, 6, 7)"
    assert "np.newaxis" in caught.value.hint
    with pytest.raises(ShapeError, match="not images") as caught:
        fitted(data.augmented(X.reshape(N, -1), T, flip="both"))
    assert "reshape" in caught.value.hint
    with pytest.raises(ConfigurationError, match="the only input"):
        fitted(data.augmented((X, X), T, noise=0.1))
