"""The packages that only some commands need (extras of the package), and how to get one that is missing."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import shutil
import sys
from pathlib import Path

EXTRAS = {
    "attach": {"PIL": "pillow>=10,<14", "pypdfium2": "pypdfium2>=4.30,<6"},
    "azure": {"obstore": "obstore>=0.8,<1"},
    "estimate": {"tiktoken": "tiktoken>=0.8,<1", "dashscope": "dashscope>=2.0.2,<3"},
    "gcs": {"obstore": "obstore>=0.8,<1"},
    "hf": {"huggingface_hub": "huggingface-hub>=1,<3"},
    "mail": {"charset_normalizer": "charset-normalizer>=3.4,<4", "selectolax": "selectolax>=1,<2"},
    "evaluate": {"numpy": "numpy>=1.26"},
    "oss": {"alibabacloud_oss_v2": "alibabacloud-oss-v2>=1.1,<2"},
    "ray": {"ray": "ray>=2.40,<3"},
    "s3": {"boto3": "boto3>=1.35", "obstore": "obstore>=0.8,<1"},
    "view": {"duckdb": "duckdb>=1.3,<3", "starlette": "starlette>=0.45,<2", "uvicorn": "uvicorn>=0.34,<1"},
    "xlsx": {"python_calamine": "python-calamine>=0.4,<1", "xlsxwriter": "xlsxwriter>=3.2.9,<4"},
}
"""Extra → module → what pip is asked for, as in pyproject.toml."""


def missing(extra: str, *modules: str) -> str | None:
    """Return what is missing of an extra and the command that installs it; None where all (or all `modules`) are there.

    The command names the packages themselves, so that it is right in a checkout and for an installed wheel alike.
    """
    wanted = EXTRAS[extra]
    lacking = [wanted[module] for module in modules or wanted if not _is_there(module)]
    if not lacking:
        return None
    names = [requirement.partition(">")[0] for requirement in lacking]
    return f"{' and '.join(names)} (extra {extra}): {_pip()} install {shlex.join(lacking)}"


def unusable(extra: str, *modules: str) -> str | None:
    """Return what `missing` says, or which module is there and cannot be imported, and how to install it anew."""
    if (lacking := missing(extra, *modules)) is not None:
        return lacking
    for module in modules or EXTRAS[extra]:
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever a damaged installation raises
            wanted = EXTRAS[extra][module]
            name, again = wanted.partition(">")[0], f"{_pip()} install --force-reinstall {shlex.quote(wanted)}"
            return f"{name} (extra {extra}), which is installed and cannot be imported ({error}): {again}"
    return None


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # it is kept from being imported
        return False


def _pip() -> str:
    """Return pip as a shell finds it, if that one installs for this interpreter."""
    found = shutil.which("pip")
    if found is not None and Path(found).parent == Path(sys.executable).parent:
        return "pip"
    return f"{shlex.quote(sys.executable)} -m pip"
