"""Crystals: elements, oxidation states, prototypes, slabs, and which of them are plausible."""
