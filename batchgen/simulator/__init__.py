"""A simulated provider: an HTTP server on a loopback port that speaks both wire formats, with faults on demand.

It imports nothing of batchgen but `values` and `errors`. Its replies are written from the vendors' documentation a
second time, so that a mistake in `providers/` shows up in tests. Only tests and the command line import it.
"""

from batchgen.simulator.answers import count_input_tokens, count_tokens, expected_answer
from batchgen.simulator.behaviour import Behaviour
from batchgen.simulator.exchange import HttpRequest, Reply
from batchgen.simulator.server import Simulator, SimulatorThread, serve, start_in_thread
from batchgen.simulator.settings import BLEMISHES, FAULTS, FIELD_HELP, LOST, STREAM_FAULTS, TRAITS, Settings
from batchgen.simulator.stats import request_digest

__all__ = [
    "BLEMISHES",
    "FAULTS",
    "FIELD_HELP",
    "LOST",
    "STREAM_FAULTS",
    "TRAITS",
    "Behaviour",
    "HttpRequest",
    "Reply",
    "Settings",
    "Simulator",
    "SimulatorThread",
    "count_input_tokens",
    "count_tokens",
    "expected_answer",
    "request_digest",
    "serve",
    "start_in_thread",
]
