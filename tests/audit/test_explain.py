"""What the audit takes, what it returns, and how it answers wrong use; blame itself is tested on planted faults."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.audit.networks import Chain
from tests.helpers import check_message, randn

GRID, TURNS = ej.GridAction(ej.Translation(2)), ej.GridAction(ej.wallpaper("p4"))
IMAGE = randn((4, 8, 8, 3))
DOUBLE = {"param_dtype": jnp.float64}


class Net(nnx.Module):
    """Two convolutions in a block, a global mean, a dense layer."""

    def __init__(self, padding="CIRCULAR", flat=False, seed=0):
        rngs = nnx.Rngs(seed)
        self.block = nnx.Sequential(
            nnx.Conv(3, 4, (3, 3), padding="CIRCULAR", rngs=rngs, **DOUBLE),
            jnp.tanh,
            nnx.Conv(4, 4, (3, 3), padding=padding, rngs=rngs, **DOUBLE),
        )
        self.head = nnx.Linear(256 if flat else 4, 2, rngs=rngs, **DOUBLE)
        self.flat = flat

    def __call__(self, x):
        x = jnp.tanh(self.block(x))
        return self.head(x.reshape(4, -1) if self.flat else (x**2).mean((1, 2)))


def test_rows_of_every_depth():
    found = ej.audit.explain(Net("SAME"), IMAGE, in_action=GRID)
    assert [row.path for row in found.accused] == ["block.layers.2"]
    assert found["block.layers.2"].causes[0].kind == "border" and found["block.layers.2"].border > 0.5
    assert found["block.layers.2"].error_map.shape == (8, 8) and found.error.shape == (2,)
    shallow = ej.audit.explain(Net("SAME"), IMAGE, in_action=GRID, depth=1)
    assert [row.path for row in shallow.accused] == ["block"]
    with pytest.raises(KeyError, match="rows are"):
        found["stem"]


def test_declared_actions_replace_guesses():
    found = ej.audit.explain(Net(), IMAGE, in_action=GRID, actions={"block": GRID, "head": ej.TrivialAction(GRID.group)})
    assert found.exact and "(declared)" in found["block.layers.2"].action_out


def test_lie_derivatives_add_up_and_blame_the_nonlinearities():
    found = ej.audit.explain(Net(), IMAGE, in_action=GRID, infinitesimal=True)
    assert found.exact and len(found.infinitesimal) == 2
    for one in found.infinitesimal:
        assert one.error > 1e-3 and abs(sum(one.shares) - 1) < 1e-9
        for row, local in zip(found.rows, one.local, strict=True):
            assert (local > 1e-3) == ("tanh" in row.name) == ("aliasing" in [c.kind for c in row.causes])


def test_lie_derivative_of_an_alias_free_network_is_rounding():
    class Linear(nnx.Module):
        def __init__(self):
            self.conv = nnx.Conv(3, 4, (3, 3), padding="CIRCULAR", rngs=nnx.Rngs(0), **DOUBLE)

        def __call__(self, x):
            return self.conv(x)

    found = ej.audit.explain(Linear(), IMAGE, in_action=GRID, infinitesimal=True)
    assert all(one.error < 1e-12 and one.shares == () for one in found.infinitesimal)


@dataclasses.dataclass(frozen=True)
class VectorField(ej.Action):
    """Pairs of features that turn with the grid."""

    pixels: ej.GridAction

    @property
    def group(self):
        return self.pixels.group

    def axes(self, ndim):
        return self.pixels.axes(ndim)

    def __call__(self, g, x):
        matrix = jnp.asarray(self.group.point_group.matrices)[g[1]]
        moved = self.pixels(g, x)
        return (moved.reshape(*x.shape[:-1], -1, 2) @ matrix.T).reshape(x.shape)


class Gradient(nnx.Module):
    """Central differences: a field of vectors."""

    def __call__(self, x):
        pair = [jnp.roll(x, -1, k) - jnp.roll(x, 1, k) for k in (1, 2)]
        return jnp.stack(pair, -1).reshape(*x.shape[:-1], -1)


class Pointwise(nnx.Module):
    def __call__(self, x):
        return nnx.relu(x)


class Squares(nnx.Module):
    def __call__(self, x):
        return (x.reshape(*x.shape[:-1], -1, 2) ** 2).sum(-1)


class VectorNet(nnx.Module):
    """Vectors, a pointwise nonlinearity (or none), their squares."""

    def __init__(self, broken):
        self.gradient, self.squares = Gradient(), Squares()
        self.act = Pointwise() if broken else None

    def __call__(self, x):
        x = self.gradient(x)
        return self.squares(x if self.act is None else self.act(x)).mean((1, 2))


@pytest.mark.parametrize("broken", [True, False])
def test_nonlinearity_on_a_fibre_that_is_not_permuted(broken):
    field = VectorField(TURNS)
    actions = {"gradient": field, "squares": TURNS} | ({"act": field} if broken else {})
    found = ej.audit.explain(VectorNet(broken), IMAGE, in_action=TURNS, actions=actions)
    assert [(row.name, [c.kind for c in row.causes]) for row in found.accused] == (
        [("act", ["nonlinearity"])] if broken else []
    )


SET = ej.SetAction(6)


@dataclasses.dataclass(frozen=True)
class MaskedSet(ej.Action):
    """Points with a mask that moves along."""

    @property
    def group(self):
        return SET.group

    def axes(self, ndim):
        raise NotImplementedError

    def __call__(self, g, x):
        return {"x": SET(g, x["x"]), "mask": SET(g, x["mask"][..., None])[..., 0]}


class MaskedMean(nnx.Module):
    def __init__(self, good):
        self.good = good

    def __call__(self, x):
        valid = x["mask"][..., None].astype(x["x"].dtype)
        if self.good:
            return (jnp.tanh(x["x"]) * valid).sum(1) / valid.sum(1)
        return jnp.tanh(x["x"]).mean(1)


@pytest.mark.parametrize("good", [True, False])
def test_masks_that_leak(good):
    mask = jnp.arange(6)[None] < jnp.asarray([4, 5, 2, 6])[:, None]
    found = ej.audit.explain(MaskedMean(good), {"x": randn((4, 6, 3)), "mask": mask}, in_action=MaskedSet())
    assert [[c.kind for c in row.causes] for row in found.accused] == ([] if good else [["mask"]])


class Remembering(nnx.Module):
    """Counts its calls and keeps a running mean."""

    def __init__(self):
        self.seen = nnx.Variable(jnp.zeros((), jnp.float64))
        self.conv = nnx.Conv(3, 2, (3, 3), padding="CIRCULAR", rngs=nnx.Rngs(0), **DOUBLE)

    def __call__(self, x):
        self.seen[...] = self.seen[...] + 1
        return self.conv(x)


def test_state_that_changes_is_named():
    found = ej.audit.explain(Remembering(), IMAGE, in_action=GRID)
    assert any("seen" in note for note in found.notes) and {c.kind for row in found.accused for c in row.causes} == {"state"}


class Scores(nnx.Module):
    """Mixes places in a way that no rule follows."""

    def __call__(self, x):
        return jnp.linalg.inv(jnp.eye(8)[None] + jnp.einsum("bijc,bkjc->bik", x, x)).reshape(4, -1)


class Branches(nnx.Module):
    def __call__(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"in_action": "p4"}, TypeError, ("`in_action`", "p4", "GridAction")),
        ({"group": ej.wallpaper("p4")}, ValueError, ("`group`", "Translation")),
        ({"out_action": GRID}, ValueError, ("`out_action`", "(4, 2)")),
        ({"out_action": ej.GridAction(ej.Translation(2), origin=0.5), "model": Net()}, ValueError, ("(4, 2)",)),
        ({"actions": {"stem": GRID}}, ValueError, ("`actions`", "stem", "block.layers.0")),
        ({"model": Scores()}, ValueError, ("`out_action`", "TrivialAction")),
        ({"model": Branches()}, ValueError, ("can't be traced", "lax.cond")),
        ({"model": jnp.tanh}, TypeError, ("`model`", "nnx.Module")),
        ({"elements": jnp.asarray([[0.5, 0.0]])}, TypeError, ("`elements`", "0.5", "integer vectors")),
        (
            {"in_action": TURNS, "elements": (jnp.zeros((1, 2), jnp.int32), jnp.asarray([9]))},
            ValueError,
            ("`elements`", "9", "0 … 3"),
        ),
        ({"x": randn((8, 3))}, ValueError, ("(8, 3)",)),
    ],
)
def test_wrong_use(change, error, words):
    arguments = {"model": Net(), "x": IMAGE, "in_action": GRID} | change
    model, x = arguments.pop("model"), arguments.pop("x")
    check_message(lambda: ej.audit.explain(model, x, **arguments), error, words)


def test_float32_floors():
    class Single(nnx.Module):
        def __init__(self):
            self.conv = nnx.Conv(3, 4, (3, 3), padding="CIRCULAR", rngs=nnx.Rngs(0))

        def __call__(self, x):
            return jnp.tanh(self.conv(x)).mean((1, 2))

    found = ej.audit.explain(Single(), IMAGE.astype(jnp.float32), in_action=GRID)
    assert found.exact and 1e-8 < found.floor < 1e-5


def test_samples_enter_the_error_of_the_shares():
    net = Net("SAME")
    one = ej.audit.explain(net, IMAGE[:1], in_action=GRID, perturb=False)
    assert all(row.share_error is None for row in one.rows)
    found = ej.audit.explain(Net("SAME"), IMAGE, in_action=TURNS, perturb=False)
    assert all(row.share_error is not None for row in found.rows)
    assert np.isclose(sum(row.share for row in found.rows), 1, atol=1e-9) and found.cancellation >= 1


def test_constant_output_has_no_error_and_is_not_judged():
    class Constant(nnx.Module):
        def __call__(self, x):
            return jax.nn.relu(-jnp.abs(x)).sum((1, 2))

    found = ej.audit.explain(Constant(), IMAGE, in_action=GRID)
    assert not found.error.any() and not found.accused
    assert found.judgement == "not judged" and not found.exact


class Tie(nnx.Module):
    """Chooses between two sums that differ by rounding only."""

    def __call__(self, x):
        scores = jnp.stack([x.mean((1, 2, 3)), jnp.transpose(x, (0, 2, 1, 3)).sum((1, 2, 3)) / np.float64(192)], -1)
        first = jnp.argmax(scores, -1) == 0
        return jnp.where(first[:, None], x.mean((1, 2)), x.max((1, 2)))


def test_near_ties_are_named():
    found = ej.audit.explain(Tie(), randn((32, 8, 8, 3)), in_action=GRID)
    assert "tie" in {cause.kind for row in found.accused for cause in row.causes}


@pytest.mark.parametrize("group", [ej.Translation(2), ej.wallpaper("p4")], ids=repr)
def test_elements_that_map_coarse_samples_to_samples(group):
    """On every fourth pixel shifts by 4 are tried, and a quarter turn with the shift that it needs."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)))
    kernel = ej.nn.Conv(3, 4, (3, 3), group=group, padding="CIRCULAR", param_dtype=float, rngs=nnx.Rngs(0))
    report = ej.audit.explain(Chain("a", jnp.tanh, a=kernel), x, in_action=ej.GridAction(group, spacing=4))
    report.assert_exact()
    turns = [label for label in report.elements if "turn" in label]
    assert len(turns) >= group.point_group.order // 4 and "shift (4, 0)" in report.elements


@pytest.mark.parametrize("make", [nnx.ConvTranspose, ej.nn.ConvTranspose], ids=["flax", "equijax"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_transposed_convolutions_see_the_border_where_they_overlap_it(make, size):
    """Circular ones don't; zero-padded ones do if the windows of a sample overlap those of its neighbours."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)))
    action = ej.GridAction(ej.Translation(2))
    for padding in ("CIRCULAR", "SAME"):
        up = make(3, 4, (size, size), strides=(2, 2), padding=padding, param_dtype=float, rngs=nnx.Rngs(0))
        model = Chain("up", jnp.tanh, up=up)
        report, read = (
            ej.audit.explain(model, x, in_action=action),
            ej.audit.static(model, x.shape, in_action=action, dtype=float),
        )
        exact = padding == "CIRCULAR" or size == 2
        assert report.exact == read.exact == exact, str(report)
        assert exact or {cause.kind for row in report.accused for cause in row.causes} == {"border"}


@pytest.mark.parametrize("low", [-jnp.inf, -1e38], ids=["infinite", "very large"])
def test_outputs_that_hold_infinities_have_errors_too(low):
    """Masked logits: the mask does not move, and what is masked hides nothing of the rest."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 3)))
    mask = jnp.arange(8)[None, :, None] < 5
    report = ej.audit.explain(Chain(lambda y: jnp.where(mask, y, low)), x, in_action=ej.GridAction(ej.Translation(1)))
    assert 0.1 < report.error.max() < 10 and report.judgement == "broken"
    assert abs(sum(row.share for row in report.rows) - 1) <= 1e-6
