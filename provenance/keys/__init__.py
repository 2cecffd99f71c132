"""Who signs, and whom to believe.

Signers: the *development identity* that ``default_signer`` makes on first use; the user's own chain and key, as PEM
(``load_signer``), PKCS#12 (``load_pkcs12``) or on a token (``pkcs11_signer``); and a callback for a key that never
leaves its KMS (``callback_signer``). Trust: ``trust_policy`` puts together what a verifier believes.

A file each: ``development``; ``files``, ``token``, ``signers``; ``profile``, what C2PA asks of a certificate;
``requests`` for a new one; ``trust``, ``revocation`` and ``ocsp``; ``chains``, what all of them need.
"""

from provenance.keys.chains import certificates, fingerprint
from provenance.keys.development import (
    DEVELOPMENT,
    FORMER_ROOTS_FILE,
    LEAF_FILE,
    ROOT_FILE,
    default_signer,
    key_folder,
    local_root,
    local_roots,
    rotate,
)
from provenance.keys.files import Secret, load_pkcs12, load_signer, secret_file
from provenance.keys.profile import ACCEPTED_EKU, ALGORITHMS
from provenance.keys.requests import make_request
from provenance.keys.signers import Signer, callback_signer
from provenance.keys.token import pkcs11_signer
from provenance.keys.trust import Trust, trust_anchors, trust_policy

__all__ = [
    "ACCEPTED_EKU",
    "ALGORITHMS",
    "DEVELOPMENT",
    "FORMER_ROOTS_FILE",
    "LEAF_FILE",
    "ROOT_FILE",
    "Secret",
    "Signer",
    "Trust",
    "callback_signer",
    "certificates",
    "default_signer",
    "fingerprint",
    "key_folder",
    "load_pkcs12",
    "load_signer",
    "local_root",
    "local_roots",
    "make_request",
    "pkcs11_signer",
    "rotate",
    "secret_file",
    "trust_anchors",
    "trust_policy",
]
