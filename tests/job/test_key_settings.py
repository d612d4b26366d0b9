"""The settings a report shows."""

from batchgen import load_job
from batchgen.job.key_settings import key_settings

JOB = """
name = "shown"
[input]
path = "in.csv"
[prompt]
system = "a secret recipe"
user = "{{ text }}"
[model]
provider = "dashscope"
name = { column = "model" }
[model.parameters]
max_tokens = 64
stop = ["a", "b"]
response_format = { type = "json_object" }
[model.headers]
X-Token = "hush"
[limits]
budget = 2.50
[output]
path = "out"
"""


def test_settings_without_prompts_and_secrets(tmp_path):
    """Every key that is set by its dotted path; no prompt, no header's value."""
    path = tmp_path / "job.toml"
    path.write_text(JOB, encoding="utf-8")
    shown = key_settings(load_job(path))
    assert shown["name"] == "shown"
    assert shown["model.name.column"] == "model"
    assert shown["model.parameters.max_tokens"] == 64
    assert shown["model.parameters.stop"] == '["a","b"]'
    assert shown["model.parameters.response_format"] == '{"type":"json_object"}'
    assert shown["model.headers"] == "X-Token"
    assert shown["limits.budget"] == "2.5"
    assert shown["limits.timeout_s"] == 300.0
    assert "limits.requests_per_minute" not in shown
    assert not [value for value in map(str, shown.values()) if "recipe" in value or "hush" in value or "{{" in value]


def test_a_key_in_an_address_is_masked(tmp_path):
    """User and password of an address, and what follows its `?`, are not shown."""
    path = tmp_path / "job.toml"
    path.write_text(JOB, encoding="utf-8")
    job = load_job(path, **{"model.base_url": "https://me:hush@host.example:8443/v1?key=hush"})
    assert key_settings(job)["model.base_url"] == "https://host.example:8443/v1"


def test_the_workspace_is_shown(tmp_path):
    """A vendor's bill names it; it is no secret, as other headers may be."""
    path = tmp_path / "job.toml"
    path.write_text(JOB.replace("[limits]", 'X-DashScope-WorkSpace = "llm-7"\n[limits]'), encoding="utf-8")
    shown = key_settings(load_job(path))
    assert shown["model.workspace"] == "llm-7"
    assert "hush" not in str(shown)
