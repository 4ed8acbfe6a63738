# %% [markdown]
# # Irregular sampling
#
# Observations come when they come. A recurrence of one step for each observation does not
# know how long a step took; one in continuous time raises A to the power of the time that
# passed. Two models of the same parts are trained on waves sampled at random times, and
# tell what comes next at any time asked for.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import optax

import warp_jax as wj


def draw(key, count, samples, ahead=16):
    """Random waves at random times: times and values, seen in [0, 1] and later."""
    a, b, c, d = jr.split(key, 4)
    frequency = jr.uniform(a, (count, 1), minval=1.0, maxval=2.5)
    phase = jr.uniform(b, (count, 1), maxval=2 * jnp.pi)
    seen = jnp.sort(jr.uniform(c, (count, samples)), axis=1)
    later = 1 + 0.5 * jr.uniform(d, (count, ahead))

    def wave(times):
        return jnp.sin(2 * jnp.pi * frequency * times + phase)

    return {"ts": seen, "xs": wave(seen), "later": later, "ys": wave(later)}


# %% [markdown]
# The modes are the same: in the one model a step of them is an observation, in the other a
# step is 1/32 of the time. `Elapsed` hands the time that passed to `ContinuousTime`. The
# other model is not told the times; it could be, by `Increments(time_channel=True)`.

# %%
k = jr.split(jr.key(3), 6)
samples = 32
network = eqx.nn.MLP(1, 1, 24, 2, jax.nn.silu, key=k[0])
decoder = wj.NetworkDecoder(network)
modes = wj.SpectralTransition(32, 1, length=samples, key=k[1])


def model_of(dynamics, drive):
    return wj.WARP(
        decoder=decoder,
        transition=wj.SubspaceTransition(decoder.state_size, dynamics, key=k[2]),
        initial=wj.Hypernetwork(
            1, decoder.state_size, 1, width=4, theta=decoder.flatten(network), key=k[3]
        ),
        drive=drive,
    )


models = {
    "by observation": model_of(modes, wj.Increments()),
    "by time": model_of(
        wj.ContinuousTime(modes, unit=1 / samples), wj.Elapsed(wj.Increments())
    ),
}


def ahead(model, ts, xs, later):
    """What the state after all observations says at later times."""
    state = model.final(xs[:, None], ts)
    return jax.vmap(lambda time: model.read(state, time)[0])(later)


def loss(model, batch, key):
    told = jax.vmap(lambda one: ahead(model, one["ts"], one["xs"], one["later"]))(batch)
    return wj.mse(told, batch["ys"])


steps = 800
rate = optax.warmup_cosine_decay_schedule(0.0, 1e-2, 40, steps)
test = draw(k[4], 512, samples)
errors = {}
for name, model in models.items():
    models[name], _ = wj.fit(
        model,
        loss,
        lambda step: draw(jr.fold_in(k[5], step), 64, samples),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
        steps=steps,
        key=jr.key(0),
        report=None,
    )
    errors[name] = float(loss(models[name], test, None) / jnp.mean(test["ys"] ** 2))
print({name: f"{error:.3f}" for name, error in errors.items()})

# %% [markdown]
# Errors are relative to predicting zero. In the pictures dots are what was seen, and lines
# what each of the models makes of it.

# %%
grid = jnp.linspace(0.9, 1.5, 80)
fig, axes = plt.subplots(1, 3, figsize=(8, 2.6), sharey=True, layout="constrained")
for i, ax in enumerate(axes):
    ax.plot(test["ts"][i], test["xs"][i], "o", color="black", markersize=3)
    ax.plot(test["later"][i], test["ys"][i], "x", color="0.5", markersize=5)
    for (name, model), colour in zip(models.items(), ("tab:blue", "tab:red")):
        curve = ahead(model, test["ts"][i], test["xs"][i], grid)
        ax.plot(grid, curve, color=colour, label=name)
    ax.set(xlabel="time", ylim=(-1.6, 1.6))
axes[0].set(title="Seen, and what comes (crosses)", ylabel="observation")
axes[2].legend(frameon=False, fontsize=7)
plt.show()

# %% [markdown]
# ## Sampled more often, or less
#
# In continuous time two steps are one over the time of both. So a model that was trained
# with 32 observations takes other numbers of them, while one that counts observations
# takes 64 for two sequences in a row.

# %%
numbers = (16, 24, 32, 48, 64)
fig, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
by_number = {}
for (name, model), colour in zip(models.items(), ("tab:blue", "tab:red")):
    by_number[name] = []
    for number in numbers:
        other = draw(k[4], 512, number)
        relative = loss(model, other, None) / jnp.mean(other["ys"] ** 2)
        by_number[name].append(float(relative))
    ax.semilogy(numbers, by_number[name], "o-", color=colour, label=name)
ax.axvline(samples, color="0.7", linestyle=":")
ax.set(title="Error by observations; dotted: in training", xlabel="observations")
ax.legend(frameon=False)
plt.show()
