"""Workers on the nodes of a real Ray cluster on this machine: lost nodes, lost actors, keys of the nodes' own."""

import os
from contextlib import suppress

import psutil
import pytest

from tests.cluster.runs import KEY, Runs
from tests.waiting import wait_until

pytest.importorskip("ray", reason="the extra ray is not installed")

ROWS = 150
STORE = 80 * 1024 * 1024


@pytest.fixture(scope="module")
def cluster():
    """A head without processors and two nodes, which have the key in their environment."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLUSTER_TEST_KEY", KEY)
        patch.setenv("CLUSTER_OTHER_KEY", KEY)
        made = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False},
        )
        for _ in range(2):
            made.add_node(num_cpus=2, object_store_memory=STORE)
        yield made
        made.shutdown()


@pytest.fixture
def runs(tmp_path, cluster):
    """Make runs on the cluster; whatever they started is ended."""
    made = []

    def make(rows=ROWS, more="", **settings):
        engine = f'[engine]\nkind = "ray"\naddress = "{cluster.address}"\n'
        made.append(Runs(tmp_path, rows, more=f"[limits]\nconcurrency = 12\n{more}{engine}", **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def actors():
    """Return the processes of the workers."""
    return [one for one in psutil.process_iter(["cmdline"]) if "RemoteSender" in " ".join(one.info["cmdline"] or [])]


def at_work(run):
    """Return those of them that have a connection to the run's simulator; another may have just been started."""
    port = int(run.simulator.url.rpartition(":")[2])
    found = []
    for one in actors():
        with suppress(psutil.NoSuchProcess):
            if any(link.raddr and link.raddr.port == port for link in one.net_connections("tcp")):
                found.append(one)
    return found


def test_every_row_is_answered_with_the_nodes_own_key(runs):
    """The driver's process has no key at all but to begin with; the nodes send their own, and one pace holds."""
    run = runs(rpm=6_000, more="requests_per_minute = 6000\n")
    code, summary, said = run.run(key="sk-the-driver-has-another-1")
    assert (code, summary.get("succeeded")) == (0, ROWS), said
    assert run.served()["requests"] <= ROWS * 1.01
    assert KEY not in said
    assert run.books_agree(summary)


def test_the_nodes_send_each_endpoint_its_own_key(runs):
    """The same server twice under two names of the key, of which each node has both; the driver has neither."""
    two = '[[model.endpoints]]\nrequests_per_minute = 6000\n[[model.endpoints]]\napi_key_env = "CLUSTER_OTHER_KEY"\n'
    run = runs(more=two)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLUSTER_OTHER_KEY", "sk-the-driver-has-another-2")
        code, summary, said = run.run(key="sk-the-driver-has-another-1")
    assert (code, summary.get("succeeded")) == (0, ROWS), said
    assert all(one["rows"] and not one["failed"] for one in summary["endpoints"])
    assert run.books_agree(summary)


def test_a_killed_actor_costs_what_it_had(runs):
    """The others go on, another takes its place, no row is lost."""
    run = runs(latency_ms=80)
    process = run.start()
    run.answered(30)
    at_work(run)[0].kill()
    code, summary, said = run.end(process)
    assert (code, summary.get("succeeded"), summary.get("failed")) == (0, ROWS, 0), said
    assert "was lost" in said
    assert summary["possibly_billed"]["requests"] <= 12
    assert run.books_agree(summary)


def test_a_removed_node_costs_what_it_had(runs, cluster):
    """Also where the node goes with its raylet; the one that is left does the rest."""
    run = runs(latency_ms=80)
    node = cluster.add_node(num_cpus=2, object_store_memory=STORE)
    process = run.start()
    wait_until(lambda: len(actors()) >= 3, 60)
    run.answered(30)
    cluster.remove_node(node)
    code, summary, said = run.end(process)
    assert (code, summary.get("succeeded"), summary.get("failed")) == (0, ROWS, 0), said
    assert run.books_agree(summary)


@pytest.mark.slow
def test_no_actor_outlives_a_driver_that_is_killed_and_the_run_goes_on(runs):
    """Ray ends the actors of an owner that is gone; only what was in flight is asked twice."""
    run = runs(latency_ms=80)
    process = run.start()
    run.answered(60)
    process.kill()
    process.communicate()
    wait_until(lambda: not actors(), 60)
    code, summary, said = run.run()
    assert (code, summary.get("succeeded")) == (0, ROWS), said
    assert run.served()["requests"] <= ROWS + 24


def test_a_secret_in_the_job_is_not_sent_to_nodes(runs):
    """It is refused with the form that keeps it out of the job."""
    run = runs()
    run.job.write_text(
        run.job.read_text().replace(
            "[model.parameters]", '[model.headers]\nX-Api-Token = "s3cret-9"\n[model.parameters]'
        )
    )
    code, _, said = run.run()
    assert code == 2
    assert "env =" in said
    assert "s3cret-9" not in said


def test_an_address_without_a_cluster_is_told(runs, cluster):
    """The run stops with Ray's own words, its rows pending."""
    run = runs()
    run.job.write_text(run.job.read_text().replace(cluster.address, "127.0.0.1:1"))
    code, summary, said = run.run()
    assert (code, summary["pending"]) == (3, ROWS)
    assert "127.0.0.1:1" in said


@pytest.mark.slow
def test_without_any_node_the_run_waits_and_goes_on_when_one_joins(tmp_path):
    """It says so; no row is lost, and what the lost nodes had is possibly billed."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLUSTER_TEST_KEY", KEY)
        patch.setenv("CLUSTER_OTHER_KEY", KEY)
        made = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False},
        )
        node = made.add_node(num_cpus=2, object_store_memory=STORE)
        more = f'[limits]\nconcurrency = 12\n[engine]\nkind = "ray"\naddress = "{made.address}"\n'
        run = Runs(tmp_path, ROWS, more=more, latency_ms=80)
        try:
            process = run.start("--log", str(tmp_path / "log.jsonl"))
            run.answered(30)
            made.remove_node(node)
            wait_until(lambda: "No worker is left" in (tmp_path / "log.jsonl").read_text(), 60)
            made.add_node(num_cpus=2, object_store_memory=STORE)
            code, summary, said = run.end(process)
            assert (code, summary.get("succeeded")) == (0, ROWS), said
            assert run.books_agree(summary)
        finally:
            run.close()
            made.shutdown()


def test_a_damaged_installation_is_said_before_anything_is_sent(runs, tmp_path):
    """Ray that is there and cannot be imported, as after an update of Python: a sentence, and how to mend it."""
    run = runs()
    (tmp_path / "modules" / "ray").mkdir(parents=True)
    (tmp_path / "modules" / "ray" / "__init__.py").write_text("raise ImportError('no such symbol')\n")
    code, _, said = run.run(path=tmp_path / "modules")
    assert code == 2
    assert "cannot be imported (no such symbol)" in said
    assert "--force-reinstall" in said
    assert run.served()["requests"] == 0
