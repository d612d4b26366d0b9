"""Keys of LiteLLM's proxy without a database: the proxy loads this file as its `custom_auth`."""

KEYS = {
    "sk-unlimited-0123456789abcdef": {},
    "sk-limited-0123456789abcdef": {"rpm_limit": 150},
}
"""Key → its limits, as fields of the proxy's own `UserAPIKeyAuth`."""


async def check(_request, api_key):
    """Admit the keys above; the proxy answers 401 to any other."""
    from fastapi import HTTPException
    from litellm.proxy._types import UserAPIKeyAuth

    if api_key not in KEYS:
        raise HTTPException(status_code=401, detail="Authentication Error: this key is not known")
    return UserAPIKeyAuth(api_key=api_key, **KEYS[api_key])
