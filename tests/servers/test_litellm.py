"""LiteLLM's proxy with mock models: its limits are waited out, its refusals stop the run."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import results_of
from tests.cli.test_run import write_csv
from tests.servers.litellm_keys import KEYS
from tests.servers.server import Server
