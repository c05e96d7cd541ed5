"""A store as a server sees it that reads weights from there by itself (pure).

vLLM and SGLang do so by Run:ai's model streamer. It asks for the same bucket at the same endpoint
as a fetch of ours would, and for nothing else; what it needs to show who it is comes along in
variables, which no other child of the agent gets.

Source:
    "Loading models with Run:ai Model Streamer" in vLLM's and "Loading Models from Object Storage"
    in SGLang's documentation; environment variables of the AWS SDKs.
"""

from collections.abc import Mapping

from ...config.refs import ModelRef
from ...config.stores import S3
from ..stores import endpoints

_WHO = frozenset(
    {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
        *("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    }
)
_ROLES = frozenset(
    {
        *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    }
)
"""What a cloud gives a machine: for AWS's own endpoint alone, as everywhere else here."""


def environment(ref: ModelRef, s3: S3, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that lead a server to its weights.

    Args:
        ref: Where they live; an S3 reference.
        s3: Our own settings of S3: they win, as they do for a fetch.
        environ: The agent's environment.

    Raises:
        ConfigInvalid: The endpoint that wins cannot be used.
    """
    to = endpoints.choose(s3, environ, ref.container)
    known = frozenset[str]() if s3.unsigned else _WHO | (_ROLES if to.is_aws else frozenset[str]())
    said = {name: environ[name] for name in sorted(known) if environ.get(name)}
    if s3.profile is not None and not s3.unsigned:
        said["AWS_PROFILE"] = s3.profile
    said |= {"AWS_REGION": to.region, "AWS_DEFAULT_REGION": to.region}
    is_virtual = to.addressing == "virtual"
    said["RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING"] = "1" if is_virtual else "0"
    if to.url is not None:
        said |= {"AWS_ENDPOINT_URL": to.url, "RUNAI_STREAMER_S3_ENDPOINT": to.url}
    if not to.is_aws:
        said["AWS_EC2_METADATA_DISABLED"] = "true"
    if (ca_file := s3.ca_file or environ.get("AWS_CA_BUNDLE")) is not None:
        said["AWS_CA_BUNDLE"] = ca_file
    return said
