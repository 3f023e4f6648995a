"""Tables of many runs: what is missing is run, what is there is shown."""
