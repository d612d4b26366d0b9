"""Keys of LiteLLM's proxy without a database; the proxy loads this file as its `custom_auth`."""

from fastapi import HTTPException, Request
from litellm.proxy._types import UserAPIKeyAuth

LIMITS = {
    "sk-unlimited-0123456789abcdef": {},
    "sk-limited-plain-0123456789abcdef": {"rpm_limit": 150},
    "sk-limited-stream-0123456789abcdef": {"rpm_limit": 150},
    "sk-tokens-0123456789abcdef": {"tpm_limit": 6000},
}


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    """Admit the keys above with their limits; any other is refused with 401."""
    if api_key not in LIMITS:
        raise HTTPException(status_code=401, detail="Authentication Error: this key is not known")
    return UserAPIKeyAuth(api_key=api_key, **LIMITS[api_key])
