"""The digits, upright, turned and flipped."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits

import equijax as ej

P4M = ej.wallpaper("p4m")
D4 = (jnp.zeros((8, 2), jnp.int32), jnp.arange(8))  # no shift, and each of the 8 point elements
D4_NAMES = [f"{mirror}{90 * k}°" for mirror in ("", "flip, ") for k in range(4)]


class Digits(NamedTuple):
    """Images `(8, n, side, side, 1)`, one copy for each element of D4 (0 is upright), and labels."""

    train_x: jax.Array
    train_y: jax.Array
    test_x: jax.Array
    test_y: np.ndarray
    classes: int


def read_npz(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads `x` and `y`; anything that does not fit is a ValueError of one line."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("x", "y") if name in file}
    except Exception as error:
        raise ValueError(f"{path} can't be read as an .npz file: {error}") from None
    if missing := [name for name in ("x", "y") if name not in arrays]:
        raise ValueError(f"{path} lacks `{missing[0]}`; it needs x, uint8 (n, H, H), and y, n integer labels")
    x, y = arrays["x"], arrays["y"]
    if x.dtype != np.uint8 or x.ndim != 3:
        raise ValueError(f"x is {x.dtype} of shape {x.shape}; it must be uint8 (n, H, W)")
    if x.shape[1] != x.shape[2] or x.shape[1] < 4:
        raise ValueError(f"x holds {x.shape[1]}x{x.shape[2]} images; quarter turns need square ones, at least 4x4")
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise ValueError(f"y is {y.dtype} of shape {y.shape}; it must hold one integer label for each of {len(x)} images")
    return x[..., None] / 255, y


def load(path: str | None, sizes: list[int], test: int, seed: int) -> Digits:
    """Splits the data, and makes the turned and flipped copies by the action of p4m on images."""
    if path is None:
        x, y = load_digits(return_X_y=True)
        x = x.reshape(-1, 8, 8, 1) / 16
    else:
        x, y = read_npz(path)
    classes, y = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError("all labels are equal; there is nothing to learn")
    test = min(test, len(x) // 3)
    if len(x) - test < max(sizes):
        raise ValueError(f"{len(x)} samples, of which {test} are for testing, are too few to train on {max(sizes)}")
    if x.shape[1] % 2:  # 2x2 pooling keeps the quarter turns of even sizes only
        x = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = x[order].astype(np.float32), y[order].astype(np.int32)
    copies = jax.vmap(ej.GridAction(P4M), (0, None))(D4, x)
    return Digits(copies[:, test:], jnp.asarray(y[test:]), copies[:, :test], y[:test], len(classes))


def turned(images: jax.Array, degrees: int) -> np.ndarray:
    """Turns images by an angle with linear interpolation; a dark frame keeps the corners."""
    frame = images.shape[1] // 4
    padded = np.pad(images, ((0, 0), (frame, frame), (frame, frame), (0, 0)))
    full = rotate(padded, degrees, axes=(2, 1), reshape=False, order=1)
    return full[:, frame:-frame, frame:-frame]
