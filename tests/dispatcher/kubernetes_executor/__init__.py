"""Tests of the Kubernetes executor's parts, and what its tests on a real cluster share."""
