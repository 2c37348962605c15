"""Set-up of one machine: engines, AiiDA profile, computer, codes, pseudopotentials, and the checks of `doctor`."""
