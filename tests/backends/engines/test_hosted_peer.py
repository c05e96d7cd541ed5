"""Which addresses of a provider are called, and which are not."""

from pathlib import Path

import pytest

from poolhand.backends.engines.hosted_errors import ProviderUnreachable, ProviderUnsafe
from poolhand.backends.engines.hosted_peer import Peers
from poolhand.config.errors import ConfigInvalid
from poolhand.config.external import External

HTTP = {"allow_http_to_loopback": True}


def peers(url: str, *addresses: str, **more: object) -> Peers:
    external = External.model_validate({"dialect": "openai", "base_url": url, **more})

    def find(host: str, port: int) -> list[str]:
        assert (host, port) == (external.url.split("/")[2].split(":")[0].strip("[]") or "::1", port)
        return list(addresses)

    return Peers(external, find=find)


@pytest.mark.parametrize(
    ("url", "address", "more"),
    [
        ("https://h.example/v1", "93.184.216.34", {}),
        ("https://h.example/v1", "2606:4700::1111", {}),
        ("https://h.example/v1", "10.0.0.1", {"trusted_hosts": ["h.example"]}),
        ("https://h.example:8443", "10.0.0.1", {"trusted_hosts": ["h.example:8443"]}),
        ("https://h.example", "10.0.0.1", {"trusted_hosts": ["10.0.0.1"]}),
        ("https://h.example", "fd00::1", {"trusted_hosts": ["[fd00::1]"]}),
        ("https://h.example", "169.254.1.1", {"trusted_hosts": ["169.254.1.1"]}),
        ("http://127.0.0.1:9", "127.0.0.1", HTTP),
        ("http://localhost:9", "::1", HTTP),
    ],
)
async def test_who_is_called(url: str, address: str, more: dict[str, object]) -> None:
    (peer,) = await peers(url, address, **more).all({"x": "y"})
    assert (peer.address, peer.headers) == (address, {"x": "y"})
    assert url.startswith(peer.url)


@pytest.mark.parametrize(
    ("url", "addresses", "more"),
    [
        ("https://h.example", ["127.0.0.1"], {}),
        ("https://h.example", ["10.0.0.1"], {}),
        ("https://h.example", ["169.254.169.254"], {}),
        ("https://h.example", ["fe80::1"], {}),
        ("https://h.example", ["93.184.216.34", "10.0.0.1"], {}),
        ("https://h.example", ["10.0.0.1"], {"trusted_hosts": ["h.example:8443"]}),
        ("https://h.example", ["10.0.0.1"], {"trusted_hosts": ["10.0.0.2"]}),
        ("https://h.example", ["127.0.0.1"], HTTP),
        ("http://localhost:9", ["10.0.0.1"], HTTP),
        ("http://localhost:9", ["93.184.216.34"], HTTP),
        ("http://localhost:9", ["127.0.0.1", "93.184.216.34"], HTTP),
        ("http://localhost:9", ["10.0.0.1"], {**HTTP, "trusted_hosts": ["localhost"]}),
        ("https://127.0.0.1:9", ["127.0.0.1"], {}),
    ],
)
async def test_who_is_not(url: str, addresses: list[str], more: dict[str, object]) -> None:
    with pytest.raises(ProviderUnsafe):
        await peers(url, *addresses, **more).all({})


async def test_nobody_is_there() -> None:
    with pytest.raises(ProviderUnreachable):
        await peers("https://h.example").all({})

    def unknown(_host: str, _port: int) -> list[str]:
        raise OSError

    with pytest.raises(ProviderUnreachable):
        await Peers(External(dialect="openai"), find=unknown).all({})


@pytest.mark.parametrize("text", [None, "", "no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if text is not None:
        ca_file.write_text(text)
    with pytest.raises(ConfigInvalid, match="no certificates"):
        await peers("https://h.example", ca_file=str(ca_file)).open()
    await peers("http://localhost:9", ca_file=str(ca_file), **HTTP).open()
