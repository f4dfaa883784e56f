"""Tests of what users install: chart, plain manifests, images."""
