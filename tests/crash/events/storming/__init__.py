"""The parts of the events soak: the plan, the crew of processes, the run, the books."""
