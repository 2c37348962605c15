"""What a linear ACE is: basis, rows, kernel, active set."""
