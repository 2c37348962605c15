"""Interfaces of two crystals: coherent matches of their surfaces, stacked with and without vacuum."""
