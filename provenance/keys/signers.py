"""What signs: a certificate chain and the means to sign with its key."""

from collections.abc import Callable
from dataclasses import dataclass, field

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
