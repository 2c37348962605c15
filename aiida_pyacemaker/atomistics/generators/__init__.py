"""Structures to begin with."""
