"""TransformerBlock: its formula, its graph, its file, and PyTorch's encoder layer."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import (
    Dense,
    PositionalEncoding,
    Residual,
    Sequential,
    Trainer,
    TransformerBlock,
    check_layer,
    derivatives,
    diagram,
    explain,
    load,
    losses,
    optimizers,
    summary,
)
from chainrule.core.errors import BuildError, ConfigurationError, ShapeError

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def built(model, *shapes, **how):
    model.build(*shapes, **{"rng": 0, **how})
    return model


def masks(shape):
    """A mask where one is expected."""
    rng = np.random.default_rng(3)
    return rng.integers(0, 2, shape) if len(shape) == 2 else rng.normal(size=shape)


def test_the_output_is_that_of_its_layers_in_turn():
    block = built(TransformerBlock(2, 8), (5, 4))
    x = np.random.default_rng(0).normal(size=(3, 5, 4))
    h = x + block.attention(block.attention_norm(x))
    expected = h + block.dense_2(block.gelu(block.dense_1(block.dense_norm(h))))
    np.testing.assert_allclose(block.forward(x), expected, **CLOSE)
    np.testing.assert_allclose(block(x), expected, **CLOSE)
    assert block.dense_1.units == 8 and block.dense_2.units == 4 and block.attention.heads == 2


def test_without_weights_at_their_ends_both_terms_vanish():
    block = built(TransformerBlock(2, 8), (5, 4))
    block.attention.output_weights.value = np.zeros((4, 4))
    block.dense_2.weights.value = np.zeros((8, 4))
    x, delta = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    np.testing.assert_array_equal(block.forward(x), x)
    np.testing.assert_array_equal(block.backward(delta), delta)


def test_paths_name_each_parameter_by_its_place():
    model = built(Sequential([PositionalEncoding(), TransformerBlock(2, 8), Dense(3)]), (5, 4))
    assert [p for p in model.parameters.paths if "bias" not in p and "shift" not in p] == [
        "transformer_block_1/attention_norm.scale",
        "transformer_block_1/attention.query_weights",
        "transformer_block_1/attention.key_weights",
        "transformer_block_1/attention.value_weights",
        "transformer_block_1/attention.output_weights",
        "transformer_block_1/dense_norm.scale",
        "transformer_block_1/dense_1.weights",
        "transformer_block_1/dense_2.weights",
        "dense_1.weights",
    ]


@given(
    heads=st.integers(1, 2),
    hidden=st.integers(1, 5),
    steps=st.integers(1, 4),
    causal=st.booleans(),
    masked=st.booleans(),
)
@settings(max_examples=4)
def test_it_keeps_every_law(heads, hidden, steps, causal, masked):
    row = (steps, 4 * heads)  # two numbers have only two normal forms
    shapes = (row, (steps,)) if masked else row
    result = check_layer(
        TransformerBlock(heads, hidden, causal), shapes, inputs=masks if masked else None
    )
    assert result.ok, result


def test_dropout_drops_in_training_alone_and_keeps_every_law():
    block = built(TransformerBlock(2, 8, rate=0.5), (5, 4))
    plain = built(TransformerBlock(2, 8), (5, 4))
    plain.parameters.value = block.parameters.value
    x = np.random.default_rng(0).normal(size=(3, 5, 4))
    np.testing.assert_array_equal(block(x), plain(x))
    assert np.abs(block.forward(x) - plain(x)).max() > 0.01
    names = [name for name in block.children() if "dropout" in name]
    assert names == ["attention_dropout", "dense_dropout"]
    assert check_layer(TransformerBlock(1, 3, rate=0.3), (2, 4)).ok


def test_a_mask_is_the_second_input():
    block = built(TransformerBlock(2, 8), (5, 4), (5,))
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(3, 5, 4)), np.array([[1, 1, 1, 0, 0]] * 3)
    y = block.forward(x, mask)
    of_x, of_mask = block.backward(np.ones_like(y))
    assert of_x.shape == x.shape and not of_mask.any()
    short = built(TransformerBlock(2, 8), (3, 4))
    short.parameters.value = block.parameters.value
    np.testing.assert_allclose(y[:, :3], short(x[:, :3]), **CLOSE)
    pairs = np.repeat(mask[:, np.newaxis], 5, axis=1)
    np.testing.assert_allclose(block(x, pairs), y, **CLOSE)


def test_repr_equality_and_copies_come_from_the_configuration():
    block = built(TransformerBlock(2, 8, causal=True, rate=0.1), (5, 4))
    assert repr(block) == "TransformerBlock(2, 8, causal=True, rate=0.1)"
    assert block == eval(repr(block)) == block.unbuilt()
    assert block != TransformerBlock(2, 8) and TransformerBlock(2, 8) != Dense(8)
    assert not block.unbuilt().children()
    wider = block.unbuilt()
    assert wider(np.ones((2, 3, 6))).shape == (2, 3, 6)
    assert Sequential([block]) == Sequential([TransformerBlock(2, 8, True, 0.1)])


def test_blocks_nest_are_saved_and_compute_the_same(tmp_path):
    inner = Sequential([TransformerBlock(2, 8, rate=0.2), Residual(TransformerBlock(1, 3))])
    model = built(Sequential([PositionalEncoding(), inner, Dense(3)]), (None, 4))
    x = np.random.default_rng(0).normal(size=(3, 7, 4))
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again == model and again.parameters.paths == model.parameters.paths
    np.testing.assert_array_equal(again(x), model(x))
    fresh = model.unbuilt()
    fresh.build((7, 4), rng=1)
    fresh.parameters.value = model.parameters.value
    np.testing.assert_array_equal(fresh(x), model(x))
    assert model.twin()(x).shape == (3, 7, 3)


def test_the_same_seed_gives_the_same_block_alone_and_inside():
    one = built(Sequential([TransformerBlock(2, 8)]), (5, 4), rng=5)
    two = built(Sequential([TransformerBlock(2, 8)]), (5, 4), rng=5)
    np.testing.assert_array_equal(one.parameters.value, two.parameters.value)
    first = Sequential([TransformerBlock(2, 8)])  # built by its first batch
    assert first(np.ones((2, 5, 4), np.float32)).dtype == np.float32
    assert {p.dtype for p in first.parameters} == {np.dtype(np.float32)}


def test_a_shared_block_adds_up_its_gradients():
    block = TransformerBlock(2, 8)
    model = built(Sequential([block, block]), (5, 4))
    apart = built(Sequential([TransformerBlock(2, 8), TransformerBlock(2, 8)]), (5, 4))
    size = block.parameters.size
    apart.parameters.value = np.tile(model.parameters.value, 2)
    x, delta = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    np.testing.assert_array_equal(model.forward(x), apart.forward(x))
    np.testing.assert_allclose(model.backward(delta), apart.backward(delta), **CLOSE)
    both = apart.parameters.grad[:size] + apart.parameters.grad[size:]
    np.testing.assert_allclose(model.parameters.grad, both, **CLOSE)


def test_a_block_that_is_frozen_before_it_is_built_learns_nothing():
    block = TransformerBlock(2, 8).freeze()
    model = built(Sequential([block, Dense(2)]), (5, 4))
    assert not any(p.trainable for p in block.parameters)
    model.forward(np.ones((2, 5, 4)))
    model.backward(np.ones((2, 5, 2)))
    assert not block.parameters.grad.any() and model.parameters.grad.any()


def test_a_stack_of_blocks_keeps_every_law():
    # Large parameters: the second softmax is nearly one-hot, and its rounding is amplified.
    model = Sequential([TransformerBlock(2, 3, causal=True), TransformerBlock(2, 3)])
    assert check_layer(model, (4, 4)).ok


def test_a_build_that_fails_leaves_nothing_behind():
    block = TransformerBlock(3, 8)
    with pytest.raises(ShapeError, match="the heads do not divide the width") as caught:
        Sequential([Dense(4), block]).build((5, 4))
    assert "sequential/transformer_block_1" in str(caught.value)
    assert "another number of heads" in caught.value.hint  # a block has no units
    assert not block.is_built and not block.children()
    block.build((5, 6))


def test_summary_diagram_and_formulas_show_its_layers():
    block = built(TransformerBlock(2, 8), (5, 4))
    assert "attention_norm   input" in str(summary(block))
    assert "MultiHeadAttention(2)" in str(diagram(block))
    shown = str(explain(block))
    assert "y₃ = y₀ + y₂" in shown and "z₅ = y₄ w₅ + b₅" in shown and "y₇ = y₃ + z₆" in shown


def test_hessian_products_and_gradients_of_rows():
    block = built(TransformerBlock(2, 3, causal=True), (3, 4))
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 2, 3, 4))
    along, loss = rng.normal(size=block.parameters.size), losses.HalfSquaredError()
    theta = block.parameters.value.copy()

    def gradient(step):
        block.parameters.value = theta + step * along
        found = derivatives.value_and_gradient(block, loss, x, t)[1].copy()
        block.parameters.value = theta
        return found

    by_differences = (gradient(1e-5) - gradient(-1e-5)) / 2e-5
    product = derivatives.hvp(block, loss, x, t, along)
    np.testing.assert_allclose(product, by_differences, rtol=1e-5, atol=1e-6)
    rows = derivatives.row_gradients(block, x, t)
    block.parameters.zero_grad()
    block.forward(x)
    block.backward(t)
    np.testing.assert_allclose(rows.sum(0), block.parameters.grad, **CLOSE)


def test_it_learns_to_look_back():
    """The target is the entry before, which no layer for single entries could know."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (256, 6, 1)).astype(float)
    t = np.concatenate([np.zeros((256, 1, 1)), x[:, :-1]], axis=1)
    layers = [Dense(16), PositionalEncoding(), TransformerBlock(2, 32, causal=True), Dense(1)]
    trainer = Trainer(Sequential(layers), losses.HalfSquaredError(), optimizers.Adam(0.01), rng=0)
    history = trainer.fit(x, t, epochs=35, batch_size=32, progress=False)
    assert history["loss"][-1] < 0.1  # guessing costs ½ · 5 · ¼


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 8), "heads has an invalid value"),
        ((2, 0), "hidden has an invalid value"),
        ((2, 8.5), "hidden has an invalid value"),
        ((2, 8, 1), "causal has an invalid value"),
        ((2, 8, False, 1.0), "rate has an invalid value"),
        ((2, 8, False, "no"), "rate has an invalid value"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        TransformerBlock(*arguments)


def test_inputs_are_checked():
    with pytest.raises(BuildError, match="one or two inputs"):
        TransformerBlock(2, 8).build((5, 4), (5,), (5,))
    with pytest.raises(BuildError, match="one or two inputs"):
        TransformerBlock(2, 8).build()
    with pytest.raises(ShapeError, match="not sequences"):
        TransformerBlock(2, 8).build((4,))
    with pytest.raises(ShapeError, match="the mask does not fit"):
        TransformerBlock(2, 8).build((5, 4), (4,))
    block = built(TransformerBlock(2, 8), (5, 4), (5,))
    with pytest.raises(ShapeError, match="the mask does not fit"):
        block(np.ones((2, 6, 4)), np.ones((2, 5)))
    with pytest.raises(ConfigurationError, match="cannot be changed"):
        block.hidden = 9


@pytest.mark.peers
@given(seed=st.integers(0, 99), heads=st.integers(1, 3), steps=st.integers(1, 5))
@settings(max_examples=20)
def test_values_and_gradients_are_those_of_pytorch(torch, seed, heads, steps):
    width = 2 * heads
    block = built(TransformerBlock(heads, 5), (steps, width), rng=seed)
    rng = np.random.default_rng(seed)
    block.parameters.value = rng.normal(size=block.parameters.size)
    theirs = torch.nn.TransformerEncoderLayer(
        width, heads, 5, dropout=0.0, activation="gelu", batch_first=True, norm_first=True,
        dtype=torch.float64,
    )  # fmt: skip
    value = {path: p.value for path, p in zip(block.parameters.paths, block.parameters)}  # noqa: B905
    grad = {path: p.grad for path, p in zip(block.parameters.paths, block.parameters)}  # noqa: B905

    def in_their_layout(found):
        three = [[f"attention.{r}_{kind}" for r in ("query", "key", "value")]
                 for kind in ("weights", "biases")]  # fmt: skip
        return {
            "norm1.weight": found["attention_norm.scale"],
            "norm1.bias": found["attention_norm.shift"],
            "self_attn.in_proj_weight": np.concatenate([found[p].T for p in three[0]]),
            "self_attn.in_proj_bias": np.concatenate([found[p] for p in three[1]]),
            "self_attn.out_proj.weight": found["attention.output_weights"].T,
            "self_attn.out_proj.bias": found["attention.output_biases"],
            "norm2.weight": found["dense_norm.scale"],
            "norm2.bias": found["dense_norm.shift"],
            "linear1.weight": found["dense_1.weights"].T,
            "linear1.bias": found["dense_1.biases"],
            "linear2.weight": found["dense_2.weights"].T,
            "linear2.bias": found["dense_2.biases"],
        }

    theirs.load_state_dict({n: torch.tensor(w) for n, w in in_their_layout(value).items()})
    x, delta = rng.normal(size=(2, 3, steps, width))
    inputs = torch.tensor(x, requires_grad=True)
    y = theirs(inputs)
    y.backward(torch.tensor(delta))
    # The gradients of a block add many terms; the tolerance is relative to the largest of them.
    close = {"rtol": 1e-12, "atol": 1e-12 * max(1, np.abs(inputs.grad.numpy()).max())}
    np.testing.assert_allclose(block.forward(x), y.detach().numpy(), **close)
    np.testing.assert_allclose(block.backward(delta), inputs.grad.numpy(), **close)
    expected = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    for name, gradient in in_their_layout(grad).items():
        atol = 1e-12 * max(1, np.abs(gradient).max())
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-12, atol=atol, err_msg=name)
