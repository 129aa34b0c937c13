"""Layers whose parameters and numbers must never change: how each is built, and the shape of its input.

They are made of public names only, so that the same file builds them at any commit. Append, never change.

Most kernels are drawn by ``pool``, which cuts them from one vector: what a layer decides (which key, the shape it asks for, which
entries it keeps and how it scales them) shows in every number, and nothing is compiled for each shape. The cases named "default
initialiser" and those without a ``kernel_init`` draw as users do.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej
from equijax.graphs import HeteroGraph
from equijax.reps import PermutationRepresentation, Quotient, Regular, Scalar
from tests.helpers import AS_USERS_COMPILE
from tests.nn.graphs.cases import CASES as GRAPH_CASES
from tests.nn.graphs.cases import world

CUBE, LINE = ej.SpaceGroup(ej.Octahedral()), ej.SpaceGroup(ej.Reflection(1))
GROUPS = {
    "Z1": ej.Translation(1),
    "Z2": ej.Translation(2),
    "line": LINE,
    "cube": CUBE,
    **{name: ej.wallpaper(name) for name in ("p1", "p2", "pmm", "p4", "p4m", "p3m1", "p6")},
}
P4, P4M, P6 = GROUPS["p4"], GROUPS["p4m"], GROUPS["p6"]
D3 = ej.Dihedral(3)
S4 = ej.FiniteGroup.from_permutations([[1, 2, 3, 0], [1, 0, 2, 3]])
QUATERNIONS = ej.FiniteGroup.from_permutations([[1, 2, 3, 0, 5, 6, 7, 4], [4, 7, 6, 5, 2, 1, 0, 3]])
LETTERS = PermutationRepresentation(LINE.point_group, [[0, 1, 2, 3], [3, 2, 1, 0]])
nn = ej.nn


def pool(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32, out_sharding: Any = None) -> jax.Array:
    """An initialiser: the first numbers of 8192 normal ones, so that one program draws for every shape."""
    return jax.random.normal(key, (8192,), dtype)[: math.prod(shape)].reshape(shape)


POOL = {"kernel_init": pool, "bias_init": pool}


def _keep(layer: Any, x: Any) -> Any:
    return layer(x)


@dataclasses.dataclass(frozen=True)
class Golden:
    """A layer: ``build(param_dtype=, rngs=)``; the shape of its input, or a function that makes one; how it is called."""

    name: str
    build: Callable[..., Any]
    shape: Any
    call: Callable[[Any, Any], Any] = _keep

    def layer(self, dtype: Any, seed: int = 0) -> Any:
        """The layer with parameters of this dtype as ``nnx.Rngs(seed)`` draws them."""
        return self.build(param_dtype=dtype, rngs=nnx.Rngs(seed))

    def input(self, dtype: Any) -> Any:
        """The input: normal numbers of numpy, in this dtype."""
        if callable(self.shape):
            return self.shape(dtype)
        return jnp.asarray(np.random.default_rng(len(self.name)).normal(size=self.shape), dtype)


def named(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by their path."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.flatten_with_path(tree)[0]}


@functools.cache
def described(case: Golden, dtype: Any) -> Any:
    """The definition of a layer and the shapes of its parameters."""
    return nnx.split(nnx.eval_shape(lambda: case.layer(dtype)))


def outputs(family: list[Golden], dtype: Any, states: list[Any], inputs: list[Any]) -> list[Any]:
    """What the layers of a family make of their inputs with these parameters, in one compiled program."""
    layers = [described(case, dtype) for case in family]

    def run(states: list[Any], inputs: list[Any]) -> list[Any]:
        results = []
        for case, (definition, abstract), state, x in zip(family, layers, states, inputs, strict=True):
            abstract = jax.tree.map(lambda leaf: leaf, abstract)  # the variables are written into
            nnx.replace_by_pure_dict(abstract, state)
            results.append(case.call(nnx.merge(definition, abstract), x))
        return results

    # the emitter of the recording: the tests turn it off, and the last bit depends on it
    return jax.jit(run, compiler_options=AS_USERS_COMPILE)(states, inputs)


def _grid(
    kind: str, group: str, shape: tuple, *arguments: Any, fibres: str = "", features: tuple = (2, 3), **fixed: Any
) -> Golden:
    """A convolution with CIRCULAR padding, unless it says otherwise, and a bias that is not zero."""
    words = [kind, group, str(shape), *map(str, arguments), fibres]
    words += [f"{k}={v}" for k, v in fixed.items() if isinstance(v, (str, int))]
    given = {"padding": "CIRCULAR", "group": GROUPS[group]} | POOL | fixed
    return Golden(" ".join(filter(None, words)), lambda **o: getattr(nn, kind)(*features, *arguments, **(given | o)), shape)


def _linear(name: str, in_action: Any, out_action: Any, shape: tuple) -> Golden:
    def build(**o: Any) -> Any:
        with jax.ensure_compile_time_eval():  # the orbits are computed with arrays, also where the layer is traced
            sharing = ej.sharing.LinearSharing(in_action, out_action)
            _ = sharing.orbits, sharing.out_orbits
        return nn.EquivariantLinear(in_action, out_action, 2, 3, **POOL, **o)

    return Golden(f"EquivariantLinear {name}", build, shape)


def _tensors(in_order: int, out_order: int, **more: Any) -> Golden:
    name = " ".join([f"PermutationEquivariantLinear {in_order} to {out_order}", *map(str, more.values())])
    build = lambda **o: nn.PermutationEquivariantLinear(in_order, out_order, 2, 3, **(POOL | more | o))  # noqa: E731
    return Golden(name, build, (*(4,) * in_order, 2))


def _sets(kind: str, *arguments: Any, shape: tuple = (5, 2), **fixed: Any) -> Golden:
    name = " ".join([kind, *map(str, arguments), *(f"{k}={v}" for k, v in fixed.items() if isinstance(v, (str, int)))])
    return Golden(name, lambda **o: getattr(nn, kind)(*arguments, **(POOL | fixed | o)), shape)


def _fixed(name: str, layer: Callable[[], Any], shape: Any, call: Callable[[Any, Any], Any] = _keep) -> Golden:
    """A layer without parameters."""
    return Golden(name, lambda **_: layer(), shape, call)


def _mlp(inputs: int, outputs: int, **o: Any) -> nnx.Sequential:
    return nnx.Sequential(nnx.Linear(inputs, 3, **o), jax.nn.relu, nnx.Linear(3, outputs, **o))


def _quotient(group: Any, *elements: int) -> Quotient:
    return Quotient(group.point_group.subgroup(elements))


def _reg(group: Any) -> Regular:
    return Regular(group.point_group)


def _chain(**o: Any) -> Any:
    lift, conv = nn.LiftingConv(1, 2, 3, group=P4M, **o), nn.GroupConv(2, 2, 3, group=P4M, **o)
    norm = nn.GroupNorm(2, 2, group=P4M, **o)
    return nn.Sequential(
        lift, norm, jax.nn.relu, nn.MaxPool(2, 2, group=P4M), conv, nn.GlobalPool(group=P4M), nnx.Linear(2, 3, **o)
    )


def _polyphase(**o: Any) -> Any:
    score = nn.PhaseScore(3, 4, (3, 3), **o)
    return nn.PolyphaseConv(2, 3, (3, 3), 2, score=score, **o)


def _down_up(layer: Any, x: jax.Array) -> jax.Array:
    return layer(*nn.PolyphaseDownsample(2, group=P4).with_choice(x))


def _pair(pairs: jax.Array) -> jax.Array:
    return pairs[..., 0, :] - pairs[..., 1, :] ** 2


def _graph(*reads: str) -> Callable[[Any], Any]:
    """The world of the graph layers in another dtype."""

    def make(dtype: Any) -> Any:
        cast = lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf  # noqa: E731
        return jax.tree.map(cast, world(reads))

    return make


def _types(dtype: Any) -> HeteroGraph:
    random = np.random.default_rng(0)
    return HeteroGraph(
        {"user": jnp.asarray(random.normal(size=(4, 2)), dtype), "film": jnp.asarray(random.normal(size=(3, 2)), dtype)},
        {("user", "saw", "film"): ([0, 1, 1, 2], [0, 0, 2, 1]), ("user", "knows", "user"): ([0, 1, 3], [1, 2, 0])},
    )


def _hetero(**o: Any) -> Any:
    relations = {
        ("user", "saw", "film"): nn.GINConv(_mlp(2, 3, **o)),
        ("user", "knows", "user"): nn.SAGEConv(2, 3, **o),
    }
    return nn.Sequential(nn.HeteroConv(relations), nn.HeteroMap({"user": nnx.Linear(3, 2, **o)}))


def _norm_features(layer: Any, x: jax.Array) -> jax.Array:
    return layer(x * 3 + 1)


GRIDS = [
    # Convolutions: groups, odd and even windows, strides, paddings, fibres, feature groups, biases with several orbits.
    _grid("Conv", "Z1", (7, 2), 3, padding="SAME"),
    _grid("Conv", "Z2", (6, 5, 2), (3, 2), padding="SAME"),
    _grid("Conv", "Z2", (6, 5, 2), (3, 3), 2, kernel_dilation=2),
    _grid("Conv", "Z2", (5, 5, 4), (3, 3), features=(4, 6), feature_group_count=2, padding="VALID"),
    _grid("Conv", "p1", (5, 4, 1, 2), 3, fibres="regular to regular", in_fibre=_reg(GROUPS["p1"]), out_fibre=_reg(GROUPS["p1"])),
    _grid("Conv", "p4", (5, 5, 2), 3, padding="SAME"),
    _grid("Conv", "p4m", (5, 5, 2), 5),
    _grid("Conv", "p4m", (6, 6, 2), 4, 2),
    _grid("Conv", "p2", (4, 5, 2), (2, 3)),
    _grid("Conv", "pmm", (4, 6, 2), (1, 4), use_bias=False),
    _grid("LiftingConv", "line", (6, 2), 4),
    _grid("LiftingConv", "line", (7, 4, 2), 3, fibres="letters", in_fibre=LETTERS),
    _grid("LiftingConv", "p4", (5, 5, 2), 3),
    _grid("LiftingConv", "p4m", (6, 6, 2), 2, 2),
    _grid("LiftingConv", "p6", (5, 5, 2), 3),
    _grid("LiftingConv", "cube", (3, 3, 3, 1), 3, features=(1, 2)),
    _grid("GroupConv", "p4", (5, 5, 4, 2), 3),
    _grid("GroupConv", "p4", (4, 4, 4, 2), 2, 2),
    _grid("GroupConv", "p4", (5, 5, 4, 2), 3, features=(2, 4), feature_group_count=2),
    _grid("GroupConv", "p4m", (5, 5, 8, 2), 3),
    _grid("GroupConv", "p3m1", (4, 4, 6, 2), 3),
    _grid("GroupConv", "cube", (2, 2, 2, 24, 1), 1, features=(1, 2)),
    _grid("ProjectionConv", "p4", (5, 5, 4, 2), 3),
    _grid("ProjectionConv", "p4m", (4, 4, 8, 2), 2),
    _grid("Conv", "p4m", (5, 5, 4, 2), 3, fibres="quotient 4 to quotient 5", in_fibre=_quotient(P4M, 4), out_fibre=_quotient(P4M, 5)),
    _grid("Conv", "p4m", (4, 4, 4, 2), 2, fibres="quotient 4 to regular", in_fibre=_quotient(P4M, 4), out_fibre=_reg(P4M)),
    _grid("Conv", "p4", (4, 4, 6, 2), 3, fibres="regular + quotient 2 to scalar + regular", in_fibre=_reg(P4) + _quotient(P4, 2), out_fibre=Scalar(P4.point_group) + _reg(P4)),
    _grid("Conv", "p4", (4, 4, 4, 2), 3, fibres="regular to regular + quotient 2", in_fibre=_reg(P4), out_fibre=_reg(P4) + _quotient(P4, 2), features=(2, 4),
          feature_group_count=2),
    *(Golden(f"{kind} {name}", lambda kind=kind, group=group, more=more, **o: getattr(nn, kind)(
        2, 3, (), group=group, **(POOL | more | o)), shape) for kind, name, group, shape, more in [
        ("GroupConv", "quaternions", QUATERNIONS, (8, 2), {}),
        ("GroupConv", "D3", D3, (6, 2), {}),
        ("GroupConv", "S4", S4, (24, 2), {}),
        ("ProjectionConv", "D3", D3, (6, 2), {}),
        ("LiftingConv", "quotient of D3", D3, (3, 2), {"in_fibre": Quotient(D3.subgroup([3]))}),
        ("Conv", "D3 to two orbits", D3, (6, 2),
         {"in_fibre": Regular(D3), "out_fibre": Regular(D3) + Quotient(D3.subgroup([3]))}),
    ]),
    _grid("ConvTranspose", "Z2", (3, 4, 2), (3, 3), 2, padding="SAME"),
    _grid("ConvTranspose", "p4", (3, 3, 4, 2), 4, 2, fibres="regular to regular", in_fibre=_reg(P4), out_fibre=_reg(P4)),
    _grid("ConvTranspose", "p4m", (3, 3, 2), 3, 2),
    _grid("ConvTranspose", "p4", (3, 3, 4, 2), 3, 1, fibres="regular to quotient 2 + regular", in_fibre=_reg(P4), out_fibre=_quotient(P4, 2) + _reg(P4)),
    Golden("CentredConv p4", lambda **o: nn.CentredConv(2, 3, 3, 2, group=P4, **POOL, **o), (6, 6, 2)),
    Golden("CentredConv p4m regular", lambda **o: nn.CentredConv(
        1, 2, 2, 2, group=P4M, in_fibre=_reg(P4M), out_fibre=_reg(P4M), **POOL, **o), (5, 5, 8, 1)),
    Golden("PolyphaseConv", lambda **o: nn.PolyphaseConv(2, 3, (3, 3), 2, **POOL, **o), (6, 4, 2)),
    Golden("PolyphaseConv p4 regular", lambda **o: nn.PolyphaseConv(
        2, 2, 3, 2, group=P4, in_fibre=_reg(P4), out_fibre=_reg(P4), **POOL, **o), (6, 6, 4, 2)),
    Golden("PolyphaseConv with PhaseScore", _polyphase, (4, 6, 2)),
    *(Golden(f"{kind} {name} default initialiser", lambda kind=kind, group=group, **o: getattr(nn, kind)(
        2, 3, 3, group=group, padding="CIRCULAR", **o), shape) for kind, name, group, shape in [
        ("Conv", "Z2", GROUPS["Z2"], (5, 4, 2)),
        ("LiftingConv", "p4", P4, (5, 5, 2)),
        ("GroupConv", "p4m", P4M, (5, 5, 8, 2)),
        ("ConvTranspose", "p4m", P4M, (3, 3, 2)),
    ]),
    Golden("EquivariantLinear set default initialiser",
           lambda **o: nn.EquivariantLinear(ej.SetAction(5), ej.SetAction(5), 2, 3, **o), (5, 2)),
    Golden("SetLinear default initialiser", lambda **o: nn.SetLinear(2, 3, **o), (5, 2)),
]  # fmt: skip
LINEAR = [
    # EquivariantLinear: every kind of action that is finite.
    _linear("torus p4 regular", ej.GridAction(P4, _reg(P4)).on((3, 3)), ej.GridAction(P4, _reg(P4)).on((3, 3)), (3, 3, 4, 2)),
    _linear("torus p4m scalar to quotient", ej.GridAction(P4M).on((2, 2)), ej.GridAction(P4M, _quotient(P4M, 4)).on((2, 2)),
            (2, 2, 2)),
    _linear("hexagonal torus", ej.GridAction(P6).on((3, 3)), ej.GridAction(P6).on((3, 3)), (3, 3, 2)),
    _linear("set", ej.SetAction(5), ej.SetAction(5), (5, 2)),
    _linear("pairs to set", ej.TensorAction(4, 2), ej.SetAction(4), (4, 4, 2)),
    _linear("pairs to pairs", ej.TensorAction(4, 2), ej.TensorAction(4, 2), (4, 4, 2)),
    _linear("set of sets", ej.ProductAction(ej.SetAction(3), ej.SetAction(2)), ej.ProductAction(ej.SetAction(3), ej.SetAction(2)),
            (3, 2, 2)),
    # Tensors and sets.
    *(_tensors(i, o) for i in range(3) for o in range(3) if i or not o),
    _tensors(2, 2, normalization="sum"),
    _tensors(3, 1),
    _sets("MatrixProductBlock", 2, 3, shape=(4, 4, 2)),
    _sets("SetLinear", 2, 3),
    _sets("SetLinear", 2, 3, aggregation="sum", tied=True),
    _sets("SetLinear", 2, 3, aggregation="max"),
    _sets("ExchangeableLinear", 2, 3, shape=(3, 4, 2)),
    _sets("HierarchicalSetLinear", 2, 3, shape=(3, 4, 2)),
    _sets("SetConv", 2, 3, 3, group=P4, in_fibre=_reg(P4), out_fibre=_reg(P4), shape=(3, 4, 4, 4, 2), padding="CIRCULAR"),
    _sets("SetConv", 2, 3, (3,), shape=(3, 5, 2)),
    Golden("MapElements", lambda **o: nn.MapElements(nn.GroupNorm(2, 1, group=P4, **o)), (3, 4, 4, 4, 2), _norm_features),
    _sets("SetAttentionBlock", 4, 2, shape=(5, 4)),
    _sets("InducedSetAttentionBlock", 4, 3, 2, shape=(5, 4)),
    _sets("AttentionPool", 4, 2, 2, shape=(5, 4)),
    Golden("MultiheadAttentionBlock", lambda **o: nn.MultiheadAttentionBlock(4, 2, hidden_features=3, **o), (5, 4),
           lambda layer, x: layer(x, x[1:] ** 2)),
    Golden("DeepSet", lambda **o: nn.DeepSet(_mlp(2, 3, **o), nnx.Linear(3, 2, **o)), (5, 2)),
    Golden("JanossyPool recurrent", lambda **o: nn.JanossyPool(nn.RecurrentAggregation(2, 3, **o), arity=2), (4, 2)),
    _fixed("JanossyPool", lambda: nn.JanossyPool(_pair, arity=2), (4, 2)),
    _fixed("SetPool", lambda: nn.SetPool(("mean", "logsumexp", "std", "max", "median")), (5, 2)),
    Golden("RecurrentAggregation", lambda **o: nn.RecurrentAggregation(2, 3, **o), (5, 2)),
]  # fmt: skip
OTHERS = [
    # Norms, pools, sampling, chains.
    Golden("GroupNorm p4", lambda **o: nn.GroupNorm(4, 2, group=P4, **o), (3, 3, 4, 4), _norm_features),
    Golden("GroupNorm p4m quotient", lambda **o: nn.GroupNorm(2, 1, group=P4M, in_fibre=_quotient(P4M, 4), **o), (3, 3, 4, 2),
           _norm_features),
    Golden("GroupNorm D3", lambda **o: nn.GroupNorm(2, 2, group=D3, **o), (6, 2), _norm_features),
    Golden("Sequential p4m", _chain, (6, 6, 1)),
    _fixed("FibrePool max", lambda: nn.FibrePool(group=P4), (3, 3, 4, 2)),
    _fixed("FibrePool mean of quaternions", lambda: nn.FibrePool("mean", group=QUATERNIONS), (8, 2)),
    _fixed("CosetPool", lambda: nn.CosetPool(P4M.point_group.subgroup([4]), group=P4M), (3, 3, 8, 2)),
    _fixed("GlobalPool", lambda: nn.GlobalPool(group=P6), (3, 3, 6, 2)),
    _fixed("MaxPool", lambda: nn.MaxPool(2, 2, group=P4M), (4, 4, 8, 2)),
    _fixed("AvgPool", lambda: nn.AvgPool(3, 1, "SAME", group=P4, count_include_pad=False), (5, 5, 4, 2)),
    _fixed("AvgPool hexagonal", lambda: nn.AvgPool(3, 2, "CIRCULAR", group=P6), (4, 4, 6, 2)),
    _fixed("Restrict quotient", lambda: nn.Restrict(P4M.point_group.subgroup([2, 4]), group=P4M, in_fibre=_quotient(P4M, 4)),
           (3, 3, 4, 2)),
    _fixed("BlurPool", lambda: nn.BlurPool(4, 2, group=P4), (6, 6, 4, 2)),
    _fixed("CentredPool", lambda: nn.CentredPool(3, 2, group=P4), (6, 6, 4, 2)),
    _fixed("FourierDownsample", lambda: nn.FourierDownsample((3, 2)), (6, 4, 2)),
    _fixed("PolyphaseDownsample", lambda: nn.PolyphaseDownsample((3, 2)), (6, 4, 2)),
    _fixed("PolyphaseMaxPool", lambda: nn.PolyphaseMaxPool(2, group=P4), (6, 6, 2)),
    _fixed("PolyphaseUpsample", lambda: nn.PolyphaseUpsample(2, group=P4), (4, 4, 2), _down_up),
    Golden("FilteredActivation", lambda **o: nn.FilteredActivation(2, 2, param_dtype=o["param_dtype"]), (4, 6, 2)),
    Golden("Symmetrize", lambda **o: nn.Symmetrize(
        nnx.Linear(2, 2, **o), D3, *(ej.FibreAction(Regular(D3)),) * 2, elements=np.arange(6, dtype=np.int32)), (6, 2)),
]  # fmt: skip
GRAPHS = [
    *(Golden(f"graphs: {case.name}", case.build, _graph(*case.reads)) for case in GRAPH_CASES),
    Golden("graphs: GATv2Conv shared", lambda **o: nn.GATv2Conv(4, 4, 2, share_weights=True, **o), _graph()),
    Golden("graphs: SAGEConv max", lambda **o: nn.SAGEConv(4, 3, aggregation="max", **o), _graph()),
    Golden("graphs: EGNN with everything", lambda **o: nn.EGNN(4, 4, edge_features=3, attention=True, normalize=True, tanh=True,
           aggregation="mean", **o), _graph("positions", "edges")),
    Golden("graphs: GraphNorm without mean scale", lambda **o: nn.GraphNorm(4, use_mean_scale=False, **o), _graph()),
    Golden("graphs: MapEdges", lambda **o: nn.MapEdges(nnx.Linear(3, 2, **o)), _graph("edges")),
    Golden("graphs: BasisNet", lambda **o: nn.BasisNet(4, 3, hidden_features=3, nodes_per_graph=4, **o), _graph(),
           lambda layer, g: layer(g, jnp.asarray([[0, 0, 1, 2]] * 5, jnp.int32))),
    Golden("graphs: HeteroConv and HeteroMap", _hetero, _types),
]  # fmt: skip
FAMILIES = {"grids": GRIDS, "linear": LINEAR, "others": OTHERS, "graphs": GRAPHS}
LAYERS = [layer for family in FAMILIES.values() for layer in family]
