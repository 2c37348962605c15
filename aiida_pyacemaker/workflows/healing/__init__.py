"""What heals a calculation that gave no label."""
