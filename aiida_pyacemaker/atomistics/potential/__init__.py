"""A fitted potential, and how sure it is."""

from .potential import AceCalculator, AcePotential

__all__ = ['AceCalculator', 'AcePotential']
