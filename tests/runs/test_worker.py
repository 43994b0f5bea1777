"""What a worker starts."""

import os

from benchbcss.runs import worker


def test_processes_share_the_cores_that_the_run_may_use(monkeypatch, tmp_path):
    """Of a machine with more cores than its container's quota, the quota is shared."""
    started = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr("joblib.cpu_count", lambda: 6)
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_NTASKS", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        worker.subprocess, "Popen", lambda *_, env, **__: started.append(env) or "process"
    )
    assert worker._start_followers(tmp_path, 3) == ["process", "process"]
    assert [env["RANK"] for env in started] == ["1", "2"]
    assert {env["OMP_NUM_THREADS"] for env in (*started, os.environ)} == {"2"}
