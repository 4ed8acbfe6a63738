# %% [markdown]
# # Inside the weights
#
# The states of a WARP are networks of one shape, so they can be looked at: where
# sequences take them, which time-scales the recurrence has learnt, and which layers move.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import optax

import warp_jax as wj


# Noisy spirals that turn one way or the other.
k = jr.split(jr.key(0), 8)
count, length = 512, 64
labels = jr.randint(k[0], (count,), 0, 2)
start = jr.uniform(k[1], (count, 1), maxval=2 * jnp.pi)
turn = jnp.where(labels == 1, -1.0, 1.0)[:, None] * jnp.linspace(0, 10, length)
radius = jnp.exp(-0.15 * jnp.linspace(0, 10, length))[:, None]
xs = radius * jnp.stack([jnp.cos(start + turn), jnp.sin(start + turn)], axis=-1)
xs = xs + 0.05 * jr.normal(k[2], xs.shape)

# %%
network = eqx.nn.MLP(1, 2, 16, 2, jax.nn.silu, key=k[3])
decoder = wj.NetworkDecoder(network)
untrained = wj.WARP(
    decoder=decoder,
    transition=wj.LowRankTransition(
        decoder.state_size, 2, rank=16, length=length, cycles=3, key=k[4]
    ),
    initial=wj.Hypernetwork(
        2, decoder.state_size, 1, width=4, theta=decoder.flatten(network), key=k[5]
    ),
)


def loss(model, batch, key):
    xs, labels = batch
    logits = jax.vmap(lambda xs: model.last(xs, query=1.0))(xs)
    return jnp.mean(jax.vmap(wj.cross_entropy)(logits, labels))


model, history = wj.fit(
    untrained,
    loss,
    wj.Batches((xs[:384], labels[:384]), 64, key=k[6]),
    optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3)),
    steps=300,
    key=k[7],
    report=None,
)
logits = jax.vmap(lambda xs: model.last(xs, query=1.0))(xs[384:])
accuracy = jnp.mean(jnp.argmax(logits, -1) == labels[384:])
print(f"accuracy on {len(logits)} other spirals: {accuracy:.3f}")

# %% [markdown]
# ## Trajectories
#
# `model.weights` gives the network after every step. In the plane of their first two
# principal components the two kinds of spirals part.

# %%
thetas = np.asarray(jax.vmap(model.weights)(xs[384:408]))  # (example, time, state)
flat = thetas.reshape(-1, thetas.shape[-1])
_, scale, directions = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
plane = (thetas - flat.mean(0)) @ directions[:2].T
share = scale[:2] ** 2 / np.sum(scale**2)

fig, ax = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
for path, label in zip(plane, np.asarray(labels[384:408])):
    colour = ("tab:red", "tab:blue")[label]
    ax.plot(*path.T, color=colour, linewidth=0.6, alpha=0.7)
    ax.plot(*path[-1], "o", color=colour, markersize=3)
ax.set(
    title="24 spirals in weight space; colour: direction",
    xlabel=f"first component, {share[0]:.0%} of the variance",
    ylabel=f"second, {share[1]:.0%}",
)
plt.show()

# %% [markdown]
# ## The spectrum of A
#
# For A = a I + U Vᵀ all eigenvalues but `rank` are a, and those are a plus the
# eigenvalues of the small matrix VᵀU. At the start A is a rotation, and all lie on the
# unit circle.


# %%
def spectrum(transition):
    small = np.asarray(transition.V.T @ transition.U)
    return np.linalg.eigvals(small) + float(transition.a)


fig, ax = plt.subplots(figsize=(3.6, 3.6), layout="constrained")
circle = np.exp(2j * np.pi * np.linspace(0, 1, 200))
ax.plot(circle.real, circle.imag, color="0.8")
for transition, style, name in (
    (untrained.transition, "x", "at the start"),
    (model.transition, "o", "trained"),
):
    values = spectrum(transition)
    ax.plot(values.real, values.imag, style, fillstyle="none", label=name)
ax.set(title="Eigenvalues of A other than a", aspect="equal")
ax.legend(frameon=False)
plt.show()
largest = max(abs(spectrum(model.transition)).max(), abs(float(model.transition.a)))
print(f"the largest modulus is {largest:.3f}")

# %% [markdown]
# ## Layer by layer
#
# `decoder.unflatten` gives the network of a state. How far has each of its arrays moved,
# relative to where it began?

# %%
networks = eqx.filter_vmap(decoder.unflatten)(jnp.asarray(thetas[0]))
fig, ax = plt.subplots(figsize=(5, 2.8), layout="constrained")
for number, layer in enumerate(networks.layers):
    for name in ("weight", "bias"):
        values = np.asarray(getattr(layer, name)).reshape(length, -1)
        moved = np.linalg.norm(values - values[0], axis=1) / np.linalg.norm(values[0])
        style = {"weight": "-", "bias": "--"}[name]
        ax.plot(moved, style, color=f"C{number}", label=f"{name}, layer {number}")
ax.set(title="How far one spiral moves each array", xlabel="step", ylabel="relative")
ax.legend(frameon=False, fontsize=7, ncols=2)
plt.show()

# %% [markdown]
# What the network of one state says when it is read at all times, not only at the end:

# %%
times = jnp.linspace(0, 1, 50)
fig, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
for width, step in enumerate((length - 1, length // 2, length // 4, 0), 1):
    state = model.final(xs[384, : step + 1], jnp.linspace(0, 1, length)[: step + 1])
    logits = jax.vmap(lambda time, state=state: model.read(state, time))(times)
    chance = jax.nn.softmax(logits)[:, int(labels[384])]
    ax.plot(times, chance, linewidth=width, label=f"after step {step}", zorder=-width)
ax.set(title="Chance of the right class", xlabel="time it is read at", ylim=(0, 1.05))
ax.legend(frameon=False, fontsize=7)
plt.show()
