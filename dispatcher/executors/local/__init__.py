"""The executor of one machine: a folder per task, a child process per run; no cluster, no root."""

from dispatcher.executors.local.executor import LocalExecutor

__all__ = ["LocalExecutor"]
