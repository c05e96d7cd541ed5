"""How each kind of store is reached: the tables under ``[stores]``.

Secrets are never keys: a table names the file, the profile or the variable that holds one.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

ARRAY = Field(strict=False)
"""A TOML array becomes a tuple; what is in it stays strict."""


HostPort = Annotated[
    str,
    Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(:[0-9]{1,5})?$"),
]
"""A host by name or by address, and perhaps a port; IPv6 addresses in brackets."""

KeychainName = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")]
"""What an entry of the macOS keychain may be called: nothing its own tool takes for a flag."""


class Section(BaseModel):
    """Base of every table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class _OnDemand:
    """A table whose validator is built when the table is written, and never for one that is not.

    A validator takes longest of all that reading a file takes, and a file has few of the tables.
    """

    def __get_pydantic_core_schema__(
        self, source: type[Section], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def table(value: object) -> Section:
            # findings inside are told with the way to them: pydantic joins what it raised itself
            return unwritten(source) if value == {} else source.model_validate(value)

        return core_schema.no_info_plain_validator_function(
            table, metadata={TABLE: source.__name__}
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {TABLE: schema.get("metadata", {})[TABLE]}


TABLE = "x-table"
"""Under this key a schema names a table that has a schema of its own."""

T = TypeVar("T")
Table = Annotated[T, _OnDemand()]
"""A table that need not be written."""


def unwritten(table: type[Section]) -> Section:
    """A table as it is when nothing of it is written; its defaults are taken as they are."""
    inner = {
        name: unwritten(field.annotation)
        for name, field in table.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    return table.model_construct(None, **inner)


def absent() -> Any:  # noqa: ANN401  # a default of whatever table it stands for
    """A table that need not be written: as if it had been, with nothing in it.

    A default that is a value would be validated on its own, and build a validator of its own,
    for every table at every start; this one is read by the whole file's.
    """
    return Field(default_factory=dict, validate_default=True)


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
        etag_is_md5: Hold an object of which nobody promised a sha256 to its tag, if that has 32
            hexadecimal digits; it takes 1.5 s of a processor for each GiB. ``false``: this
            server's tags are never MD5s, or that is too much.
    """

    endpoint: str | None = None
    region: str | None = None
    addressing: Literal["path", "virtual", "auto"] = "auto"
    unsigned: bool = False
    profile: str | None = None
    ca_file: str | None = None
    requester_pays: bool = False
    etag_is_md5: bool = True


class Gs(Section):
    """``[stores.gs]``: Google Cloud Storage.

    Attributes:
        endpoint: Wins over ``STORAGE_EMULATOR_HOST``, which wins over Google's own.
        auth: ``auto``: application-default credentials where Google's own endpoint is going to
            see them and there are any, else none. ``adc``: those, wherever it goes. ``machine``:
            the machine's own account, from Google's metadata server. ``hmac``: keys of the S3
            kind, from the AWS chain. ``none``: for public buckets.
        credentials_file: Wins over ``GOOGLE_APPLICATION_CREDENTIALS``, which wins over what
            ``gcloud auth application-default login`` left.
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

    trusted_hosts: Annotated[tuple[HostPort, ...], ARRAY] = ()
    s3: Table[S3] = absent()
    gs: Table[Gs] = absent()
    hf: Table[Hf] = absent()
    ngc: Table[Ngc] = absent()
    https: Table[Https] = absent()
