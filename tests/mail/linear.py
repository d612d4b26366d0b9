"""Whether the time of a reader grows with the length of what it reads alone."""

import time


def assert_linear(read, shape, size):
    """Assert that eight times `size` takes far less than the 64 times of a square; the best of three counts."""

    def seconds(length):
        raw = shape(length).encode()
        times = []
        for _ in range(3):
            begun = time.process_time()
            read(raw)
            times.append(time.process_time() - begun)
        return min(times)

    assert seconds(8 * size) < 24 * seconds(size) + 0.02
