"""One run over several processes or machines: they send the requests, this process decides everything.

Pace, budget, journal and output stay in the process that was started (the driver). A worker gets a request when the
driver's pacer has let it go, sends it over connections of its own and with the key of its own environment, and hands
the reply back. So there is one pace and one budget however many workers there are, and a worker that is lost costs what
it had in flight, no more.

`transport` is what the engine sees; `pool` holds the workers, which `processes` or `ray_nodes` start; `sender` is what
runs in each; `messages` is what they say to each other.
"""

from __future__ import annotations

from batchgen.cluster.open import open_workers

__all__ = ["open_workers"]
