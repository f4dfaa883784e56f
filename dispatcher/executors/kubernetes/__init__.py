"""The executor for a cluster: one Job and one PersistentVolumeClaim per task.

`settings.read` gives its settings, `executor.KubernetesExecutor` the executor. Nothing is imported
here: whoever reads settings must not pay for a client.
"""
