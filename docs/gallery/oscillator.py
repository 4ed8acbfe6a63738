# %% [markdown]
# # An oscillator identified
#
# A mass on a spring with a damper is seen 100 times. What are its constants, and where
# will it be? The law is linear in its parameters, so a recurrence of *sufficient
# statistics* and a solution of least squares tell: nothing is trained.

# %%
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np

import warp_jax as wj


stiffness, damping = 160.0, 1.5  # k/m in 1/s² and c/m in 1/s
dt, given, total = 0.01, 100, 300
ts = dt * jnp.arange(total)
generator = jnp.array([[0.0, 1.0], [-stiffness, -damping]])
flow = jax.scipy.linalg.expm(generator * dt)


def motion(x, _):
    return flow @ x, x


truth = jax.lax.scan(motion, jnp.array([1.0, 0.0]), None, total)[1]  # (time, (x, v))

# %% [markdown]
# `Steps(2, dt=dt)` regresses the next step of two channels on this one. The state holds
# the sums of products; the decoder solves the normal equations and carries the latest
# observation forward.

# %%
model = wj.physics.least_squares(wj.physics.Steps(2, dt=dt))
state = model.final(truth[:given], ts[:given])
found = wj.physics.oscillator_constants(model.decoder.parameters(state)["M"])
print({name: f"{value:.3f}" for name, value in found.items()})
future = wj.forecast(model, truth[:given], total - given, ts)
worst = jnp.max(jnp.abs(future - truth[given:])) / jnp.max(jnp.abs(truth))
print(f"largest error of the forecast, relative: {worst:.1e}")

fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
ax.plot(ts, truth[:, 0], color="0.7", linewidth=4, label="truth")
ax.plot(ts[:given], truth[:given, 0], color="black", label="seen")
ax.plot(ts[given:], future[:, 0], "--", color="tab:red", label="forecast")
ax.set(title="A forecast from 100 samples", xlabel="time, s", ylabel="position")
ax.legend(frameon=False, ncols=3)
plt.show()

# %% [markdown]
# ## As observations come in, and with noise
#
# Every observation adds its products to the state. So the constants can be told after
# each, without another look at the past. Noise on what the law is applied to biases least
# squares towards standing still, whatever the number of observations;
# [results](../results.md#msd) says by how much in forecasts.


# %%
def told(xs):
    """k/m and c/m after every observation."""
    thetas = model.weights(xs, ts)

    def constants(theta):
        state = wj.State(theta, xs[0], ts[0])
        return wj.physics.oscillator_constants(model.decoder.parameters(state)["M"])

    return jax.vmap(constants)(thetas)


scale = jnp.std(truth, axis=0)
noise = jr.normal(jr.key(0), truth.shape) * scale
fig, axes = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
for level, colour in ((0.0, "black"), (0.01, "tab:blue"), (0.03, "tab:red")):
    constants = told(truth + level * noise)
    for ax, name in zip(axes, ("k/m", "c/m")):
        values = constants[name][8:]
        ax.plot(np.arange(8, total), values, color=colour, label=f"noise {level:.0%}")
for ax, value, name in zip(axes, (stiffness, damping), ("k/m, 1/s²", "c/m, 1/s")):
    ax.axhline(value, color="0.7", zorder=0)
    ax.set(title=name, xlabel="observations")
axes[0].set_ylim(0.9 * stiffness, 1.1 * stiffness)
axes[1].set_ylim(0.5 * damping, 2 * damping)
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## An oscillator that changes
#
# With `keep` below one the sums forget, and follow a spring that stiffens.

# %%
drifting = stiffness * (1 + jnp.linspace(0, 1, total))


def stiffening(x, k):
    return jax.scipy.linalg.expm(jnp.array([[0.0, 1.0], [-k, -damping]]) * dt) @ x, x


seen = jax.lax.scan(stiffening, jnp.array([1.0, 0.0]), jnp.asarray(drifting))[1]
fig, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
ax.plot(drifting, color="0.7", linewidth=4, label="truth")
for keep, colour in ((1.0, "black"), (0.9, "tab:red")):
    model = wj.physics.least_squares(wj.physics.Steps(2, dt=dt), keep=keep)
    values = told(seen)["k/m"]
    ax.plot(np.arange(8, total), values[8:], color=colour, label=f"keep = {keep}")
ax.set(title="k/m of a spring that stiffens", xlabel="observations")
ax.legend(frameon=False)
plt.show()
