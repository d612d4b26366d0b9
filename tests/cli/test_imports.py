"""What a plain run imports: each module costs time and memory at every start, and some of them much."""

import json
import os
import subprocess
import sys

from tests.benchmarks.server import serving
from tests.benchmarks.whole_run import JOB, SYSTEM, write_input

RUN = """
import json, runpy, sys
try:
    runpy.run_module("batchgen", run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code, ended.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
NEEDLESS = (
    "pyarrow.compute",
    "pyarrow.dataset",
    "batchgen.answers.structured",
    "batchgen.cluster",
    "batchgen.providers.anthropic_messages",
    "batchgen.providers.file_batches",
    "batchgen.report.accumulate",
)


def test_a_plain_run_imports_only_what_it_uses(tmp_path):
    write_input(tmp_path / "input.parquet", 3)
    job = tmp_path / "job.toml"
    with serving() as url:
        places = {"input": tmp_path / "input.parquet", "output": tmp_path / "out", "base_url": url}
        job.write_text(JOB.format(system=SYSTEM, provider="dashscope", concurrency=64, **places))
        command = [sys.executable, "-c", RUN, "run", str(job), "--json", "--no-progress"]
        environment = {**os.environ, "BENCHMARK_API_KEY": "sk-0123456789abcdef"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=True)
    imported = json.loads(run.stderr.splitlines()[-1])
    assert "batchgen.storage.parts" in imported
    assert not [name for name in imported if name.startswith(NEEDLESS)]
