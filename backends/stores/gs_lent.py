"""Google's credentials that are lent: by another identity provider, or for another account.

A federated identity shows a token that somebody else gave it, which lies in a file or at a URL,
and gets one of Google's for it. Either that, or whoever may act for a service account, gets that
account's token. Programs that print tokens are not run, and AWS's own signatures are not made.

Source:
    AIP-4117, "External Account Credentials"; RFC 8693; "Create short-lived credentials",
    ``generateAccessToken``.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import cast

from ...config.foreign_json import readable
from .errors import StoreDenied, StoreUnsupported
from .http_ranges import HttpClient, refusal
from .tokens import MOST_TOKEN_BYTES, basic, bearer

SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""What is needed to act for another account."""

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS = "urn:ietf:params:oauth:token-type:access_token"
_LIFE_S = 3600
_OK = 200
_CLIENT_SIDE = frozenset({400, 401, 403})


def flat(key: Mapping[str, object]) -> Mapping[str, object]:
    """A key file whose account acts for another: the account's own, and for whom it acts.

    Args:
        key: Of any type.
    """
    source = key.get("source_credentials")
    if key.get("type") != "impersonated_service_account" or not isinstance(source, dict):
        return key
    kept = ("service_account_impersonation_url", "delegates", "quota_project_id")
    lent = {name: key[name] for name in kept if name in key}
    return {**cast("Mapping[str, object]", source), **lent}


def exchange(
    client: HttpClient, key: Mapping[str, object], *, scope: str
) -> tuple[dict[str, str], dict[str, str]]:
    """What a federated identity sends for a token: the form, and who sends it.

    Raises:
        StoreUnsupported: Its token comes in a way that is not followed here.
        StoreDenied: Its token cannot be read.
        StoreUnreachable: Who gives it out does not answer.
    """
    user, secret = text_of(key, "client_id"), text_of(key, "client_secret")
    form = {
        "grant_type": _GRANT,
        "audience": text_of(key, "audience"),
        "scope": scope,
        "requested_token_type": _ACCESS,
        "subject_token": _subject_token(client, _table(key.get("credential_source"))),
        "subject_token_type": text_of(key, "subject_token_type"),
    }
    return form, basic(user, secret) if user and secret else {}


def lent(client: HttpClient, key: Mapping[str, object], token: str) -> tuple[str, float]:
    """The token of the account for which another one acts, and until when it is good.

    Args:
        client: Asks for it.
        key: Names the account by a URL.
        token: Of the one that acts.

    Raises:
        StoreDenied: It may not.
        StoreUnreachable: No answer, or none that makes sense.
    """
    asked: dict[str, object] = {"scope": [SCOPE], "lifetime": f"{_LIFE_S}s"}
    if isinstance(key.get("delegates"), list):
        asked["delegates"] = key["delegates"]
    headers = {"content-type": "application/json"}
    answer = client.ask(
        text_of(key, "service_account_impersonation_url"),
        headers=headers,
        auth=bearer(token, store=client.store),
        form=json.dumps(asked).encode(),
        most_bytes=MOST_TOKEN_BYTES * 4,
    )
    if answer.status in _CLIENT_SIDE:
        reason = "the account may not act for the one that the credentials file names"
        raise StoreDenied(store=client.store, reason=reason)
    if answer.status != _OK:
        raise refusal(answer, store=client.store, model="")
    match readable(answer.body):
        case {"accessToken": str(text), "expireTime": str(until)} if text:
            try:
                return text, datetime.fromisoformat(until).timestamp()
            except ValueError:
                pass
        case _:
            pass
    raise StoreDenied(store=client.store, reason="the account that is acted for gives no token")


def text_of(key: Mapping[str, object], name: str) -> str:
    """What a key file says under a name; empty if that is no text."""
    found = key.get(name)
    return found if isinstance(found, str) else ""


def _subject_token(client: HttpClient, source: Mapping[str, object]) -> str:
    file, url = text_of(source, "file"), text_of(source, "url")
    if file:
        try:
            with Path(file).expanduser().open("rb") as opened:
                said = opened.read(MOST_TOKEN_BYTES)
        except OSError:
            reason = f"the token file {file} cannot be read"
            raise StoreDenied(store=client.store, reason=reason) from None
    elif url:
        named = _table(source.get("headers"))
        headers = {name.lower(): text for name, text in named.items() if isinstance(text, str)}
        answer = client.ask(url, auth=headers, most_bytes=MOST_TOKEN_BYTES)
        if answer.status != _OK:
            raise refusal(answer, store=client.store, model="", denied="it gives no token")
        said = answer.body
    else:
        needs = "a federated identity whose token comes from a file or a URL"
        raise StoreUnsupported(scheme="gs", needs=needs)
    form = _table(source.get("format"))
    if text_of(form, "type") == "json":
        token = text_of(_table(readable(said)), text_of(form, "subject_token_field_name"))
    else:
        token = said.decode("utf-8", "replace").strip()
    if not token:
        raise StoreDenied(store=client.store, reason="the federated identity has no token")
    return token


def _table(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
