"""What signs: a certificate chain and the means to sign with its key."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from provenance.errors import KeyFileError
from provenance.keys import chains, profile


@dataclass(frozen=True, kw_only=True)
class Signer:
    """A certificate chain and the means to sign with its key: ``key_pem``, or else ``callback``."""

    alg: str
    """es256, es384, es512, ps256, ps384, ps512 or ed25519."""
    chain_pem: str
    """Leaf first; the root itself may be left out."""
    key_pem: str | None = field(default=None, repr=False)
    callback: Callable[[bytes], bytes] | None = field(default=None, repr=False)

    def sign(self, data: bytes) -> bytes:
        """A signature of data, hashed here, by key or callback; ECDSA ones from a key are DER.

        Raises:
            KeyFileError: there is neither.
        """
        if self.key_pem is not None:
            return _sign(self.key_pem, self.alg, data)
        if self.callback is None:
            raise KeyFileError("the signer has neither a key nor a callback; give one of them")
        return self.callback(data)


def callback_signer(fn: Callable[[bytes], bytes], alg: str, chain_pem: str) -> Signer:
    """A signer whose key is elsewhere, in a cloud KMS for instance.

    Args:
        fn: signs the bytes given, hashing included. ECDSA signatures may be DER or raw (r then s); RSA ones are PSS
            with the hash of ``alg`` for MGF1 too and a salt as long as the hash (RFC 8230, section 2).
        alg: es256, es384, es512, ps256, ps384, ps512 or ed25519.
        chain_pem: PEM text, leaf first.

    Raises:
        KeyFileError: a chain that cannot be used, or an algorithm that does not fit its key.
    """
    leaf, *others = chains.parse(chain_pem.encode(), "the given chain")
    profile.check(leaf, "the given chain")
    alg = profile.fitting(alg, leaf.public_key())
    return Signer(alg=alg, chain_pem=chains.chain_pem(chains.ordered(leaf, others)), callback=fn)


def _sign(key_pem: str, alg: str, data: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding

    key: Any = serialization.load_pem_private_key(key_pem.encode(), password=None)
    if alg == "ed25519":
        return key.sign(data)
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[alg[2:]]
    if alg.startswith("es"):
        return key.sign(data, ec.ECDSA(digest))
    return key.sign(data, padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size), digest)
