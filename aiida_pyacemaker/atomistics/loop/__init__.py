"""What the loop does next."""
