"""Dataclasses of arrays as pytrees: JAX lists their fields, and puts them together again without checks."""

import dataclasses
from typing import Any, Self

import jax


class Fields:
    """What a dataclass needs to be registered as a pytree with keys; its constructor may check what it is given."""

    def tree_flatten_with_keys(self) -> tuple:
        """Lists the fields for JAX."""
        names = [field.name for field in dataclasses.fields(self)]  # pyright: ignore[reportArgumentType]
        return [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in names], None

    @classmethod
    def tree_unflatten(cls, auxiliary: Any, children: Any) -> Self:
        """Puts a value together again, without checks: JAX may fill in anything."""
        del auxiliary
        new = object.__new__(cls)
        for field, value in zip(dataclasses.fields(cls), children, strict=True):  # pyright: ignore[reportArgumentType]
            object.__setattr__(new, field.name, value)
        return new
