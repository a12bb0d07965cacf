"""Tasks: sequences to classify, and where their data comes from."""

from snnrobust.tasks.dataset import Split, Task, TaskInfo
from snnrobust.tasks.registry import list_tasks, load_task, register_task

__all__ = ["Split", "Task", "TaskInfo", "list_tasks", "load_task", "register_task"]
