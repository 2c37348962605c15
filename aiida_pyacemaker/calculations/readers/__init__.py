"""What the outputs of the oracles say: one module per oracle, with a function ``read``."""
