"""model, loss, batches -> one training: what a run is asked to do."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class Trial:
    """One model to train and to test.

    - `name`: unique in its run.
    - `model`, `loss`, `batches`, `steps`: as for `warp_jax.fit`.
    - `state_size`: numbers in the state.
    - `validate`: `model -> figure`, the lower the better: it alone chooses the model.
        `None` where nothing is left to choose: the model of the last step is tested.
    - `test`: `model -> metrics`, called once, on the chosen model.
    - `learning_rate`: the peak of a cosine schedule with warm-up.
    - `weight_decay`: of AdamW.
    - `notes`: what its result holds beside its figures, or in their place.
    """

    name: str
    model: Any
    loss: Callable
    batches: Callable[[int], Any]
    steps: int
    state_size: int
    validate: Callable[[Any], float] | None
    test: Callable[[Any], dict[str, float]]
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def at(self, rates: Sequence[float]) -> list["Trial"]:
        """Returns the trial at each of several learning rates, named by it."""
        return [
            dataclasses.replace(
                self, name=f"{self.name}, rate {rate:g}", learning_rate=rate
            )
            for rate in rates
        ]

    def gentler(self) -> list["Trial"]:
        """Returns what is tried where the trial diverges at every rate asked for: a third
        and a ninth of its own.
        """
        plain = self.name.removesuffix(f", rate {self.learning_rate:g}")
        trial = dataclasses.replace(self, name=plain)
        return trial.at([self.learning_rate / 3, self.learning_rate / 9])

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW, the gradient clipped to norm 1, a cosine after 5 % of warm-up."""
        unit = _at_unit_rate(self.steps, self.weight_decay)
        rate = self.learning_rate
        return optax.GradientTransformation(
            lambda params: (jnp.asarray(rate, float), unit.init(params)), unit.update
        )


@functools.cache
def _at_unit_rate(steps: int, decay: float) -> optax.GradientTransformation:
    """Returns the optimizer at a rate of one. Its update multiplies by the rate that its
    state holds, so that trials at several rates share what is compiled.
    """
    warmup = max(1, steps // 20)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, 1.0, warmup, max(steps, warmup + 1)
    )
    chain = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=decay)
    )

    def update(updates, state, params=None):
        rate, inner = state
        changes, inner = chain.update(updates, inner, params)
        return jax.tree.map(lambda change: rate * change, changes), (rate, inner)

    return optax.GradientTransformation(chain.init, update)
