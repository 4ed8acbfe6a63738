# %% [markdown]
# # Forecast with uncertainty
#
# A network of twice as many outputs gives a mean and a deviation. All of the future is
# read off one state, the one after the context, at times of our choice: no prediction is
# fed back.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import optax

import warp_jax as wj


k = jr.split(jr.key(1), 9)
count, length, given = 1280, 48, 24
ts = jnp.linspace(-1, 1, length)  # now is 0

# A wave that is seen, and a drift that cannot be: it adds up from the present on.
phase = jr.uniform(k[0], (count, 1), maxval=2 * jnp.pi)
wave = jnp.sin(2 * jnp.pi * ts + phase)
drift = jnp.cumsum(0.08 * jr.normal(k[1], (count, length)), axis=1)
xs = (wave + drift + 0.05 * jr.normal(k[2], (count, length)))[..., None]
train, validation, test = xs[:896], xs[896:1024], xs[1024:]

# %%
network = eqx.nn.MLP(1, 2, 24, 2, jax.nn.silu, key=k[3])
decoder = wj.GaussianDecoder(wj.NetworkDecoder(network))
modes = wj.SpectralTransition(16, 1, length=given, key=k[4])
model = wj.WARP(
    decoder=wj.SkipDecoder(decoder, lambda x: x),
    transition=wj.SubspaceTransition(decoder.state_size, modes, key=k[5]),
    initial=wj.LearntInitial(decoder.decoder.flatten(network)),
)


def future(model, xs, times=ts[given:]):
    """A Gaussian at each of the times, off the state after the context."""
    state = model.final(xs[:given], ts[:given])
    return jax.vmap(lambda time: model.read(state, time))(times)


def loss(model, batch, key):
    told = jax.vmap(lambda xs: future(model, xs))(batch)
    return wj.gaussian_nll(told, batch[:, given:])


steps = 800
rate = optax.warmup_cosine_decay_schedule(0.0, 1e-2, 30, steps)
model, history = wj.fit(
    model,
    loss,
    wj.Batches(train, 64, key=k[6]),
    optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
    steps=steps,
    key=k[7],
    validate=lambda model: loss(model, validation, None),
    report=None,
)
print(f"the model of step {history.best_step} is the best on validation data")

# %% [markdown]
# The mean is a correction of the latest observation (`SkipDecoder`), so nothing has to be
# learnt to begin with. Bands are of one and two deviations, and are read between the
# samples too.

# %%
fine = jnp.linspace(ts[given - 1], ts[-1], 120)
fig, axes = plt.subplots(1, 3, figsize=(8, 2.4), sharey=True, layout="constrained")
for ax, seen in zip(axes, test):
    told = future(model, seen, fine)
    mean, std = told.mean[:, 0], told.std[:, 0]
    for width in (1, 2):
        ax.fill_between(
            fine, mean - width * std, mean + width * std, color="tab:red", alpha=0.2
        )
    ax.plot(fine, mean, color="tab:red")
    ax.plot(ts[:given], seen[:given, 0], color="black", linewidth=1)
    ax.plot(ts[given:], seen[given:, 0], ".", color="black", markersize=3)
    ax.set(xlabel="time")
axes[0].set(title="Context, forecast, what came", ylabel="observation")
plt.show()

# %% [markdown]
# ## Is it honest?
#
# Of the values of the test sequences, how many lie within the central part of their
# forecasts that is to hold so many? And does the deviation grow as the drift adds up?

# %%
told = jax.vmap(lambda xs: future(model, xs))(test)
score = np.asarray((test[:, given:] - told.mean) / told.std)
levels = np.linspace(0.05, 0.95, 19)
within = jax.scipy.stats.norm.cdf(np.abs(score)) * 2 - 1
coverage = np.array([np.mean(within <= level) for level in levels])
print(f"within the central 95 %: {coverage[-1]:.1%}")

error = jnp.sqrt(jnp.mean((test[:, given:] - told.mean) ** 2, axis=(0, 2)))
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
left.plot([0, 1], [0, 1], color="0.7")
left.plot(levels, coverage, ".-", color="tab:red")
left.set(title="Coverage", xlabel="asked for", ylabel="found")
right.plot(ts[given:], error, color="black", label="error")
right.plot(ts[given:], told.std.mean((0, 2)), color="tab:red", label="told")
right.set(title="Deviation by time", xlabel="time", ylim=(0, None))
right.legend(frameon=False)
plt.show()
