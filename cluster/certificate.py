"""From a cluster key to certificates: the same authority on every node, and a node's own for a day.

Every node derives the same Ed25519 key for the authority and builds the same certificate for it, byte by
byte, so nothing but the key line is ever copied. With it a node issues itself a certificate with a fresh
key, in memory. Being signed by the authority is all that counts: names and addresses mean nothing.

The authority's *name* depends on the key alone, its *key* also on the cluster's name. Whoever meets the same
key under another cluster name thus finds a known issuer and a wrong signature, with another key no issuer at
all: the two can be told apart. There are no key identifiers in the certificates, because they would make
OpenSSL look for the issuer by its key.
"""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.key import SECRET_BYTES, ClusterKey

ENTROPY_BYTES = 64
"""Random bytes that one certificate takes: its private key and its serial number."""

LIFE_MS = 24 * 3600 * 1000
"""How long a node's certificate is good, and how long before its issue it is, for clocks that are behind.
Clocks further off than a minute are refused in better words (cluster/compatibility.py)."""

RENEW_MS = LIFE_MS // 2
"""How old a certificate may be to be shown: whoever is a day ahead of its last day still takes it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AUTHORITY_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_AUTHORITY_UNTIL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""No end, as RFC 5280 (4.1.2.5) writes it: an authority ends with its line in the key file."""


class Authority:
    """What issues and recognises the certificates of one key in one cluster.

    Attributes:
        fingerprint: str, of the key.
        name: str, by which its certificates name their issuer.
        certificate: bytes, DER, the same on every node.
    """

    def __init__(self, key: ClusterKey, cluster: str) -> None:
        self.fingerprint = key.fingerprint
        self.name = f"dayfly key {self.fingerprint}"
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        self._private_key = Ed25519PrivateKey.from_private_bytes(key.derive("authority", cluster))
        serial = int.from_bytes(key.derive("authority serial number", cluster, 16)) | 1
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._private_key.public_key())
            .serial_number(serial)
            .not_valid_before(_AUTHORITY_FROM)
            .not_valid_after(_AUTHORITY_UNTIL)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._private_key, None)  # Ed25519 signatures are deterministic (RFC 8032)
        )
        self.certificate = certificate.public_bytes(Encoding.DER)

    def issue(self, wall_ms: int, entropy: bytes) -> tuple[bytes, bytes]:
        """Issue a certificate for a node.

        Args:
            wall_ms: Unix milliseconds now; it is good `LIFE_MS` before and after.
            entropy: `ENTROPY_BYTES` random bytes, used for nothing else.

        Returns:
            The certificate and its private key, both PEM.
        """
        assert len(entropy) == ENTROPY_BYTES
        private_key = Ed25519PrivateKey.from_private_bytes(entropy[:SECRET_BYTES])
        now, life = _EPOCH + timedelta(milliseconds=wall_ms), timedelta(milliseconds=LIFE_MS)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dayfly node")]))
            .issuer_name(self._name)
            .public_key(private_key.public_key())
            .serial_number(int.from_bytes(entropy[SECRET_BYTES : SECRET_BYTES + 16]) | 1)
            .not_valid_before(now - life)
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(self._private_key, None)
        )
        key_pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), key_pem


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
