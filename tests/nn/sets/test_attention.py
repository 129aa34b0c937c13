"""Set attention against a plain loop over heads, queries and keys."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej
from equijax.nn.sets._multihead import attend
from equijax.testing import check_equivariance
from tests.helpers import BIAS, KERNEL, WithMask, check_message, randn

COMMON = {"param_dtype": jnp.float64, "kernel_init": KERNEL, "bias_init": BIAS}


def linear(layer, x):
    return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def normalised(norm, x):
    if norm is None:
        return x
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.epsilon)
    return scaled * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])


def looped(block, x, y, y_mask):
    """MAB(X, Y) of one set of queries and one of keys, from the equations."""
    d = block.features // block.num_heads
    query, key, value = linear(block.query, x), linear(block.key, y), linear(block.value, y)
    attended = np.zeros_like(x)
    for h in range(block.num_heads):
        part = slice(h * d, (h + 1) * d)
        for i in range(len(x)):
            weights = [np.exp(query[i, part] @ key[j, part] / np.sqrt(d)) if y_mask[j] else 0.0 for j in range(len(y))]
            for j in range(len(y)):
                attended[i, part] += weights[j] / max(sum(weights), 1e-300) * value[j, part]
    hidden = normalised(block.norm, x + linear(block.out, attended))
    fed = linear(block.feed_forward.out, np.maximum(linear(block.feed_forward.hidden, hidden), 0))
    return normalised(block.last_norm, hidden + fed)


def test_blocks_against_a_loop():
    x, y = np.asarray(randn((3, 6))), np.asarray(randn((4, 6), 1))
    everything, some, nothing = np.ones(4, bool), np.array([True, False, True, True]), np.zeros(4, bool)
    rngs = nnx.Rngs(0)
    block = ej.nn.MultiheadAttentionBlock(6, 3, hidden_features=5, rngs=rngs, **COMMON)
    run = jax.jit(block)
    for mask in (everything, some, nothing):
        got = run(jnp.asarray(x), jnp.asarray(np.where(mask[:, None], y, np.nan)), y_mask=jnp.asarray(mask))
        np.testing.assert_allclose(got, looped(block, x, np.where(mask[:, None], y, 0), mask), rtol=1e-12, atol=1e-13)
    induced = ej.nn.InducedSetAttentionBlock(6, 2, 3, rngs=rngs, **COMMON)
    inner = looped(induced.gather, np.asarray(induced.points[...]), y, some)
    outer = looped(induced.scatter, y, inner, np.ones(2, bool))
    np.testing.assert_allclose(jax.jit(induced)(jnp.asarray(y), jnp.asarray(some))[some], outer[some], rtol=1e-11)
    pool = ej.nn.AttentionPool(6, 2, 3, use_norm=False, rngs=rngs, **COMMON)
    fed = linear(pool.feed_forward.out, np.maximum(linear(pool.feed_forward.hidden, y), 0))
    expected = looped(pool.block, np.asarray(pool.seeds[...]), fed, some)
    np.testing.assert_allclose(jax.jit(pool)(jnp.asarray(y), jnp.asarray(some)), expected, rtol=1e-11)


def test_equivariant_in_the_queries_and_invariant_in_the_keys():
    block = ej.nn.MultiheadAttentionBlock(4, 2, rngs=nnx.Rngs(0), **COMMON)
    x, y = randn((2, 3, 4)), randn((2, 5, 4), 1)
    mask = jnp.array([[True, True, False], [False] * 3])
    act, still = ej.SetAction(), ej.TrivialAction(ej.Permutation(5))
    check_equivariance(jax.jit(lambda pair: block(pair[0], y, pair[1])), WithMask(act), act, (x, mask), gradient=False)
    check_equivariance(jax.jit(lambda y: block(x, y)), act, still, y, gradient=False)


def test_large_scores_stay_finite_and_the_softmax_is_float32():
    key = jnp.full((3, 1, 2), 1e4)
    value = jnp.arange(3.0).reshape(3, 1, 1) * jnp.ones((1, 1, 2))
    assert np.allclose(attend(key, key, value), 1.0)
    q = randn((64, 2, 8), dtype=jnp.float32)
    narrow = attend(*(z.astype(jnp.bfloat16) for z in (q, q, q)))
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_allclose(narrow.astype(jnp.float32), attend(q, q, q), atol=0.05)


def test_bad_input():
    rngs = nnx.Rngs(0)
    check_message(lambda: ej.nn.SetAttentionBlock(5, 2, rngs=rngs), ValueError, ["`num_heads` is 2", "features = 5"])
    check_message(lambda: ej.nn.AttentionPool(4, 0, rngs=rngs), ValueError, ["`num_seeds`"])
    block = ej.nn.MultiheadAttentionBlock(4, 2, rngs=rngs)
    check_message(lambda: block(jnp.ones((2, 3, 4)), jnp.ones((3, 4))), ValueError, ["batch axes"])
    check_message(lambda: block(jnp.ones((3, 4)), jnp.ones((3, 5))), ValueError, ["`y`", "(*batch, n, 4)"])
    wrong = jnp.ones((2,), bool)
    check_message(lambda: block(jnp.ones((3, 4)), jnp.ones((3, 4)), y_mask=wrong), ValueError, ["`y_mask`", "`y`"])


def test_weights_and_dropout():
    """The softmax sums to 1 over the keys that are there; dropout multiplies it, with one key for each block."""
    x, mask = randn((2, 5, 4)), jnp.asarray([[True] * 5, [True, True, True, False, False]])
    options = {"dropout_rate": 0.5, "use_norm": False, "rngs": nnx.Rngs(0), **COMMON}
    block = ej.nn.SetAttentionBlock(4, 2, **options)
    induced, pool = ej.nn.InducedSetAttentionBlock(4, 3, 2, **options), ej.nn.AttentionPool(4, 2, 2, **options)
    more = {"return_attention_weights": True}

    @jax.jit
    def run(key):
        view = nnx.view(block, deterministic=True)
        quiet = [layer(x, mask, deterministic=True, **more) for layer in (view, induced, pool)]
        return quiet, [layer(x, mask, rngs=key, **more) for layer in (block, induced, pool)]

    key = jax.random.key(0)
    quiet, noisy = run(key)
    for (y, _), (z, _) in zip(quiet, noisy, strict=True):
        assert not np.allclose(y, z)
        assert (np.asarray(z)[1, 3:] == 0).all() or z.shape[1] == 2
    np.testing.assert_array_equal(quiet[0][1], noisy[0][1])
    (_, weights), (_, (inner, outer)), (_, of_pool) = quiet
    assert (weights.shape, inner.shape, outer.shape, of_pool.shape) == (
        (2, 2, 5, 5),
        (2, 2, 3, 5),
        (2, 2, 5, 3),
        (2, 2, 2, 5),
    )
    for found, there in ((weights, mask[:, None]), (inner, True), (outer, mask[:, None]), (of_pool, True)):
        np.testing.assert_allclose(found.sum(-1), np.broadcast_to(there, found.shape[:-1]), rtol=1e-12)
    assert (np.asarray(weights)[1, :, :, 3:] == 0).all() and (np.asarray(of_pool)[1, :, :, 3:] == 0).all()
    factors = np.asarray(jax.random.bernoulli(key, 0.5, weights.shape)) / 0.5
    inputs = np.where(mask[..., None], x, 0)
    mab = block.block
    value = linear(mab.value, inputs).reshape(2, 5, 2, 2)
    attended = np.einsum("bhqk,bkhd->bqhd", factors * np.asarray(weights), value).reshape(2, 5, 4)
    hidden = inputs + linear(mab.out, attended)
    expected = hidden + linear(mab.feed_forward.out, np.maximum(linear(mab.feed_forward.hidden, hidden), 0))
    np.testing.assert_allclose(noisy[0][0], np.where(mask[..., None], expected, 0), rtol=1e-11, atol=1e-12)
    check_message(lambda: block(x), ValueError, ["`rngs`", "nnx.Rngs(dropout=0)"])
    check_message(lambda: ej.nn.SetAttentionBlock(4, 2, **{**options, "dropout_rate": -0.1}), ValueError, ["`dropout_rate`"])
