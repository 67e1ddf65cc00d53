"""A stage's command as DVC runs it: by the user's shell, without the shell's own settings."""

from trialtree.sweep.workers.jobs import Job


def commands(job: Job) -> list[list[str]]:
    """Return the commands of a job, to run one after the other; none where a module of stages/ is run."""
    if job.module is not None:
        return []
    from dvc.stage import run

    shell = run.get_executable()
    return [run._make_cmd(shell, each) for each in run._enforce_cmd_list(job.command)]
