"""Class weights: each sample has the weight of its class, and invalid classes are rejected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import losses
from chainrule.core.errors import ConfigurationError, DataError
from chainrule.data.class_weights import ClassWeights, OutputClassWeights, labels_of
from chainrule.data.samples import Data

NAN, INF = float("nan"), float("inf")


def weights_of(given_as: Any, target: Any, row: tuple[int, ...] = (3,)) -> Any:
    target = np.asarray(target)
    weights = OutputClassWeights.of(given_as).for_targets(row, target, "t")
    return weights.of_targets(target, "t")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_a_target_has_the_weight_of_its_class_in_every_form(labels: list[int], seed: int) -> None:
    of_class = np.random.default_rng(seed).uniform(0, 3, 5)
    expected = of_class[labels]
    one_hot = np.eye(5)[labels]
    for target in (np.array(labels), np.array(labels, float), one_hot, one_hot * 0.9 + 0.02):
        for given_as in (of_class, of_class.tolist(), dict(enumerate(of_class))):
            np.testing.assert_array_equal(weights_of(given_as, target, (5,)), expected)


@pytest.mark.parametrize("row", [(), (1,)])
@pytest.mark.parametrize("dtype", [bool, int, float])
def test_a_single_output_has_the_classes_0_and_1(row: tuple[int, ...], dtype: Any) -> None:
    target = np.array([0, 1, 1, 0]).astype(dtype).reshape(4, *row)
    np.testing.assert_array_equal(weights_of({0: 0.5, 1: 4}, target, row), [0.5, 4, 4, 0.5])


def test_balanced_classes_weigh_the_same_and_a_sample_1_on_average() -> None:
    # By hand, n/(k n_c): 6/(2·4) and 6/(2·2).
    np.testing.assert_array_equal(
        weights_of("balanced", [0, 2, 0, 0, 2, 0]), [0.75, 1.5, 0.75, 0.75, 1.5, 0.75]
    )


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_balanced_weights_of_all_samples_of_a_class_sum_to_the_same(labels: list[int]) -> None:
    target = np.array(labels)
    weights = weights_of("balanced", target, (5,))
    sums = [weights[target == label].sum() for label in set(labels)]
    np.testing.assert_allclose(sums, len(labels) / len(sums), rtol=1e-12)


def test_labels_are_not_indices_into_the_weights() -> None:
    np.testing.assert_array_equal(weights_of({2: 5.0}, [2, 2]), [5.0, 5.0])


@pytest.mark.parametrize(
    ("given_as", "words"),
    [
        ({0: -1.0}, ["class 0", "-1.0"]),
        ({0: NAN}, ["class 0", "nan"]),
        ([1.0, INF], ["class 1", "inf"]),
        ({0: "2"}, ["class 0", "'2'"]),
        ({0: None}, ["class 0", "None"]),
        ({"cat": 1.0}, ["the label 'cat'", "np.unique"]),
        ({-1: 1.0}, ["the label -1"]),
        ({True: 1.0}, ["the label True"]),
        ({0.5: 1.0}, ["the label 0.5"]),
        ({}, ["class_weights={}"]),
        ([], ["class_weights=[]"]),
        ("balance", ["did you mean 'balanced'?"]),
        (2.0, ["class_weights=2.0"]),
        ([[1.0, 2.0]], ["[[1.0, 2.0]]"]),
    ],
)
def test_invalid_class_weights_are_rejected(given_as: Any, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClassWeights.of(given_as, 1)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("given_as", "target", "row", "kind", "words"),
    [
        ({0: 1.0, 2: 1.0}, [0, 1, 1], (3,), DataError, ["t, row 1", "1; 2 such", "0, 2"]),
        ({0: 1.0}, [0, 1], (1,), DataError, ["t, row 1", "no weight"]),
        ({0: 1.0, 3: 1.0}, [0], (3,), ConfigurationError, ["class 3", "from 0 to 2"]),
        ([1.0] * 3, [0], (1,), ConfigurationError, ["class 2", "from 0 to 1"]),
        ([1.0] * 3, [0.0, 0.5], (1,), ConfigurationError, ["class 2"]),
        ([1.0] * 2, [0.0, 0.5], (1,), DataError, ["t, row 1", "is not a label", "0.5"]),
        ("balanced", [0.0, 0.5], (1,), DataError, ["t, row 1", "is not a label"]),
        ([1.0] * 3, [[1, 0, 0], [1, 0, 1]], (3,), DataError, ["t, row 1", "does not sum to 1"]),
    ],
)
def test_targets_without_a_class_weight_are_rejected(
    given_as: Any, target: Any, row: Any, kind: type[Exception], words: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        weights_of(given_as, target, row)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "labels", [np.array([[0, 1], [2, -1]]), np.array([[[0], [1]], [[2], [-1]]])]
)
def test_each_position_has_the_weight_of_its_class_and_an_ignored_one_has_none(
    labels: Any,
) -> None:
    row = (2, 3) if labels.ndim == 2 else (2, 1)
    weights = OutputClassWeights.of({0: 3.0, 1: 5.0} if row == (2, 1) else [3.0, 5.0, 7.0])
    if row == (2, 1):
        labels = np.minimum(labels, 1)
    found = weights.for_targets(row, labels, "t", -1).of_targets(labels, "t")
    np.testing.assert_array_equal(found, [[3.0, 5.0], [7.0 if row == (2, 3) else 5.0, 1.0]])


def test_balanced_weights_do_not_count_ignored_labels() -> None:
    labels = np.array([0, 0, 0, 1, -1, -1])
    weights = OutputClassWeights.of("balanced").for_targets((3,), labels, "t", -1)
    # 4/(2·3) and 4/(2·1)
    np.testing.assert_allclose(weights.of_targets(labels, "t"), [2 / 3] * 3 + [2, 1, 1])


def test_each_output_has_its_own_classes() -> None:
    x, labels = np.zeros((4, 2)), np.array([0, 1, 1, 1])
    other, w = np.arange(8.0).reshape(4, 2), np.array([1.0, 2.0, 3.0, 4.0])
    both = losses.PerOutput([losses.SoftmaxCrossEntropy(), losses.HalfSquaredError()])
    for given_as in ({0: [1.0, 10.0]}, [{0: 1.0, 1: 10.0}, None], ([1.0, 10.0], None)):
        weights = ClassWeights.of(given_as, 2)
        assert weights is not None
        weights = weights.fitted(both, ((2,), (2,)), (labels, other), ("t[0]", "t[1]"))
        for given_w, expected in ((None, [1, 10, 10, 10]), (w, [1, 20, 30, 40])):
            found = weights.times(Data.of(x, (labels, other), given_w, outputs=2)).sample_weights
            np.testing.assert_array_equal(found[0], expected)
            assert found[1] is given_w or np.array_equal(found[1], given_w)
    with pytest.raises(DataError, match=r"t\[1\]"):
        wrong = ClassWeights.of({1: [1.0, 2.0]}, 2)
        assert wrong is not None
        wrong.fitted(both, ((2,), (2,)), (labels, other), ("t[0]", "t[1]"))


@pytest.mark.parametrize(
    "given_as", [{0: 1.0, 1: 5.0}, [1.0, 5.0], "balanced", {2: [1.0, 2.0]}, {}, [None], 3]
)
def test_class_weights_of_several_outputs_must_say_which_output(given_as: Any) -> None:
    with pytest.raises(ConfigurationError, match="which output they are for") as caught:
        ClassWeights.of(given_as, 2)
    assert "2 outputs" in str(caught.value)


def test_an_error_names_the_row_number_in_the_full_data() -> None:
    with pytest.raises(DataError) as caught:
        labels_of(np.array([1.0, 0.5, 2.5]), "t", np.array([70, 90, 80]))
    assert caught.value.place == "t, row 80"
