"""From a queue message to a run on an executor, and the care for it until its volume is gone."""
