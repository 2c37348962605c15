"""How configuration space is explored: programs and plans of simulations."""
