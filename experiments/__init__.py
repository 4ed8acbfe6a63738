"""Experiments with `warp_jax`: `python -m experiments NAME --help`.

data -> models -> one training loop -> a run folder (config, metrics, summary, figures)
"""
