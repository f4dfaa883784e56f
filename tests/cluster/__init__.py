"""A real Kubernetes cluster for the tests: `python3 -m tests.cluster up`; see README.md here.

In: nothing but root on a Debian machine (or a kubeconfig, or Docker with kind). Out: a kubeconfig.
Standard library only, so that it runs before any environment of the project exists.
"""
