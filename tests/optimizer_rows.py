"""Every optimizer, by expressions that a script evaluates too: killed and resumed, and crossed with problems."""

from __future__ import annotations

from varq.optimizers.catalog import METHODS

__all__ = ["OPTIMIZERS"]

OPTIMIZERS = {
    **{name: f"Scipy({name!r})" for name in METHODS},
    "BFGS without gradient": "Scipy('BFGS', gradient=False)",
    "optax adam": "Optax('adam', learning_rate=0.1)",
    "optax schedule": "Optax('adam', learning_rate=Optax.schedule('cosine_decay_schedule', 0.1, decay_steps=7))",
    "optax object": "Optax.of(made()['transformation'], name='transformation')",
    "optax chain": "Optax.chain(Optax('clip_by_global_norm', max_norm=1.0), Optax('sgd', learning_rate=0.1))",
    "SPSA": "SPSA()",
    "SPSA blocking": "SPSA(blocking=True)",
    "Rotosolve": "Rotosolve()",
    "ExcitationSolve": "ExcitationSolve()",
    "NaturalGradient": "NaturalGradient()",
}
