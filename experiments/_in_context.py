"""What is asked of a model that has seen a context: the function's values at queries."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import warp_jax as wj

from ._bench import forward, interleave
from ._data import Contexts, Regressions
from ._mapped import each, mapped


# How often each program is timed.
ROUNDS = 5


class Asked(eqx.Module):
    """Queries are coordinates: the decoder reads the state after the context at each. No
    query passes through the recurrence, so the state answers as many as are asked.

    - `tokens`: of a context; `shortest`: the fewest that one has in training.
    """

    tokens: int = eqx.field(static=True)
    shortest: int = eqx.field(static=True)

    def ask(
        self, model, state: wj.State, query: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], wj.State]:
        """Returns the answer to a query, and the state that is left after it."""
        return model.decoder(state, query)[0], state

    def answer(self, model, state: wj.State, queries) -> Float[Array, " q"]:
        """Returns the answers to all queries, each asked of the same state."""
        return jax.vmap(lambda query: self.ask(model, state, query)[0])(queries)

    def answers(self, model, xs, queries, mask=None) -> Float[Array, " q"]:
        """Returns the answers to all queries, each asked of the state after the context."""
        return self.answer(model, model.final(xs, mask=mask), queries)

    def in_turn(self, model, xs, queries) -> Float[Array, " q"]:
        """Returns the answers to queries that are asked one after another, each of the
        state that the one before it has left.
        """

        def turn(state, query):
            answer, state = self.ask(model, state, query)
            return state, answer

        return lax.scan(turn, model.final(xs), queries)[1]

    def loss(self, model, batch: Contexts, key):
        def answers(model, xs, queries, key):
            count = jr.randint(key, (), self.shortest, self.tokens + 1)
            return self.answers(model, xs, queries, jnp.arange(len(xs)) <= count)

        xs, queries, wanted = map(jnp.asarray, batch)
        return wj.mse(each(answers, model, key, xs, queries), wanted)

    def evaluate(self, model, contexts: Contexts) -> dict[str, float]:
        found = mapped(self.answers, model, contexts.xs, contexts.queries)
        return relative(found, contexts.answers)

    def validate(self, data: Regressions) -> Callable[[Any], float]:
        contexts = data.validation.given(self.tokens)
        return lambda model: self.evaluate(model, contexts)["relative_error"]

    def test(self, data: Regressions) -> Callable[[Any], dict[str, float]]:
        """Returns what gives the metrics of the test set: of its queries within the range
        of the tokens, of those beyond it, and of the first ones in turn.
        """
        inside, beyond = (c.given(self.tokens) for c in (data.test, data.beyond))

        def metrics(model) -> dict[str, float]:
            turns = mapped(self.in_turn, model, inside.xs, inside.queries)
            return {
                **self.evaluate(model, inside),
                **_named("beyond", self.evaluate(model, beyond)),
                **_named("in_turn", relative(turns, inside.answers)),
            }

        return metrics


class Fed(Asked):
    """Queries are observations, as in the paper: each steps the recurrence on from the
    context, as a token whose value is zero, and is then read at time one.
    """

    def ask(self, model, state, query):
        token = jnp.append(query, jnp.zeros((), query.dtype))
        after = model.step(state, token, 1.0)
        return model.read(after, 1.0)[0], after


def microseconds(
    asked: Mapping[str, tuple[Asked, Any]], contexts: Contexts
) -> dict[str, dict[str, float]]:
    """Returns what it costs each model to read a context, and then to answer a query, in
    microseconds, compiled, one context at a time. Queries are asked all at once.
    """
    xs, queries = jnp.asarray(contexts.xs[0]), jnp.asarray(contexts.queries[0])
    read, answered = {}, {}
    for name, (task, model) in asked.items():
        state = eqx.filter_jit(model.final)(xs)
        read[name] = forward(model, lambda model, xs: model.final(xs).theta, xs)
        answered[name] = forward(model, task.answer, state, queries)
    read, answered = (interleave(programs, ROUNDS) for programs in (read, answered))
    return {
        name: {
            "microseconds_per_context": 1e6 * read[name].median,
            "microseconds_per_query": 1e6 * answered[name].median / len(queries),
        }
        for name in asked
    }


def relative(
    found: Float[np.ndarray, "n q"], answers: Float[np.ndarray, "n q"]
) -> dict[str, float]:
    """Returns squared errors over those of predicting zero: of all queries, and the median
    over contexts.
    """
    errors = np.mean((np.asarray(found, np.float64) - answers) ** 2, axis=1)
    size = np.mean(np.square(answers, dtype=np.float64))
    return {
        "relative_error": float(np.mean(errors) / size),
        "relative_error_median": float(np.median(errors) / size),
    }


def _named(about: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{about}_{name}": figure for name, figure in metrics.items()}
