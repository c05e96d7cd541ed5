"""Whether a host is this machine: what may go unencrypted stays here."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name, judged without any resolver."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
