"""NaCl boxes: open a request, seal a chunk.

One key pair a process; its public half is registered and named in every chunk. A box that
does not open is the sender's failure and costs one request; there is no way past the box, in
either direction.

Source:
    NaCl ``crypto_box``: X25519, XSalsa20-Poly1305; on the wire nonce (24 bytes), tag (16
    bytes), data, in standard base64 with padding.
"""

import binascii

from nacl.bindings import crypto_secretbox_easy
from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey
from nacl.signing import SigningKey

from ...config.refusals import RequestUnreadable
from .types import Sealed

SECRET_BYTES = 32
"""Length of a secret, for boxes and for signatures."""

KEY_BYTES = 32
"""Length of a public key before base64."""

NONCE_BYTES = 24
"""Length of a nonce: long enough to be drawn at random for every chunk."""


class RequestBox:
    """Seals the chunks of one request's answer; the shared key is derived once."""

    __slots__ = ("_shared",)

    def __init__(self, box: Box) -> None:
        self._shared = box.shared_key()

    def seal(self, plaintext: bytes, nonce: bytes) -> bytes:
        """Seal one chunk.

        Args:
            plaintext: One server-sent-event line.
            nonce: 24 random bytes, never used before with this node's key.

        Returns:
            Base64 of nonce, tag and data, for :func:`.codec.encode_chunk`.

        Raises:
            ValueError: The nonce has not 24 bytes.
        """
        if len(nonce) != NONCE_BYTES:
            msg = f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}"
            raise ValueError(msg)
        # what a box is once its key is derived, by the binding that copies the least
        sealed = nonce + crypto_secretbox_easy(plaintext, nonce, self._shared)
        return binascii.b2a_base64(sealed, newline=False)


class NodeKey:
    """The node's key pair; it shows its public half and nothing else.

    Args:
        secret: 32 random bytes.

    Attributes:
        public_key: Base64, as registered.

    Raises:
        ValueError: The secret has not 32 bytes.
    """

    __slots__ = ("_private", "public_key")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            msg = f"a secret key has {SECRET_BYTES} bytes, not {len(secret)}"
            raise ValueError(msg)
        self._private = PrivateKey(secret)
        self.public_key = _text(bytes(self._private.public_key))

    def __repr__(self) -> str:
        """The public half."""
        return f"NodeKey(public_key={self.public_key!r})"

    def open_request(self, sealed: Sealed) -> tuple[bytes, RequestBox]:
        """Open a sealed request.

        Returns:
            The plaintext, and the box that seals the answer to it.

        Raises:
            RequestUnreadable: It is no base64, has the wrong length, names a key that no
                box can be made with, or was not sealed for this node.
        """
        theirs = _raw(sealed.ephemeral_public_key, field="ephemeral_public_key")
        if len(theirs) != KEY_BYTES:
            raise RequestUnreadable(reason="ephemeral_public_key has not 32 bytes")
        raw = _raw(sealed.ciphertext, field="ciphertext")
        try:
            box = Box(self._private, PublicKey(theirs))
            return box.decrypt(raw), RequestBox(box)
        except CryptoError:
            raise RequestUnreadable(reason="ciphertext does not open") from None


def sign_challenge(secret: bytes, nonce: str, timestamp: str) -> str:
    """Sign a challenge with a software key.

    The coordinator wants a signature that is not empty. This one proves nothing about the
    machine, is checked by nobody, and must never be presented as an attestation.

    Args:
        secret: 32 random bytes, of which only this function knows the use.
        nonce: As it came.
        timestamp: As it came.

    Returns:
        Base64 of the 64-byte Ed25519 signature over nonce and timestamp, joined.

    Raises:
        ValueError: The secret has not 32 bytes.
    """
    if len(secret) != SECRET_BYTES:
        msg = f"a signing secret has {SECRET_BYTES} bytes, not {len(secret)}"
        raise ValueError(msg)
    return _text(SigningKey(secret).sign(f"{nonce}{timestamp}".encode()).signature)


def _text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def _raw(text: str, *, field: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise RequestUnreadable(reason=f"{field} is no base64") from None
