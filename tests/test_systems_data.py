"""The dynamical systems that are made, and the measured ones that are read."""

import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import logm

from experiments._data import (
    cheetah,
    load_cheetah,
    load_silverbox,
    lorenz,
    lotka_volterra,
    make_lorenz,
    make_lotka_volterra,
    make_msd,
    make_msd_zero,
    msd,
    silverbox,
)
from experiments._data.made import cached, integrate, Sizes


DATA = pathlib.Path(
    os.environ.get("WARP_JAX_DATA")
    or pathlib.Path(__file__).parents[2] / "shared" / "data"
)
SMALL = Sizes(12, 4, 40)


def real(name):
    return pytest.mark.skipif(
        not (DATA / name).is_file(), reason=f"needs real data in {DATA / name}"
    )


def test_the_closed_form_solves_the_equation():
    # Swinging, creeping, and exactly between the two.
    constants = np.array([[0.03, 10, 0.05], [0.01, 2, 0.3], [0.04, 4, 0.8]])
    starts = np.array([[1.0, 0.0], [0.7, -0.4], [1.2, 0.3]])
    times = np.linspace(0, 1, 40)

    def field(place, constants):
        (x, v), (m, k, c) = place, constants
        return jnp.stack([v, -(k * x + c * v) / m])

    exact = msd.solve(constants, starts, times)
    solved = integrate(field, starts, constants, times)
    assert solved.dtype == np.float64
    np.testing.assert_allclose(exact, solved, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(exact[:, 0], starts)


def every(data):
    """Returns all four parts of a data set."""
    assert data.in_range is not None and data.scale is not None
    return (*data.parts, data.in_range)


def law(xs):
    """Returns stiffness and damping by mass, identified from one trajectory."""
    step = np.linalg.lstsq(xs[:-1], xs[1:], rcond=None)[0].T
    generator = np.real(logm(step)) * (len(xs) - 1)
    return -generator[1]


@pytest.mark.parametrize("make, spread", ((make_msd, 0.0), (make_msd_zero, 0.5)))
def test_oscillators_are_within_their_ranges(make, spread):
    data = make(SMALL)
    assert [len(part.xs) for part in every(data)] == [12, 4, 40, 40]
    found = {}
    for name in ("train", "in_range", "test"):
        xs = getattr(data, name).xs.astype(np.float64) * data.scale
        assert np.all(np.abs(xs[:, 0] - [1, 0]) <= spread + 1e-6)
        found[name] = np.array([law(x) for x in xs])
    for name, ranges in (
        ("train", msd.RANGES),
        ("in_range", msd.RANGES),
        ("test", msd.OUTSIDE),
    ):
        (light, heavy), stiffness, damping = ranges
        low = np.array([stiffness[0], damping[0]]) / heavy
        high = np.array([stiffness[1], damping[1]]) / light
        assert np.all(found[name] > 0.98 * low) and np.all(found[name] < 1.02 * high)
    narrow, wide = (np.array([r[1] for r in s]) for s in (msd.RANGES, msd.OUTSIDE))
    assert np.all(wide > narrow)
    assert np.ptp(found["test"][:, 0]) > np.ptp(found["in_range"][:, 0])
    # The size of one part changes no other.
    other = make(SMALL._replace(train=5))
    np.testing.assert_array_equal(other.test.xs, data.test.xs)
    assert len(other.train.xs) == 5


@pytest.mark.slow
def test_pieces_of_lotka_volterra_repeat_after_their_rest(tmp_path):
    data = make_lotka_volterra(SMALL, tmp_path)
    pooled = np.concatenate([part.xs for part in every(data)])
    contexts = [np.asarray(part.context) for part in every(data)]
    for xs, context in zip(pooled, np.concatenate(contexts)):
        assert 32 <= context < 64
        period = context + 50
        assert not np.any(xs[context:period])
        np.testing.assert_array_equal(xs[period:], xs[:-period])
    train = [xs[:n] for xs, n in zip(data.train.xs, contexts[0])]
    assert np.concatenate(train).min() == -1
    # Along a trajectory c x - d log x + b y - a log y stays what it is: four unknowns.
    low = np.full(2, 1.0) - data.scale * (1 + train[0][0].astype(np.float64))
    for piece in train:
        populations = low + data.scale * (1 + piece.astype(np.float64))
        np.testing.assert_allclose(populations[0], 1, atol=1e-5)
        terms = np.concatenate([populations, np.log(np.abs(populations))], axis=1)
        spectrum = np.linalg.svd(terms - terms[0], compute_uv=False)
        assert spectrum[-1] < 1e-4 * spectrum[0]


@pytest.mark.slow
def test_lotka_volterra_and_lorenz_obey_their_laws():
    times = np.linspace(0, 0.2, 9)
    cases = (
        (
            lotka_volterra._field,
            [1.0, 1.0],
            [30.0, 90.0, 100.0, 40.0],
            lambda t, s: (
                s[0] * (30 - 90 * s[1]),
                s[1] * (100 * s[0] - 40),
            ),
        ),
        (
            lorenz._field,
            [1.0, 2.0, 25.0],
            [31.0],
            lambda t, s: (
                10 * (s[1] - s[0]),
                s[0] * (31 - s[2]) - s[1],
                s[0] * s[1] - 8 / 3 * s[2],
            ),
        ),
    )
    for field, start, constants, right in cases:
        got = integrate(field, np.array([start]), np.array([constants]), times)[0]
        wanted = solve_ivp(
            right, (0, 0.2), start, "DOP853", times, rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(got, wanted.y.T, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_lorenz_lies_on_the_attractor(tmp_path):
    data = make_lorenz(SMALL, 60, tmp_path)
    flat = data.train.xs.reshape(-1, 3)
    assert np.abs(flat.mean(0)).max() < 1e-5 and np.abs(flat.std(0) - 1).max() < 1e-5
    assert data.test.xs.shape == (40, 60, 3) and data.scale is not None
    # Cached: the second call reads, and another length is another file.
    (path,) = tmp_path.iterdir()
    before = path.stat().st_mtime_ns
    again = make_lorenz(SMALL, 60, tmp_path)
    np.testing.assert_array_equal(again.test.xs, data.test.xs)
    assert path.stat().st_mtime_ns == before


def test_a_cache_is_made_again_where_it_is_cut_off_or_asked_for_anew(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(3.0)}

    for _ in range(2):
        assert list(cached("x", make, tmp_path, size=1)["a"]) == [0, 1, 2]
    assert len(made) == 1
    cached("x", make, tmp_path, size=2)
    assert len(made) == 2 and len(list(tmp_path.iterdir())) == 2
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:50])
    assert list(cached("x", make, tmp_path, size=1)["a"]) == [0, 1, 2]
    assert len(made) == 3
    # A place that cannot be written costs time alone.
    (tmp_path / "file").touch()
    assert list(cached("x", make, tmp_path / "file", size=1)["a"]) == [0, 1, 2]


@real(cheetah.FILE)
def test_the_traces_are_windowed_and_standardised():
    data = load_cheetah(DATA)
    assert [p.xs.shape for p in data.parts] == [
        (1180, 64, 17),
        (150, 64, 17),
        (300, 64, 17),
    ]
    with np.load(DATA / cheetah.FILE) as file:
        traces = file["traces"].astype(np.float64)
    fitted = traces[15:25].reshape(-1, 17)
    wanted = (traces[7, 64:128] - fitted.mean(0)) / fitted.std(0)
    # Windows come by start, then by trace: the third start of the third trace of the test.
    np.testing.assert_allclose(data.test.xs[2 * 10 + 2], wanted, atol=1e-5)


@real(silverbox.FILE)
def test_silverbox_is_cut_as_its_benchmark_says():
    data = load_silverbox(DATA)
    assert data.train.xs.shape == (1014, 178, 5)
    assert data.validation.xs.shape == (32, 677, 5)
    assert data.test.xs.shape == (1, 40_475, 5)
    assert data.scale is not None and data.in_range is not None
    with np.load(DATA / silverbox.FILE) as file:
        u, y = file["silverbox_u"], file["silverbox_y"]
    end = 40_650 + 65_062
    # Beside each output stand the one before, and the next input, this and the one before.
    fitted = np.stack([y, y, u, u, u], -1)[40_650:end].astype(np.float64)
    fitted[:, 2:] = u[40_651 : end + 1, None]
    arrow = data.test.xs[0] * data.scale / 1000 + fitted.mean(0)
    for channel, (signal, delay) in enumerate(
        ((y, 0), (y, 1), (u, -1), (u, 0), (u, 1))
    ):
        wanted = signal[100 - delay : 40_575 - delay]
        np.testing.assert_allclose(arrow[:, channel], wanted, atol=1e-6)
    inside = data.in_range.xs.shape[1]
    assert np.abs(y[100 : 100 + inside]).max() <= np.abs(fitted[:, 0]).max()
    assert np.abs(y[100 + inside]) > np.abs(fitted[:, 0]).max()


@pytest.mark.parametrize(
    "load, name, array, fragment",
    (
        (load_silverbox, silverbox.FILE, None, "nonlinearbenchmark.org"),
        (load_silverbox, silverbox.FILE, {"a": np.ones(2)}, "silverbox_u"),
        (
            load_silverbox,
            silverbox.FILE,
            dict.fromkeys(silverbox.KEYS, np.ones(7)),
            "got shapes (7,) and (7,)",
        ),
        (load_cheetah, cheetah.FILE, {"a": np.ones(2)}, "array traces"),
        (load_cheetah, cheetah.FILE, {"traces": np.ones((31, 9, 17))}, "(31, 9, 17)"),
    ),
)
def test_a_wrong_file_is_refused_in_plain_words(load, name, array, fragment, tmp_path):
    if array is not None:
        np.savez(tmp_path / name, **array)
    with pytest.raises(ValueError) as caught:
        load(tmp_path)
    assert fragment in str(caught.value) and str(tmp_path / name) in str(caught.value)


@real(cheetah.FILE)
def test_traces_are_downloaded_where_they_are_not(tmp_path, monkeypatch):
    with np.load(DATA / cheetah.FILE) as file:
        traces = file["traces"].astype(np.float64)
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    for i, trace in enumerate(traces):
        np.save(source / f"trace_{i:04}.npy", trace)

    class Fetcher:
        def fetch(self, name):
            return source / name

    monkeypatch.setattr(cheetah, "Fetcher", lambda *_: Fetcher())
    data = load_cheetah(target)
    np.testing.assert_array_equal(data.test.xs, load_cheetah(target).test.xs)
    np.save(source / "trace_0003.npy", traces[4])
    (target / cheetah.FILE).unlink()
    with pytest.raises(ValueError, match="checksum"):
        load_cheetah(target)
    assert not (target / cheetah.FILE).exists()
