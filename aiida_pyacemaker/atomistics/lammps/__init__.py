"""What LAMMPS reads and leaves: files, the watch on gamma, the outcome of a simulation."""
