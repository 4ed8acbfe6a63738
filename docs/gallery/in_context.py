# %% [markdown]
# # Regression in context
#
# A sequence of pairs (x, y) goes in; after the last one the state θ_{T−1} is itself a
# function of x, to be asked as often as we like. First the state is that of ridge
# regression, and nothing is trained. Then a small network is the state, and training
# teaches the recurrence to write its weights.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import optax

import warp_jax as wj


def draw(key, count, pairs):
    """Waves of an amplitude and a phase of their own, `(count, pairs, (x, y))`."""
    a, b, c = jr.split(key, 3)
    amplitude = jr.uniform(a, (count, 1), minval=0.5, maxval=2.0)
    phase = jr.uniform(b, (count, 1), maxval=2 * jnp.pi)
    x = jr.uniform(c, (count, pairs), minval=-3.0, maxval=3.0)
    return jnp.stack([x, amplitude * jnp.sin(x + phase)], axis=-1)


grid = jnp.linspace(-3, 3, 121)


def show(ax, tokens, answers, title):
    ax.plot(*tokens.T, "o", color="black", markersize=4)
    ax.plot(grid, answers, color="tab:red")
    ax.set(title=title, xlabel="x", ylim=(-2.6, 2.6))


# %% [markdown]
# ## Least squares as a recurrence
#
# `Tokens` regresses y on features of x. The sums of products are the state, `predict`
# asks it. With the right features, a sine and a cosine, four pairs are plenty; with
# powers of x the same state answers as well as a polynomial can.

# %%
tokens = draw(jr.key(0), 1, 8)[0]


def waves(x):
    return jnp.concatenate([jnp.sin(x), jnp.cos(x)])


def powers(x):
    return jnp.concatenate([x**n for n in range(6)])


fig, axes = plt.subplots(1, 2, figsize=(7, 2.6), sharey=True, layout="constrained")
for ax, lift, pairs in ((axes[0], waves, 4), (axes[1], powers, 8)):
    model = wj.physics.least_squares(wj.physics.Tokens(1, 1, lift=lift), ridge=1e-4)
    state = model.final(tokens[:pairs])

    def ask(x, model=model, state=state, lift=lift):
        return model.decoder.predict(state, lift(x[None]))[0]

    show(ax, tokens[:pairs], jax.vmap(ask)(grid), f"{lift.__name__}, {pairs} pairs")
plt.show()

# %% [markdown]
# ## A state that is a network
#
# Now no feature is given. Each pair is embedded by a network of its own
# (`EmbeddedDrive`), what it says is added up in a few directions (`SumTransition` in a
# `SubspaceTransition`), and the sum *is* the weights of a network from x to y. The
# question x is the place where that network is read.

# %%
k = jr.split(jr.key(1), 6)
network = eqx.nn.MLP(1, 1, 24, 2, jnp.tanh, key=k[0])
decoder = wj.NetworkDecoder(network)
directions = 32
model = wj.WARP(
    decoder=decoder,
    drive=wj.EmbeddedDrive(
        wj.Values(), eqx.nn.MLP(2, directions, 64, 2, jax.nn.silu, key=k[1])
    ),
    transition=wj.SubspaceTransition(
        decoder.state_size, wj.SumTransition(directions), key=k[2]
    ),
    initial=wj.LearntInitial(decoder.flatten(network)),
)


def answers(model, tokens, questions, mask=None):
    # The first observation sets the initial state alone: a pair of zeros stands there.
    tokens = jnp.pad(tokens, ((1, 0), (0, 0)))
    if mask is not None:
        mask = jnp.pad(mask, (1, 0), constant_values=True)
    state = model.final(tokens, mask=mask)
    return jax.vmap(lambda x: model.read(state, x)[0])(questions)


most = 16


def loss(model, batch, key):
    # Contexts of 2 to 16 pairs: the others are masked.
    seen = jnp.arange(most) < jr.randint(key, (), 2, most + 1)

    def answer(s):
        return answers(model, s[:most], s[most:, 0], seen)

    return wj.mse(jax.vmap(answer)(batch), batch[:, most:, 1])


steps = 1200
rate = optax.warmup_cosine_decay_schedule(0.0, 3e-3, 60, steps)
model, history = wj.fit(
    model,
    loss,
    lambda step: draw(jr.fold_in(k[3], step), 48, most + 16),
    optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
    steps=steps,
    key=k[4],
    report=None,
)

# %%
test = draw(k[5], 256, 32 + 16)
fig, axes = plt.subplots(1, 3, figsize=(8, 2.6), sharey=True, layout="constrained")
for ax, seen in zip(axes, test):
    show(ax, seen[:6], answers(model, seen[:6], grid), "")
axes[0].set(title="The learnt state, 6 pairs")
plt.show()

# %% [markdown]
# The recurrence goes on as pairs come in, also past the numbers it was trained with: but
# there the sum is one that the network has not met. Errors are relative to predicting zero.

# %%
numbers = [1, 2, 4, 8, 16, 32]
errors = []
for number in numbers:
    told = jax.vmap(lambda s, n=number: answers(model, s[:n], s[32:, 0]))(test)
    errors.append(float(wj.mse(told, test[:, 32:, 1]) / jnp.mean(test[:, 32:, 1] ** 2)))
print({number: f"{error:.3f}" for number, error in zip(numbers, errors)})

fig, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
ax.loglog(numbers, errors, "o-", color="tab:red")
ax.axvline(most, color="0.7", linestyle=":")
ax.set(
    title="Error by pairs seen; dotted: the most in training",
    xlabel="pairs",
    ylabel="error",
)
plt.show()
