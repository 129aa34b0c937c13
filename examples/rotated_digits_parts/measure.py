"""What a trained model is asked."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint
from flax import nnx

import equijax as ej
from rotated_digits_parts.data import D4, D4_NAMES, P4M, Digits, turned
from rotated_digits_parts.sizes import Kind


@functools.partial(jax.jit, static_argnums=0)
def apply(graph: Any, state: Any, x: jax.Array) -> jax.Array:
    """Logits of a model that was split."""
    return nnx.merge(graph, state)(x)


def measure(model: nnx.Module, data: Digits, angles: list[int]) -> dict[str, Any]:
    """Accuracies under all elements of D4, at all angles, and the equivariance error of the logits."""
    logits = functools.partial(apply, *nnx.split(model))
    score = lambda x: float((np.argmax(logits(x), -1) == data.test_y).mean())  # noqa: E731
    guess = np.argmax(logits(data.test_x[0]), -1)
    six_or_nine = np.isin(data.test_y, (6, 9))
    swapped = six_or_nine & (guess == 15 - data.test_y)
    elements = [score(x) for x in data.test_x]
    error = ej.equivariance_error(logits, ej.GridAction(P4M), ej.TrivialAction(P4M), data.test_x[0], D4)
    return {
        "upright": elements[0],
        "quarter_turns_and_flips": float(np.mean(elements)),
        "per_element": dict(zip(D4_NAMES, elements, strict=True)),
        "per_angle": {a: score(turned(data.test_x[0], a)) for a in angles},
        "equivariance_error": dict(zip(D4_NAMES, error.tolist(), strict=True)),
        "six_read_as_nine_or_back": float(swapped.sum() / max(six_or_nine.sum(), 1)),
    }


def checkpoint_is_exact(model: nnx.Module, kind: Kind, folder: Path, x: jax.Array) -> bool:
    """Saves the state with Orbax, reads it into a fresh model, and compares logits bit for bit."""
    checkpointer = orbax.checkpoint.StandardCheckpointer()
    checkpointer.save(folder.absolute(), nnx.state(model), force=True)
    checkpointer.wait_until_finished()
    fresh = nnx.view(kind.build(nnx.Rngs(1)), use_running_average=True)
    graph, state = nnx.split(fresh)
    before = apply(*nnx.split(model), x)
    after = apply(graph, checkpointer.restore(folder.absolute(), state), x)
    return bool((before == after).all()) and not bool((apply(graph, state, x) == after).all())
