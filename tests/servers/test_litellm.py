"""LiteLLM's proxy with mock models: its limits are waited out, its refusals stop the run."""

from __future__ import annotations
