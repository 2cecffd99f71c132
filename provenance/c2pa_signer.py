"""A ``provenance.keys.Signer`` as C2PA's library wants it.

For a callback the library reserves 10,000 bytes in the file, and as many as its text of certificates is long. Text that
stands before a certificate has no meaning (RFC 7468, section 2); some makes room for what is put in after signing.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from provenance.errors import SigningError
from provenance.keys import Signer

if TYPE_CHECKING:
    import c2pa


def c2pa_signer(
    signer: Signer, failed: list[BaseException], authority: str | None = None, room: int = 0
) -> "c2pa.Signer":
    """C2PA's signer; what a callback raises is kept in ``failed``, for C2PA swallows it.

    Args:
        signer: ours.
        failed: to be filled.
        authority: address of a time stamp authority.
        room: bytes to leave free in the signature, see ``provenance.stapling``.
    """
    from c2pa import C2paSignerInfo, C2paSigningAlg
    from c2pa import Signer as C2paSigner

    algorithm = C2paSigningAlg[signer.alg.upper()]
    if signer.key_pem is not None and not room:
        # No time stamp authority is None: an empty address fails at signing.
        info = C2paSignerInfo(algorithm, signer.chain_pem.encode(), signer.key_pem.encode(), authority)
        return C2paSigner.from_info(info)
    if signer.key_pem is None and signer.callback is None:
        raise SigningError("the signer has neither a key nor a callback; give one of them")
    certificates = ("#" * room + "\n" if room else "") + signer.chain_pem
    return C2paSigner.from_callback(_recording(signer.sign, failed), algorithm, certificates, authority)


def _recording(callback: Callable[[bytes], bytes], failed: list[BaseException]) -> Callable[[bytes], bytes]:
    def call(data: bytes) -> bytes:
        try:
            return callback(data)
        except BaseException as error:
            failed.append(error)
            raise

    return call
