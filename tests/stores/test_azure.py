"""What is promised of a store and of an output in one, at Azure Blob Storage: the tests of S3, against other servers.

Azurite, Microsoft's emulator, is used where the program `azurite-blob` is found (`npm install -g azurite`).
"""

import pytest

from batchgen.errors import OutputError
from batchgen.storage.mirror import Claim
from batchgen.stores import opening, protocol
from batchgen.text.storable import json_bytes
from tests.storage import test_target as targets
from tests.stores import test_stores as stores
from tests.stores.azure_server import AZURITE, AzureServer

needs_azurite = pytest.mark.skipif(AZURITE is None, reason="azurite-blob is not installed (npm install -g azurite)")
home = targets.home

STORES = [
    stores.test_objects_are_created_and_never_replaced,
    stores.test_whether_one_may_write_is_asked_without_writing,
    stores.test_a_file_is_put_as_it_lies,
    stores.test_an_object_is_replaced_in_the_version_that_was_seen,
    stores.test_a_small_object_that_is_replaced_while_it_is_read_is_read_anew,
    stores.test_ranges_are_read,
    stores.test_what_is_below_a_folder_is_listed,
    stores.test_what_is_missing_is_told_from_what_is_wrong,
    stores.test_a_job_runs_from_it_and_to_it,
]
TARGETS = [
    (targets.test_a_run_is_published_whole, {}),
    (targets.test_a_second_machine_is_refused_before_it_pays, {}),
    (targets.test_a_claim_is_sure_on_servers_that_forget_replies, {}),
    (targets.test_a_lost_reply_to_the_last_write_is_settled_by_reading, {}),
    (targets.test_an_outage_pauses_the_run_and_loses_nothing, {}),
    (targets.test_a_store_that_refuses_for_good_stops_the_run, {}),
    (targets.test_read_only_credentials_are_found_out_before_anything_is_paid, {"fault": 403}),
    (targets.test_check_finds_out_whether_the_results_could_be_put, {"fault": None, "told": None}),
    (targets.test_check_finds_out_whether_the_results_could_be_put, {"fault": 403, "told": "access is refused"}),
    (targets.test_check_names_who_has_claimed_the_output, {}),
    (targets.test_a_damaged_object_is_noticed_by_who_copies_it, {}),
]
LONG = [
    (targets.test_an_update_leaves_the_old_generation_as_it_was, {}),
    (targets.test_retried_rows_are_published_in_a_generation_of_their_own, {}),
    (targets.test_every_request_may_fail_twice, {"fault": "lost"}),
    (targets.test_every_request_may_fail_twice, {"fault": 503}),
    (targets.test_an_interruption_does_not_wait_for_a_store_that_is_out_of_order, {}),
    (targets.test_another_machine_goes_on_with_what_is_published, {}),
    *(
        (targets.test_a_kill_leaves_the_old_or_the_new, {"boundary": boundary, "after": after})
        for boundary in targets.BOUNDARIES
        for after in (False, True)
    ),
]


@pytest.fixture(scope="module", params=["stub", pytest.param("azurite", marks=[needs_azurite, pytest.mark.servers])])
def server(request):
    """Azure's protocol, served by a stub and by Azurite."""
    with AzureServer(azurite=request.param == "azurite") as opened:
        yield opened


@pytest.fixture
def azure(server, monkeypatch):
    """The server without faults, with the empty containers `rows` and `out`, and the environment of its user."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(protocol, "sleep", lambda seconds: None)
    monkeypatch.setattr(targets, "ADDRESS", "az://out/run")
    server.fault = lambda method, path: None
    server.bucket("rows")
    server.bucket("out")
    opening._opened.cache_clear()
    yield server
    server.fault = lambda method, path: None
    opening._opened.cache_clear()


def called(request, promise, **given):
    """Call a test of another module with its fixtures."""
    names = promise.__code__.co_varnames[: promise.__code__.co_argcount]
    promise(**{name: given[name] if name in given else request.getfixturevalue(name) for name in names})


@pytest.mark.parametrize("promise", STORES, ids=lambda promise: promise.__name__[5:])
def test_it_keeps_what_the_protocol_promises(azure, request, promise):
    """As every store."""
    called(request, promise, root="az://rows")


@pytest.mark.parametrize(
    ("promise", "more"),
    [
        pytest.param(promise, more, id=f"{promise.__name__[5:]}{more or ''}", marks=marks)
        for promises, marks in ((TARGETS, ()), (LONG, pytest.mark.slow))
        for promise, more in promises
    ],
)
def test_it_keeps_what_is_promised_of_an_output(azure, home, request, promise, more):
    """As S3."""
    called(request, promise, s3=azure, home=home, **more)


def test_a_claim_that_is_overwritten_is_given_up(azure, home):
    """Here every put makes another version, so that it may be overwritten between two requests of a reader."""
    left = [json_bytes(Claim("other", "host", 1, "/state", "their job", "now"))]

    def overwrite(method, path):
        if left and method == "GET" and path.endswith("/run/claim.json") and azure.served("PUT", "claim"):
            azure.put("out", "run/claim.json", left.pop())

    azure.fault = overwrite
    with pytest.raises(OutputError, match="claimed by the run of their job on host"):
        targets.run(targets.job(home, 5))


def test_a_container_that_is_not_there_is_named(azure, home):
    """Before anything is paid."""
    missing = targets.job(home, output={"path": "az://nowhere/out"})
    assert "az://nowhere does not exist" in targets.check(missing)
