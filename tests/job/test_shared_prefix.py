"""What a provider's prompt cache can serve of a job's requests."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.job.endpoint import Endpoint
from batchgen.job.parts import assemble
from batchgen.job.settings import parse_job
from batchgen.job.shared_prefix import shared_prefix

LONG = "Read the mail with care and note what it says of the order. " * 120


@pytest.fixture
def prefix_of(tmp_path):
    """Return what rows of a job share; keyword arguments are its tables."""

    def prefix(texts=("one", "two", "three"), *, model="qwen-plus", **prompt):
        pq.write_table(pa.table({"text": list(texts)}), tmp_path / "in.parquet")
        table = {
            "name": "test",
            "input": {"path": str(tmp_path / "in.parquet")},
            "prompt": prompt,
            "model": {"provider": "dashscope", "name": model, "parameters": {"max_tokens": 9}},
            "output": {"path": str(tmp_path / "out")},
        }
        endpoint = Endpoint("https://dashscope-intl.aliyuncs.com", None, "here")
        return shared_prefix(assemble(parse_job(table, "test"), endpoint))

    return prefix


@pytest.mark.parametrize("prompt", [{"system": LONG, "user": "{{ text }}"}, {"user": LONG + "{{ text }}"}])
def test_what_stands_before_the_row_is_shared(prefix_of, prompt):
    """Its tokens within a tenth, and what the cache takes less for them."""
    found = prefix_of(**prompt)
    assert len(LONG) / 4.4 < found.tokens < len(LONG) / 3.6
    assert found.saving > 0


def test_what_stands_behind_it_is_not(prefix_of):
    """Nor is a short beginning, a single row, or that of a model whose price nobody knows."""
    assert prefix_of(user="{{ text }}" + LONG) is None
    assert prefix_of(system="Be brief.", user="{{ text }}") is None
    assert prefix_of(["one"], system=LONG, user="{{ text }}") is None
    assert prefix_of(system=LONG, user="{{ text }}", model="nobody-knows") is None
