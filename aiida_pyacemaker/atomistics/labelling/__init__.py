"""The physics of a label: k-points, spins, dipoles, settings that belong together, values that cannot be, teachers."""
