"""Molecular dynamics and Monte Carlo under a watch on the extrapolation grade: plan, input, outcome, decisions."""
