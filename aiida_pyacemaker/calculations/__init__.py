"""CalcJobs: one run of one engine each."""
