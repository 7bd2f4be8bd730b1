"""Carry a release over to the host, if the host does not have it yet."""

from __future__ import annotations

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Ask the host first; transfer the artifact only when it is missing, never in check mode."""

    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result. The artifact's path is one of the control machine."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        artifact = arguments.pop("artifact")
        seen = self._execute_module(module_args=arguments, task_vars=task_vars)
        if seen.get("failed") or seen.get("present") or self._task.check_mode:
            return {**result, **seen}
        remote = self._connection._shell.join_path(self._make_tmp_path(), "artifact.tar.gz")
        try:
            arguments["artifact"] = self._transfer_file(artifact, remote)
            done = self._execute_module(module_args=arguments, task_vars=task_vars)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return {**result, **done}
