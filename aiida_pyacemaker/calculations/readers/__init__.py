"""What the outputs of our oracles say: one module per oracle, with a function ``read``."""
