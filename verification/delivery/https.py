"""Delivery by HTTPS push, signed with our Ed25519 key: HTTP Message Signatures (RFC 9421) over Content-Digest (RFC 9530).

The receiver answers 2xx with a receipt: any non-empty body, kept as it is. A repetition carries the same Idempotency-Key.
"""

import base64
import hashlib
import ssl

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from metering.hidden import HIDDEN, without_credentials
from metering.i18n import _
from verification.delivery.config import HttpsTarget
from verification.delivery.errors import DeliveryError
from verification.delivery.parcels import Parcel
from verification.evidence.signing import key_id

TIMEOUT_S = 60
COVERED = ("@method", "@target-uri", "content-digest", "content-type", "idempotency-key")
_OK = range(200, 300)
_MOST = 1 << 20


def send(target: HttpsTarget, parcel: Parcel, now_ms: int, key: Ed25519PrivateKey) -> bytes:
    """Push the parcel; the receipt."""
    request = signed_request(target, parcel, now_ms, key)
    authorization = request.headers.get("Authorization", "")
    try:
        with httpx.Client(verify=_trust(target), timeout=TIMEOUT_S) as client:
            answer = client.send(request)
    except (httpx.HTTPError, OSError) as error:
        said = without_credentials(repr(error), authorization)
        raise DeliveryError(
            f"{target.url}: {said}"
        ) from None  # the original repeats a header that cannot be sent
    if answer.status_code not in _OK:
        said = without_credentials(answer.text[:_MOST], authorization)[:200]
        raise DeliveryError(f"{target.url}: {answer.status_code} {said}")
    if not answer.content.strip():
        raise DeliveryError(
            _("{url} answered {code} without a receipt").format(url=target.url, code=answer.status_code)
        )
    token = authorization.partition(" ")[2]
    receipt = answer.content.replace(token.encode(), HIDDEN.encode()) if token else answer.content
    return receipt[:_MOST]


def signed_request(target: HttpsTarget, parcel: Parcel, now_ms: int, key: Ed25519PrivateKey) -> httpx.Request:
    """A multipart POST of all files with its signature."""
    files = [("file", (file.name, file.data, file.media_type)) for file in parcel.files]
    headers = {"Idempotency-Key": parcel.key}
    if target.token_file is not None:
        headers["Authorization"] = f"Bearer {target.secret_in(target.token_file)}"
    kind = f"multipart/form-data; boundary=tanyun-{parcel.key}"
    request = httpx.Request(
        "POST",
        target.url,
        files=files,
        data={"title": parcel.title},
        headers=headers | {"Content-Type": kind},
    )
    body = request.read()
    request.headers["Content-Digest"] = f"sha-256=:{_base64(hashlib.sha256(body).digest())}:"
    parameters = _parameters(now_ms, key)
    request.headers["Signature-Input"] = f"tanyun={parameters}"
    request.headers["Signature"] = f"tanyun=:{_base64(key.sign(signature_base(request, parameters)))}:"
    return request


def _parameters(now_ms: int, key: Ed25519PrivateKey) -> str:
    names = " ".join(f'"{name}"' for name in COVERED)
    return f'({names});created={now_ms // 1000};keyid="{key_id(key.public_key())}";alg="ed25519"'


def signature_base(request: httpx.Request, parameters: str) -> bytes:
    """What is signed (RFC 9421, 2.5)."""
    known = {"@method": request.method, "@target-uri": str(request.url)}
    lines = [f'"{name}": {known.get(name) or request.headers[name]}' for name in COVERED]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode()


def _trust(target: HttpsTarget) -> "bool | ssl.SSLContext":
    return True if target.ca_file is None else ssl.create_default_context(cafile=str(target.ca_file))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
