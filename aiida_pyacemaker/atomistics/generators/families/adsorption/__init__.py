"""Molecules on surfaces: sites, orientations, heights, coverages, and a layer of solvent."""
