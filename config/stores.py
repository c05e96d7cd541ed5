"""How each kind of store is reached: the tables under ``[stores]``.

Secrets are never keys: a table names the file, the profile or the variable that holds one.
"""

from typing import Annotated, Literal

from .rules import Bound
from .section import Section, absent

HostPort = Annotated[
    str,
    Bound(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(:[0-9]{1,5})?$"),
]
"""A host by name or by address, and perhaps a port; IPv6 addresses in brackets."""

KeychainName = Annotated[str, Bound(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")]
"""What an entry of the macOS keychain may be called: nothing its own tool takes for a flag."""


class S3(Section):
    """``[stores.s3]``: S3, or whatever speaks S3.

    Attributes:
        endpoint: Wins over ``AWS_ENDPOINT_URL_S3``, which wins over ``AWS_ENDPOINT_URL``. R2:
            ``https://ACCOUNT.r2.cloudflarestorage.com`` with region ``auto``; MinIO and Ceph:
            their own URL, and no region if they have none.
        addressing: ``auto`` is path style everywhere but at AWS itself.
        unsigned: Ask without credentials, for public buckets.
        profile: A profile of the shared AWS configuration files.
        ca_file: PEM file; wins over ``AWS_CA_BUNDLE``.
        requester_pays: Say that our account pays for what is read.
        etag_is_md5: Hold an object of which nobody promised a sha256 to its tag, if that may be an
            MD5, of the whole or of parts; it takes 1.5 s of a processor for each GiB.
            ``false``: this server's tags are never MD5s, or that is too much.
        engine: What reads. ``direct``: our own sockets. ``portable``: aiobotocore, which takes two
            to four times the processor time and goes through the proxy that ``HTTP_PROXY``,
            ``HTTPS_PROXY`` and ``NO_PROXY`` name.
    """

    endpoint: str | None = None
    region: str | None = None
    addressing: Literal["path", "virtual", "auto"] = "auto"
    unsigned: bool = False
    profile: str | None = None
    ca_file: str | None = None
    requester_pays: bool = False
    etag_is_md5: bool = True
    engine: Literal["direct", "portable"] = "direct"


class Gs(Section):
    """``[stores.gs]``: Google Cloud Storage.

    Attributes:
        endpoint: Wins over ``STORAGE_EMULATOR_HOST``, which wins over Google's own.
        auth: ``auto``: application-default credentials where Google's own endpoint is going to
            see them and there are any, else none. ``adc``: those, wherever it goes. ``machine``:
            the machine's own account, from Google's metadata server. ``hmac``: keys of the S3
            kind, from the AWS chain. ``none``: for public buckets.
        credentials_file: Wins over ``GOOGLE_APPLICATION_CREDENTIALS``, which wins over what
            ``gcloud auth application-default login`` left, which wins over the own account of a
            machine that says that it is Google's.
        hmac_profile: A profile of the shared AWS files that holds the HMAC keys.
        user_project: The project that pays for what is read.
        ca_file: PEM file.
    """

    endpoint: str | None = None
    auth: Literal["auto", "adc", "machine", "hmac", "none"] = "auto"
    credentials_file: str | None = None
    hmac_profile: str | None = None
    user_project: str | None = None
    ca_file: str | None = None


class Hf(Section):
    """``[stores.hf]``: Hugging Face, or a mirror of it.

    Attributes:
        endpoint: Wins over ``HF_ENDPOINT``, which wins over ``https://huggingface.co``.
        token_file: Holds a token; wins over ``HF_TOKEN`` and what ``hf auth login`` left.
        ignore_local_cache: Download even what lies whole in huggingface_hub's own cache.
        ca_file: PEM file.
    """

    endpoint: str | None = None
    token_file: str | None = None
    ignore_local_cache: bool = False
    ca_file: str | None = None


class Ngc(Section):
    """``[stores.ngc]``: NVIDIA NGC.

    Attributes:
        endpoint: Wins over ``NGC_API_ENDPOINT``, which wins over ``https://api.ngc.nvidia.com``.
        auth_endpoint: Where keys become tokens; wins over ``NGC_AUTH_ENDPOINT``, which wins over
            ``https://authn.nvidia.com``.
        key_file: Holds an API key; wins over ``NGC_API_KEY``, ``NGC_CLI_API_KEY`` and the NGC
            command line's own configuration.
        ca_file: PEM file.
    """

    endpoint: str | None = None
    auth_endpoint: str | None = None
    key_file: str | None = None
    ca_file: str | None = None


class Https(Section):
    """``[stores.https]``: registries' manifests on the web.

    Attributes:
        ca_file: PEM file.
    """

    ca_file: str | None = None


class Stores(Section):
    """``[stores]``: how to reach each kind of store.

    Attributes:
        trusted_hosts: Hosts, as ``host`` or ``host:port``, that may be asked although their
            address is private or their line unencrypted. A configured endpoint is among them
            by itself.
    """

    trusted_hosts: tuple[HostPort, ...] = ()
    s3: S3 = absent()
    gs: Gs = absent()
    hf: Hf = absent()
    ngc: Ngc = absent()
    https: Https = absent()
