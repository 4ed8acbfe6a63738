# %% [markdown]
# # Quick start
#
# A model is trained on waves, each of a frequency and a phase of its own, and continues
# waves that it has not seen. What it has to find out of the first half of a wave, it
# keeps in the weights of a small network.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import optax

import warp_jax as wj


k = jr.split(jr.key(0), 7)
count, length, given = 288, 32, 16
ts = jnp.linspace(0, 1, length)
frequency = jr.uniform(k[0], (count, 1), minval=1.0, maxval=2.0)
phase = jr.uniform(k[1], (count, 1), maxval=2 * jnp.pi)
angle = 2 * jnp.pi * frequency * ts + phase
waves = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)  # (example, time, input)
train, test = waves[:256], waves[256:]

# %% [markdown]
# Three parts make a model. The network maps a time to two numbers; its weights are the
# state. They move by a matrix that is the identity plus one of low rank, and start at
# what a hypernetwork makes of the first observation.

# %%
network = eqx.nn.MLP(1, 2, 16, 2, jax.nn.silu, key=k[2])
decoder = wj.NetworkDecoder(network)
model = wj.WARP(
    decoder=decoder,
    transition=wj.LowRankTransition(
        decoder.state_size, 2, rank=8, length=length, cycles=3, key=k[3]
    ),
    initial=wj.Hypernetwork(
        2, decoder.state_size, width=8, theta=decoder.flatten(network), key=k[4]
    ),
)
print(f"{decoder.state_size} weights are the state")
print(model.roll.explain(model.transition, length).splitlines()[0])

# %% [markdown]
# `unroll` predicts every observation from those before it. A quarter of the steps, drawn
# at random, are fed the truth, the others the model's own prediction, as in a forecast.


# %%
def loss(model, batch, key):
    def predict(xs, key):
        return wj.unroll(model, xs, ts, forcing=0.25, key=key)

    return wj.mse(jax.vmap(predict)(batch, jr.split(key, len(batch))), batch[:, 1:])


steps = 1000
rate = optax.warmup_cosine_decay_schedule(0.0, 3e-3, 50, steps)
model, history = wj.fit(
    model,
    loss,
    wj.Batches(train, 32, key=k[5]),
    optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
    steps=steps,
    key=k[6],
    report=None,
)

fig, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
ax.semilogy(history.loss)
ax.set(title="Training", xlabel="step", ylabel="squared error")
plt.show()

# %% [markdown]
# ## Forecasts
#
# Half of each test wave is given. A forecast feeds every prediction back; `jax.vmap`
# makes all at once.

# %%
futures = jax.vmap(lambda xs: wj.forecast(model, xs, length - given, ts))(
    test[:, :given]
)
error = wj.mse(futures, test[:, given:])
still = jnp.broadcast_to(test[:, given - 1 : given], futures.shape)
repeated = wj.mse(still, test[:, given:])
print(f"squared error {error:.4f}; of the last value repeated {repeated:.2f}")

fig, axes = plt.subplots(1, 3, figsize=(8, 2.4), sharey=True, layout="constrained")
for ax, wave, future in zip(axes, test, futures):
    ax.plot(ts, wave[:, 0], color="0.6", linewidth=3)
    ax.plot(ts[given:], future[:, 0], color="tab:red")
    ax.axvline(ts[given - 1], color="0.8", linestyle=":")
    ax.set(xlabel="time")
axes[0].set(title="Truth, grey, and forecast, red", ylabel="first channel")
plt.show()

# %% [markdown]
# ## The same as a stream
#
# `init` and `step` take one observation at a time. The state is all that is remembered,
# and can be read at any time.

# %%
xs = test[0]
state = model.init(xs[0], ts[0])
for x, t in zip(xs[1:given], ts[1:given]):
    state = model.step(state, x, t)
ahead = model.read(state, ts[given])
same = bool(jnp.allclose(ahead, futures[0, 0], atol=1e-4))
print(f"the stream gives what the forecast began with: {same}")
