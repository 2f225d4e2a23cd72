"""Ours and the peers side by side: `python -m benchmarks NAME [-o json]`.

Rounds are interleaved in one run, figures are medians, and what counts are the ratios: absolute figures are those of one machine
on one day. Peers are in the dependency group `peers`.
"""
