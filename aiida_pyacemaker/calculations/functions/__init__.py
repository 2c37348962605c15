"""Calcfunctions, one per module."""
