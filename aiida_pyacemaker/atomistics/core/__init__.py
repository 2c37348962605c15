"""What every room of the science floor uses: configurations, parameters, errors, files, processes."""
