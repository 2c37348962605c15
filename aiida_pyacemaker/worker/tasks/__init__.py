"""The tasks of the worker: each module has `run(directory, parameters)`, which returns what goes into `result.json`."""
