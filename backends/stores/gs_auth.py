"""Google's application-default credentials, as far as a node needs them: key files become tokens.

A service account's key signs a short statement, a person's login has a refresh token; both are
exchanged for a bearer token of an hour, which is renewed five minutes before its end. What is
lent stands in :mod:`.gs_lent`. The machine's own account is asked only if the operator says so, or
if there is no key file and the machine says that it is Google's: elsewhere that would probe an
address that is not there. Other kinds of credentials are refused by name.

Source:
    "Using OAuth 2.0 for Server to Server Applications" (HTTP/REST); "How Application Default
    Credentials works"; Compute Engine, "Authenticate workloads", metadata server.
"""

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

from ...config.foreign_json import readable
from ...config.frozen import frozen
from . import gs_lent
from .errors import StoreDenied, StoreUnsupported, WeightsError
from .http_ranges import HttpClient, refusal
from .tokens import bearer

TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  # where, not what
METADATA_HOST = "metadata.google.internal"
RENEW_BEFORE_S = 300.0

_LIFE_S = 3600
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
_MOST_KEY_BYTES = 2**16
_PRODUCT = Path("/sys/class/dmi/id/product_name")
_MOST_NAME_BYTES = 64
_MOST_ANSWER_BYTES = 2**16
_OK = 200


@frozen
class _Token:
    text: str = field(repr=False)
    until_s: float


class GoogleTokens:
    """Bearer tokens for one store; safe to use from many threads.

    Args:
        client: Asks for them; its guard judges where the key file sends us.
        key: The parsed key file; ``None``: the machine's own account.
        metadata_host: Where that is asked for.
        clock: Seconds since the epoch.

    Raises:
        StoreUnsupported: Credentials of this kind are not understood.
    """

    def __init__(
        self,
        client: HttpClient,
        key: Mapping[str, object] | None,
        *,
        metadata_host: str = METADATA_HOST,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._key = None if key is None else gs_lent.flat(key)
        self._metadata_host = metadata_host
        self._clock = clock
        self._lock = threading.Lock()
        self._token: _Token | None = None
        kind = None if self._key is None else self._key.get("type")
        if kind not in {None, "service_account", "authorized_user", "external_account"}:
            needs = f"credentials of another type than {kind!r}"
            raise StoreUnsupported(scheme="gs", needs=needs)

    def headers(self) -> dict[str, str]:
        """The header that shows the token; waits for a new one if the old one ends soon.

        Raises:
            StoreDenied: The key is no good.
            StoreUnreachable: Whoever gives out tokens does not answer.
        """
        with self._lock:
            token = self._token
            if token is None or self._clock() >= token.until_s - RENEW_BEFORE_S:
                token = self._token = self._asked()
        return bearer(token.text, store=self._client.store)

    @property
    def payer(self) -> str:
        """The project that the key file names for what is read; empty: none."""
        return self._text("quota_project_id")

    def forget(self) -> None:
        """Ask for a new token next time."""
        with self._lock:
            self._token = None

    def _asked(self) -> _Token:
        now_s, scope = self._clock(), gs_lent.SCOPE
        if self._text("service_account_impersonation_url"):
            scope = gs_lent.CLOUD_SCOPE
        headers, auth = dict[str, str](), dict[str, str]()
        if self._key is None:
            url, form = f"http://{self._metadata_host}{_METADATA_PATH}", None
            headers = {"metadata-flavor": "Google"}
        elif self._text("type") == "external_account":
            url = self._text("token_url")
            fields, auth = gs_lent.exchange(self._client, self._key, scope=scope)
            form = urlencode(fields).encode()
        else:
            url = self._text("token_uri") or TOKEN_URL
            form = urlencode(self._form(url, scope)).encode()
        answer = self._client.ask(
            url, headers=headers, auth=auth, form=form, most_bytes=_MOST_ANSWER_BYTES
        )
        if answer.status != _OK:
            raise self._refused(answer.status) or refusal(
                answer, store=self._client.store, model="", denied="its account has no token"
            )
        found = readable(answer.body)
        match found:
            case {"access_token": str(text), "expires_in": int() | float() as life_s} if text:
                return self._for_another(_Token(text, now_s + life_s))
            case _:
                raise StoreDenied(store=self._client.store, reason="its account gives no token")

    def _for_another(self, token: _Token) -> _Token:
        if self._key is None or not self._text("service_account_impersonation_url"):
            return token
        return _Token(*gs_lent.lent(self._client, self._key, token.text))

    def _refused(self, status: int) -> WeightsError | None:
        if status in {400, 401, 403}:
            reason = "the credentials are no longer good: make a new key, or log in again"
            return StoreDenied(store=self._client.store, reason=reason)
        return None

    def _form(self, url: str, scope: str) -> dict[str, str]:
        if self._text("type") == "authorized_user":
            fields = ("client_id", "client_secret", "refresh_token")
            return {"grant_type": "refresh_token", **{name: self._text(name) for name in fields}}
        issued_s = int(self._clock())
        head = {"alg": "RS256", "typ": "JWT", "kid": self._text("private_key_id")}
        claims = {
            "iss": self._text("client_email"),
            "scope": scope,
            "aud": url,
            "iat": issued_s,
            "exp": issued_s + _LIFE_S,
        }
        said = b".".join(_packed(json.dumps(part).encode()) for part in (head, claims))
        assertion = said + b"." + _packed(self._signed(said))
        return {"grant_type": _GRANT, "assertion": assertion.decode()}

    def _signed(self, said: bytes) -> bytes:
        try:
            from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # an extra
            from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
            from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
        except ImportError:
            needs = "pip install 'poolhand[gs]'"
            raise StoreUnsupported(scheme="gs", needs=needs) from None
        pem = self._text("private_key").encode()
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            reason = "the key file holds no RSA key"
            raise StoreDenied(store=self._client.store, reason=reason) from None
        return key.sign(said, padding.PKCS1v15(), hashes.SHA256())

    def _text(self, name: str) -> str:
        return gs_lent.text_of(self._key or {}, name)


def key_file(configured: str | None, environ: Mapping[str, str]) -> Path | None:
    """Which key file wins; ``None`` if there is none anywhere."""
    named = configured or environ.get("GOOGLE_APPLICATION_CREDENTIALS", "").strip()
    if named:
        return Path(named).expanduser()
    folder = environ.get("CLOUDSDK_CONFIG", "").strip()
    usual = Path(folder) if folder else Path.home() / ".config" / "gcloud"
    path = usual.expanduser() / "application_default_credentials.json"
    return path if path.is_file() else None


def is_googles(environ: Mapping[str, str], product: Path = _PRODUCT) -> bool:
    """Whether this machine has an account of its own at Google's, as far as it says by itself.

    Args:
        environ: The process's own environment.
        product: What the machine's maker calls it.

    Source:
        google-auth, ``compute_engine._metadata``: ``GCE_METADATA_HOST``, ``NO_GCE_CHECK``,
        ``detect_gce_residency_linux``.
    """
    if environ.get("NO_GCE_CHECK", "").strip().lower() == "true":
        return False
    if environ.get("GCE_METADATA_HOST", "").strip():
        return True
    try:
        return product.read_bytes()[:_MOST_NAME_BYTES].startswith(b"Google")
    except OSError:
        return False


def read_key(path: Path, *, store: str) -> Mapping[str, object]:
    """Read a key file.

    Raises:
        StoreDenied: It cannot be read, or is no key file.
    """
    try:
        with path.open("rb") as opened:
            found: object = json.loads(opened.read(_MOST_KEY_BYTES))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        reason = f"the credentials file {path} cannot be read"
        raise StoreDenied(store=store, reason=reason)
    return cast("Mapping[str, object]", found)


def _packed(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
