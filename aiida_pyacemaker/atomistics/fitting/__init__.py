"""ACE basis, training frames, linear and nonlinear fit, active set."""
