"""What is told of a run: queries, status, report, pictures, trajectories, export."""
