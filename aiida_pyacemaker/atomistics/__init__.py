"""Physics and numerics on ASE Atoms and numpy arrays; knows nothing of AiiDA."""
