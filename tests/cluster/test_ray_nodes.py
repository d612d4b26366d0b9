"""What is said where there is no connection to a Ray cluster."""

import pytest

from batchgen.cluster import ray_nodes
from batchgen.cluster.ray_nodes import RayNodes
from batchgen.errors import ResourceStop

ray = pytest.importorskip("ray", reason="the extra ray is not installed")


@pytest.mark.parametrize(("mode", "said"), [(None, True), ("token", False)])
def test_a_cluster_that_may_want_a_token_says_so(monkeypatch, mode, said):
    """Ray itself only says that it failed to connect; who has set the mode knows of it."""

    def failed(**options):
        raise ConnectionError("Failed to connect to Ray cluster at 192.0.2.7:6379")

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", failed)
    monkeypatch.setattr(ray_nodes, "_check_reachable", lambda address: None)
    with pytest.raises(ResourceStop, match="Failed to connect to Ray cluster") as stopped:
        RayNodes("192.0.2.7:6379", None)._connect()
    assert ("RAY_AUTH_MODE=token" in stopped.value.remedy) is said
