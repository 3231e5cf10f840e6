"""ID tokens: signed JSON (RFC 7515, RFC 7518) of an OpenID provider, with the keys that it publishes (RFC 7517). Pure.

Three algorithms that providers sign with and `none` is not one of them; a key is used for nothing but what its kind is for,
so that no token can choose how it is checked.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

_LONGEST: Final = 64 * 1024
_RSA_BITS: Final = 2048
"""RFC 7518, 3.3: no smaller key."""
_COORDINATE: Final = 32
"""Bytes of a coordinate on P-256, and of half a signature."""

Check = Callable[[bytes, bytes], None]
"""Signature and what was signed; InvalidSignature."""


class TokenError(Exception):
    """The token is not one that the provider has signed; for the log."""


def claims_of(token: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The claims of a token that one of the provider's keys (its JWKS document) has signed. TokenError."""
    parts = token.split(".")
    if len(token) > _LONGEST or len(parts) != 3:  # noqa: PLR2004  RFC 7515, 7.1
        raise TokenError("the ID token is no signed token")
    header, claims = _object(parts[0]), _object(parts[1])
    if "crit" in header:
        raise TokenError("the ID token asks for extensions")
    signature, signed = _bytes(parts[2]), ".".join(parts[:2]).encode("ascii")
    for check in _checks(header, keys):
        try:
            check(signature, signed)
        except InvalidSignature:
            continue
        return claims
    raise TokenError(f"no key of the provider has signed the ID token ({header.get('alg')!r})")


def _checks(header: Mapping[str, Any], keys: Mapping[str, Any]) -> Iterator[Check]:
    """How each key would check a token of this header; a key that cannot be used is passed over."""
    algorithm, kid = header.get("alg"), header.get("kid")
    make = _ALGORITHMS.get(algorithm) if isinstance(algorithm, str) else None
    found = keys.get("keys")
    for key in found if make is not None and isinstance(found, list) else ():
        fits = (
            isinstance(key, dict)
            and key.get("use", "sig") == "sig"
            and key.get("alg", algorithm) == algorithm
            and (kid is None or key.get("kid", kid) == kid)
        )
        if fits and make is not None:
            try:
                yield make(key)
            except (KeyError, TypeError, ValueError, TokenError):
                continue


def _rs256(key: Mapping[str, Any]) -> Check:
    if key["kty"] != "RSA":
        raise TokenError("no RSA key")
    public = rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
    if public.key_size < _RSA_BITS:
        raise TokenError("too small")
    return lambda signature, signed: public.verify(signature, signed, padding.PKCS1v15(), SHA256())


def _es256(key: Mapping[str, Any]) -> Check:
    if (key["kty"], key["crv"]) != ("EC", "P-256"):
        raise TokenError("no key on P-256")
    public = ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), ec.SECP256R1()).public_key()

    def check(signature: bytes, signed: bytes) -> None:
        if len(signature) != 2 * _COORDINATE:
            raise InvalidSignature
        halves = signature[:_COORDINATE], signature[_COORDINATE:]
        r, s = (int.from_bytes(half, "big") for half in halves)
        public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))

    return check


def _eddsa(key: Mapping[str, Any]) -> Check:
    if (key["kty"], key["crv"]) != ("OKP", "Ed25519"):
        raise TokenError("no Ed25519 key")
    return ed25519.Ed25519PublicKey.from_public_bytes(_bytes(key["x"])).verify


_ALGORITHMS: Final[Mapping[str, Callable[[Mapping[str, Any]], Check]]] = {
    "RS256": _rs256,
    "ES256": _es256,
    "EdDSA": _eddsa,
}


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (TypeError, ValueError) as error:
        raise TokenError("the ID token is not in base64url") from error


def _object(part: str) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(part))
    except (ValueError, RecursionError) as error:
        raise TokenError("a part of the ID token is no JSON") from error
    if not isinstance(found, dict):
        raise TokenError("a part of the ID token is no object")
    return found
