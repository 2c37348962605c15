"""Runs one task of the science floor on the compute machine."""
