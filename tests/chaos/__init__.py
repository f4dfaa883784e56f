"""Chaos: dispatchers, runs and Redis are killed, paused and cut off at random while orders flow."""
