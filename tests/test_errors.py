"""Bad input raises an error that quotes the call and the value."""

# Wrong types are what is tested here.
# pyright: reportArgumentType=false

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import pytest

import warp_jax as wj

from .helpers import make_model


KEY = jr.key(0)
XS = jr.normal(KEY, (6, 2))
NAN = XS.at[3, 1].set(jnp.nan)


def low_rank(**given):
    return wj.LowRankTransition(
        **({"state_size": 5, "input_size": 2, "rank": 2} | given), key=KEY
    )


def fit(**given):
    loss = lambda model, batch, key: jnp.sum(model["w"] * batch)  # noqa: E731
    options = {"steps": 2, "key": KEY, "report": None} | given
    batches = options.pop("batches", [jnp.ones(2)])
    import optax

    return wj.fit({"w": jnp.ones(2)}, loss, batches, optax.sgd(1.0), **options)


BAD = {
    "a batch": (lambda m: m(XS[None]), ValueError, "(1, 6, 2)"),
    "one step without an axis": (lambda m: m(XS[0]), ValueError, "(2,)"),
    "no steps": (lambda m: m(XS[:0]), ValueError, "(0, 2)"),
    "integers": (lambda m: m(jnp.ones((6, 2), int)), TypeError, "int"),
    "a list": (lambda m: m([[0.0, 1.0]]), TypeError, "list"),
    "too many channels": (lambda m: m(jnp.ones((6, 3))), ValueError, "3 channels"),
    "NaN": (lambda m: m(NAN), ValueError, "nan at index (3, 1)"),
    "times too few": (lambda m: m(XS, jnp.arange(5.0)), ValueError, "(5,)"),
    "times that decrease": (
        lambda m: m(XS, -jnp.arange(6.0)),
        ValueError,
        "before -1.0",
    ),
    "queries too few": (lambda m: m(XS, queries=jnp.ones(5)), ValueError, "(5,)"),
    "a mask of numbers": (lambda m: m(XS, mask=jnp.ones(6)), TypeError, "float32"),
    "an empty mask": (
        lambda m: m(XS, mask=jnp.zeros(6, bool)),
        ValueError,
        "valid step",
    ),
    "a short mask": (lambda m: m(XS, mask=jnp.ones(5, bool)), ValueError, "(5,)"),
    "a state without times": (lambda m: m(XS, state=m.init(XS[0])), ValueError, "ts"),
    "a step of another size": (
        lambda m: m.step(m.init(XS[0]), jnp.ones(3), 1.0),
        ValueError,
        "(3,)",
    ),
    "a step back": (
        lambda m: m.step(m.init(XS[0], 1.0), XS[1], 0.5),
        ValueError,
        "before 0.5",
    ),
    "no horizon": (lambda m: wj.forecast(m, XS, 0), ValueError, "horizon=0"),
    "half a horizon": (lambda m: wj.forecast(m, XS, 1.5), TypeError, "1.5"),
    "forecast times too few": (
        lambda m: wj.forecast(m, XS, 2, jnp.ones(7)),
        ValueError,
        "(7,)",
    ),
    "forcing above one": (
        lambda m: wj.unroll(m, XS, forcing=1.5, key=KEY),
        ValueError,
        "1.5",
    ),
    "forcing without a key": (
        lambda m: wj.unroll(m, XS, forcing=0.5),
        ValueError,
        "key=None",
    ),
    "one step to unroll": (
        lambda m: wj.unroll(m, XS[:1], key=KEY),
        ValueError,
        "(1, 2)",
    ),
    "a rank above the state": (lambda m: low_rank(rank=6), ValueError, "rank=6"),
    "no rank": (lambda m: low_rank(rank=0), ValueError, "rank=0"),
    "a negative state": (
        lambda m: wj.DenseTransition(-1, 2),
        ValueError,
        "state_size=-1",
    ),
    "a block above the state": (
        lambda m: wj.BlockDiagonalTransition(3, 2, 4),
        ValueError,
        "block_size=4",
    ),
    "sizes that differ": (
        lambda m: wj.WARP(decoder=m.decoder, transition=low_rank(), initial=m.initial),
        ValueError,
        "5 from the transition",
    ),
    "an odd Gaussian": (
        lambda m: wj.GaussianDecoder(wj.NetworkDecoder(eqx.nn.Linear(1, 3, key=KEY))),
        ValueError,
        "out_size=3",
    ),
    "odd waves": (lambda m: wj.SinusoidalCoordinates(3), ValueError, "size=3"),
    "a negative limit": (
        lambda m: wj.SequentialRoll(limit=-1.0),
        ValueError,
        "limit=-1.0",
    ),
    "shapes that differ": (lambda m: wj.mse(XS, XS[:1]), ValueError, "(1, 2)"),
    "a label outside": (lambda m: wj.cross_entropy(XS[0], 2), ValueError, "label=2"),
    "a fractional label": (
        lambda m: wj.cross_entropy(XS[0], 1.0),
        TypeError,
        "float32",
    ),
    "a batch too large": (lambda m: wj.Batches(XS, 7, key=KEY), ValueError, "size=7"),
    "no steps to fit": (lambda m: fit(steps=0), ValueError, "steps=0"),
    "batches that run out": (
        lambda m: fit(batches=iter([jnp.ones(2)])),
        ValueError,
        "after 1",
    ),
    "a loss of NaN": (
        lambda m: fit(batches=[jnp.full(2, jnp.nan)]),
        FloatingPointError,
        "step 0",
    ),
    "patience without a judge": (lambda m: fit(patience=2), ValueError, "patience=2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_plain_words(case, request):
    if request.config.getoption("--typecheck"):
        pytest.skip("the annotations' own errors come first")
    act, kind, fragment = BAD[case]
    with pytest.raises(kind) as caught:
        act(make_model())
    assert "`" in str(caught.value)
    assert fragment in str(caught.value)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "foreign"
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="did not write"):
        wj.load(path, make_model())


def test_values_are_checked_inside_jit():
    with pytest.raises(eqx.EquinoxRuntimeError, match="NaN or infinite"):
        eqx.filter_jit(lambda m, xs: m(xs))(make_model(), NAN)
