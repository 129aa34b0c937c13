"""What belongs to each type of edges: a dictionary whose keys are tuples of words."""

import json
from typing import Any, Self

import jax
from jax import export


@jax.tree_util.register_pytree_with_keys_class
class Relations(dict):
    """A ``dict`` by ``(type of the senders, relation, type of the receivers)``, and a pytree in the order of its keys.

    It is a pytree of its own since programs that ``jax.export`` writes know dictionaries with strings as keys alone.
    """

    def tree_flatten_with_keys(self) -> tuple:
        """Lists the entries for JAX, in the order of their keys."""
        kinds = tuple(sorted(self))
        return [(jax.tree_util.DictKey(kind), self[kind]) for kind in kinds], kinds

    @classmethod
    def tree_unflatten(cls, kinds: Any, children: Any) -> Self:
        """Puts the dictionary together again."""
        return cls(zip(kinds, children, strict=True))


export.register_pytree_node_serialization(
    Relations,
    serialized_name="equijax.Relations",
    serialize_auxdata=lambda kinds: json.dumps(kinds).encode(),
    deserialize_auxdata=lambda data: tuple(map(tuple, json.loads(bytes(data)))),
)
