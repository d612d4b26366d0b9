"""What is said of each of several endpoints, in a run's last lines and by `status`."""

from __future__ import annotations

from batchgen.storage.run_state import EndpointShown
from batchgen.text.figures import money, quantity


def endpoint_text(one: EndpointShown, currency: str) -> str:
    """Return what one of several endpoints has done."""
    rows = "" if one.rows is None else quantity(one.rows, "row")
    cost = "" if one.cost is None else f", {money(one.cost, currency)}"
    lost = f", {one.possibly_billed:,} may be billed without an answer" if one.possibly_billed else ""
    out = f"; left out: {one.left_out}" if one.left_out else ""
    since = "; in this run " if rows else ""
    return (
        f"{rows}{cost}{since}{quantity(one.requests, 'request')}, {one.rate_limited:,} rate-limited, {one.failed:,} "
        f"failed{lost}{out}"
    )
