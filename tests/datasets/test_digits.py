"""The digits against what is published about them, and the promises of `datasets.digits`."""

from __future__ import annotations

import doctest
import gc
import hashlib
import importlib
import socket
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import datasets
from chainrule.core.errors import ConfigurationError, DataError

# The module, which in its package stands behind the function of the same name.
module: Any = importlib.import_module("chainrule.datasets.digits")
FOLDER = Path(module.__file__).parent


def stored() -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels in the order of the source."""
    with np.load(FOLDER / "digits.npz") as file:
        return file["pixels"], file["labels"]


def test_the_table_is_byte_for_byte_the_one_that_scikit_learn_distributes() -> None:
    pixels, labels = stored()
    lines = (",".join(map(str, [*row, label])) for row, label in zip(pixels, labels, strict=True))
    table = "".join(line + "\n" for line in lines).encode()
    # sha256sum of its sklearn/datasets/data/digits.csv.gz, unpacked.
    published = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
    assert hashlib.sha256(table).hexdigest() == published


def test_each_digit_occurs_as_often_as_the_repository_says() -> None:
    data = datasets.digits()
    published = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    counts = np.bincount(data.t_train) + np.bincount(data.t_test)
    assert counts.tolist() == published
    assert counts.sum() == 1797


def test_the_first_image_is_the_known_zero() -> None:
    zero = [
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
        [0, 3, 15, 2, 0, 11, 8, 0],
        [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0],
        [0, 4, 11, 0, 1, 12, 7, 0],
        [0, 2, 14, 5, 10, 12, 0, 0],
        [0, 0, 6, 13, 10, 0, 0, 0],
    ]
    data = datasets.digits()
    np.testing.assert_array_equal(data.x_test[0].reshape(8, 8) * 16, zero)
    assert data.t_test[0] == 0


def test_pixels_are_sixteenths_between_zero_and_one() -> None:
    data = datasets.digits()
    for x in (data.x_train, data.x_test):
        assert x.min() == 0
        assert x.max() == 1
        assert set(np.unique(x * 16)) == set(range(17))


def test_it_unpacks_into_1437_images_to_train_and_360_to_test_with() -> None:
    data = datasets.digits()
    x_train, t_train, x_test, t_test = data
    assert [part.shape for part in data] == [(1437, 64), (1437,), (360, 64), (360,)]
    assert x_train is data.x_train
    assert t_train is data.t_train
    assert x_test is data.x_test
    assert t_test is data.t_test


@pytest.mark.parametrize("dtype", ["float64", "float32", np.float32, np.dtype("float64")])
def test_pixels_have_the_type_that_was_asked_for_and_labels_are_int64(dtype: Any) -> None:
    data = datasets.digits(dtype)
    assert data.x_train.dtype == data.x_test.dtype == np.dtype(dtype)
    assert data.t_train.dtype == data.t_test.dtype == np.int64
    # Sixteenths are exact in both types.
    np.testing.assert_array_equal(data.x_train, datasets.digits().x_train)


def test_float64_is_the_type_if_none_is_named() -> None:
    assert datasets.digits().x_train.dtype == np.float64


def test_every_fifth_of_the_images_ordered_by_digit_is_a_test_image() -> None:
    pixels, labels = stored()
    row = [image for digit in range(10) for image in range(1797) if labels[image] == digit]
    in_test = {image for place, image in enumerate(row) if place % 5 == 0}
    data = datasets.digits()
    for x, t, images in (
        (data.x_test, data.t_test, sorted(in_test)),
        (data.x_train, data.t_train, sorted(set(range(1797)) - in_test)),
    ):
        np.testing.assert_array_equal(x * 16, pixels[images])
        np.testing.assert_array_equal(t, labels[images])


def test_no_image_is_in_both_parts() -> None:
    data = datasets.digits()
    train = {image.tobytes() for image in data.x_train}
    test = {image.tobytes() for image in data.x_test}
    assert len(train) == 1437
    assert len(test) == 360
    assert train.isdisjoint(test)


def test_each_digit_has_a_fifth_of_its_images_in_the_test() -> None:
    data = datasets.digits()
    in_test = np.bincount(data.t_test)
    everywhere = in_test + np.bincount(data.t_train)
    assert (np.abs(in_test - everywhere / 5) < 1).all()


def test_the_arrays_are_new_in_each_call_and_may_be_changed() -> None:
    first = datasets.digits()
    for part in first:
        assert part.flags.writeable
        part[:] = 7
    second = datasets.digits()
    for mine, fresh in zip(first, second, strict=True):
        assert not np.shares_memory(mine, fresh)
    assert second.x_train.max() == 1
    assert second.t_test[0] == 0


def test_it_prints_shapes_and_types_and_not_the_numbers() -> None:
    assert repr(datasets.digits("float32")) == (
        "Digits(x_train=(1437, 64) float32, t_train=(1437,) int64, "
        "x_test=(360, 64) float32, t_test=(360,) int64)"
    )


def test_no_network_is_needed_and_no_file_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("digits() asked for the network")

    monkeypatch.setattr(socket, "socket", refuse)
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        datasets.digits()
        gc.collect()
    assert complaints == []


@pytest.mark.parametrize("dtype", [None, "int8", "float16", ">f8", complex, "numbers", ["float64"]])
def test_another_type_is_a_named_error(dtype: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        datasets.digits(dtype)
    assert caught.value.place == "datasets.digits"
    assert caught.value.expected == "dtype 'float64' or 'float32'"
    assert caught.value.received == repr(dtype)
    assert caught.value.hint is not None


@pytest.mark.parametrize("damage", ["one bit", "cut short", "empty", "another file"])
def test_a_damaged_file_is_a_named_error(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray((FOLDER / "digits.npz").read_bytes())
    content[20_000] ^= 1
    damaged = {
        "one bit": bytes(content),
        "cut short": bytes(content[:30_000]),
        "empty": b"",
        "another file": b"<html>not found</html>",
    }[damage]
    (tmp_path / "digits.npz").write_bytes(damaged)
    monkeypatch.setattr(module.resources, "files", lambda package: tmp_path)
    with pytest.raises(DataError, match="damaged") as caught:
        datasets.digits()
    assert str(tmp_path / "digits.npz") in caught.value.problem
    assert f"{len(damaged):,} bytes" in str(caught.value.received)
    assert "reinstall chainrule" in str(caught.value.hint)


def test_a_missing_file_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.resources, "files", lambda package: tmp_path)
    with pytest.raises(DataError, match="cannot be read") as caught:
        datasets.digits()
    assert str(tmp_path / "digits.npz") in str(caught.value.expected)


def test_source_and_licence_are_beside_the_data() -> None:
    text = (FOLDER / "digits.LICENSE.txt").read_text()
    for fact in ("Alpaydin", "Kaynak", "10.24432/C50P49", "CC BY 4.0"):
        assert fact in text


def test_the_example_in_the_documentation_is_true() -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
