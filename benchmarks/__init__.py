"""Ratios of this harness to its peers, a module a room. `python -m benchmarks` runs them all.

Machines are noisy: every figure is a ratio of CPU times taken in turns in one process, never a time. Peers are
dependencies of this package only (the `benchmarks` group of pyproject.toml).
"""
