"""Subsets of rows: MaxVol, farthest point, greedy."""
