"""What the outputs of each oracle say: one module per oracle, with a function ``read``."""
