"""The reference page of a public folder, made from the names that its ``__init__`` re-exports.

``.. public-api:: equijax.groups`` documents every name that ``equijax/groups/__init__.py`` imports in the
form ``from x import Y as Y``: classes and functions through autodoc, constants through the ``#:`` comment or
the string at their definition. A public name without documentation stops the build, before any page is run.
"""

import ast
import functools
import importlib
import importlib.util
import inspect
from types import ModuleType
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

_MEMBERS = (property, functools.cached_property, classmethod, staticmethod)


class Public(NamedTuple):
    """A public name: the folder that exports it, the module it was imported from, and what it is."""

    folder: str
    origin: str
    name: str
    value: Any

    @property
    def kind(self) -> str:
        """Which directive describes it: class, function (also a jitted or cached one) or data."""
        if inspect.isclass(self.value) and self.value.__name__ == self.name:
            return "class"
        is_function = callable(self.value) and inspect.isroutine(inspect.unwrap(self.value))
        return "function" if is_function else "data"

    @property
    def at_home(self) -> bool:
        """False when the folder passes on what another public folder documents."""
        return self.origin.startswith(self.folder)


def public_names(folder: str) -> list[Public]:
    """The names that ``folder`` re-exports, in the order written; sub-modules are left out."""
    module = importlib.import_module(folder)
    found = []
    for statement in ast.parse(inspect.getsource(module)).body:
        if not isinstance(statement, ast.ImportFrom):
            continue
        origin = importlib.util.resolve_name("." * statement.level + (statement.module or ""), folder)
        for alias in statement.names:
            if alias.asname == alias.name and not alias.name.startswith("_"):
                value = getattr(module, alias.name)
                if not isinstance(value, ModuleType):
                    found.append(Public(folder, origin, alias.name, value))
    return found


def data_comment(entry: Public) -> list[str]:
    """The ``#:`` comment, or the string below it, that documents a constant."""
    return ModuleAnalyzer.for_module(entry.origin).find_attr_docs().get(("", entry.name), [])


def undocumented(entry: Public) -> list[str]:
    """What lacks documentation: the name itself, or public members of the class."""
    name = f"{entry.folder}.{entry.name}"
    if entry.kind == "data":
        return [] if data_comment(entry) else [f"{name} (a #: comment above it in {entry.origin})"]
    text = (entry.value.__doc__ or "").strip()
    if entry.kind == "function":
        return [] if text else [name]
    generated = text.startswith(f"{entry.name}(")  # by @dataclass
    missing = [] if text and not generated else [name]
    for member, value in vars(entry.value).items():
        public = member == "__call__" or not member.startswith("_")
        described = any(getattr(vars(base).get(member), "__doc__", None) for base in entry.value.__mro__)
        if public and not described and (inspect.isfunction(value) or isinstance(value, _MEMBERS)):
            missing.append(f"{name}.{member}")
    return missing


def check_all(app: Sphinx) -> None:
    """Stops the build when a public name of ``public_api_modules`` has no documentation."""
    missing = []
    for folder in app.config.public_api_modules:
        if not importlib.import_module(folder).__doc__:
            missing.append(f"{folder} (the docstring of its __init__)")
        for entry in public_names(folder):
            missing += undocumented(entry) if entry.at_home else []
    if missing:
        raise SphinxError("public, and without documentation:\n  " + "\n  ".join(missing))


def drop_self(app, what, name, obj, options, signature, returns):
    """Hides ``self`` in the signature of a layer, which Flax takes from ``__init__`` as it stands."""
    if what == "class" and signature and signature.startswith("(self"):
        return "(" + signature.removeprefix("(self").removeprefix(", "), returns


def public_bases(app: Sphinx, name: str, obj: type, options, bases: list) -> None:
    """Shows in place of a private base class the public ones behind it."""
    while any(base.__name__.startswith("_") for base in bases):
        bases[:] = [up for b in bases for up in (b.__bases__ if b.__name__.startswith("_") else (b,))]


def shorten_array(app: Sphinx, doctree: nodes.document) -> None:
    """Writes ``Array`` where jaxtyping repeats the private module of the class."""
    for text in list(doctree.findall(nodes.Text)):
        if "jaxlib._jax.Array" in text:
            text.parent.replace(text, nodes.Text(text.replace("jaxlib._jax.Array", "Array")))


class PublicApi(SphinxDirective):
    """The reference of one public folder: a summary table, then one entry a name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Writes reStructuredText for autodoc and lets Sphinx parse it."""
        folder = self.arguments[0]
        entries = public_names(folder)
        here = [entry for entry in entries if entry.at_home]
        lines = [f".. automodule:: {folder}", "", f".. currentmodule:: {folder}", ""]
        summary = [f"   {entry.name}" for entry in here if entry.kind != "data"]
        if summary:
            lines += [".. autosummary::", "   :nosignatures:", "", *summary, ""]
        for entry in here:
            if entry.kind == "data":
                lines += [f".. py:data:: {entry.name}", ""]
                lines += [f"   {line}" for line in data_comment(entry)]
            else:
                lines += [f".. auto{entry.kind}:: {entry.name}"]
            if entry.kind == "class":
                lines += ["   :members:", "   :special-members: __call__", "   :show-inheritance:"]
            lines.append("")
        guests = [f":py:obj:`{entry.origin}.{entry.name}`" for entry in entries if not entry.at_home]
        if guests:
            lines += [f"Also here: {', '.join(guests)}.", ""]
        self.env.note_dependency(inspect.getfile(importlib.import_module(folder)))
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive, the check and the cosmetics."""
    app.add_config_value("public_api_modules", [], "env")
    app.add_directive("public-api", PublicApi)
    app.connect("builder-inited", check_all)
    app.connect("autodoc-process-signature", drop_self)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("doctree-read", shorten_array)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
