"""Arrays as values."""

import copy
import pickle

import numpy as np
import pytest

from equijax._arrays import FrozenArray, digest, read_only


def test_frozen_arrays_are_values():
    a, b = FrozenArray([[1, 2]], np.int32), FrozenArray(np.array([[1, 2]]), np.int32)
    assert a == b and hash(a) == hash(b) and a != FrozenArray([[1, 3]], np.int32)
    assert a != FrozenArray([1, 2], np.int32) and a != FrozenArray([[1, 2]], np.int64) and a != [[1, 2]]
    for other in (pickle.loads(pickle.dumps(a)), copy.deepcopy(a)):
        assert other == a and other.array.dtype == np.int32 and not other.array.flags.writeable


def test_frozen_arrays_are_copies_and_cannot_change():
    source = np.arange(3)
    frozen = FrozenArray(source, np.int64)
    source[0] = 9
    assert frozen.array.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        frozen.array[0] = 1
    with pytest.raises(AttributeError, match="immutable"):
        frozen.array = source


def test_digests_are_the_same_in_every_process():
    assert digest(np.arange(4, dtype=np.int32)) == digest(np.arange(4, dtype=np.int32)[::1])
    assert digest(np.zeros(2, np.int32)) != digest(np.zeros(4, np.int16)), "same bytes, another dtype and shape"
    assert -(2**63) <= digest(np.zeros(2)) < 2**63


def test_read_only_returns_its_argument():
    array = np.zeros(2)
    assert read_only(array) is array and not array.flags.writeable
