"""Delivery by SFTP: each file under a draft's name, renamed when whole, read back and compared. The receipt is what was read back.

asyncssh: typed, kept well, and has a server to test against; paramiko's API leaves host keys to the caller.
"""

import asyncio
import hashlib
from typing import Any

import asyncssh
import msgspec

from metering.i18n import _
from verification.delivery.config import SftpTarget
from verification.delivery.errors import DeliveryError
from verification.delivery.parcels import File, Parcel

TIMEOUT_S = 60


def send(target: SftpTarget, parcel: Parcel) -> bytes:
    """Put the parcel's files there; digests as read back, as JSON."""
    try:
        return asyncio.run(asyncio.wait_for(_send(target, parcel), TIMEOUT_S))
    except (OSError, asyncssh.Error, TimeoutError) as error:
        raise DeliveryError(f"{target.host}:{target.port}: {error!r}") from error


async def _send(target: SftpTarget, parcel: Parcel) -> bytes:
    password = target.secret_in(target.password_file) or None
    keys = [str(target.key_file)] if target.key_file else None
    connection = asyncssh.connect(
        target.host,
        target.port,
        username=target.user,
        password=password,
        client_keys=keys,
        known_hosts=str(target.known_hosts),
        agent_path=None,
        config=None,
    )
    async with connection as there, there.start_sftp_client() as sftp:
        found = {file.name: await _put(sftp, target.folder, file) for file in parcel.files}
    return msgspec.json.encode({"folder": target.folder, "sha256": found})


async def _put(sftp: asyncssh.SFTPClient, folder: str, file: File) -> str:
    path = f"{folder.rstrip('/')}/{file.name}"
    if await sftp.exists(path):
        if (found := await _digest(sftp, path)) == file.digest.sha256:
            return found
        raise DeliveryError(_("{path} is there with other content").format(path=path))
    draft = f"{folder.rstrip('/')}/.{file.name}.draft"
    async with sftp.open(draft, "wb") as out:
        await out.write(file.data)
    await sftp.rename(draft, path)
    if (found := await _digest(sftp, path)) != file.digest.sha256:
        raise DeliveryError(_("{path} reads back with other content").format(path=path))
    return found


async def _digest(sftp: asyncssh.SFTPClient, path: str) -> str:
    async with sftp.open(path, "rb") as there:
        data: Any = await there.read()  # bytes: the file is opened as such
        return hashlib.sha256(data).hexdigest()
