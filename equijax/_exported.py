"""What programs that ``jax.export`` writes need: names of the pytrees that they take and return, and open sizes."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from jax import export

Kind = TypeVar("Kind", bound=type)


def exported(kind: Kind) -> Kind:
    """Registers a pytree, a dataclass without static data or a named tuple, so that exported programs take and return it.

    What is written is ``"equijax."`` with the name of the class, and the names of its fields, as JSON. So a program that was
    written before a field was added is read as if that field were None.
    """
    name = f"equijax.{kind.__name__}"
    if issubclass(kind, tuple):
        return export.register_namedtuple_serialization(kind, serialized_name=name)  # type: ignore[return-value]
    names = [field.name for field in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    return export.register_pytree_node_serialization(
        kind,
        serialized_name=name,
        serialize_auxdata=lambda static: json.dumps(names).encode(),
        deserialize_auxdata=lambda data: json.loads(bytes(data)),
        from_children=lambda aux_data, children: _put_together(kind, aux_data, children),
    )


def is_open(*sizes: Any) -> bool:
    """Tells whether one of these sizes is left open (symbolic), in a program that ``jax.export`` writes."""
    return any(export.is_symbolic_dim(size) for size in sizes)


def _put_together(kind: Any, given: Any, children: Sequence[Any]) -> Any:
    """Returns a value with these fields, without checks: JAX reads its structure alone."""
    found = dict(zip(given, children, strict=True))
    new = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(new, field.name, found.pop(field.name, None))
    if found:
        raise ValueError(
            f"`{kind.__name__}` of the exported program has a field {next(iter(found))!r}, which this version of equijax "
            "does not know. Read the program with the version that wrote it, or a later one."
        )
    return new
