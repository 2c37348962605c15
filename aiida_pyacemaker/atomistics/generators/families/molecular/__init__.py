"""Molecules: turned about bonds, vibrating, stretched; pairs and clusters of them, liquids and crystals."""
