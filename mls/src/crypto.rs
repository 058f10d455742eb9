//! The cryptography given to OpenMLS: RustCrypto's, except that nothing here
//! draws from the operating system.
//!
//! HPKE encryption needs an ephemeral key; OpenMLS encrypts paths on several
//! threads, so that a sequential generator would make the bytes depend on
//! their timing. The ephemeral key is therefore derived from a secret seed and
//! everything that is encrypted: equal inputs give the equal ciphertext, any
//! difference gives an unrelated key.

use core::cell::RefCell;

use kith_wire::crypto::Secret;
use openmls::prelude::tls_codec::SecretVLBytes;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::types::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeAeadType, HpkeCiphertext, HpkeConfig,
    HpkeKdfType, HpkeKemType, HpkeKeyPair, SignatureScheme,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// The only suite: MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519.
pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;

const SHA: HashType = HashType::Sha2_256;

/// RustCrypto with own HPKE encryption.
pub(crate) struct Crypto {
    inner: RustCrypto,
    seed: Secret,
    /// See [`Crypto::for_checkpoints`].
    takes_unsigned_info: bool,
    #[cfg(feature = "mutants")]
    pub(crate) garble: crate::rogue::Garble,
}

/// How the signed content of a GroupInfo begins (RFC 9420 5.1.2): a length and
/// the label.
const GROUP_INFO: &[u8] = b"MLS 1.0 GroupInfoTBS";

impl Crypto {
    pub(crate) fn new(seed: Secret) -> Self {
        Self {
            inner: RustCrypto::default(),
            seed,
            takes_unsigned_info: false,
            #[cfg(feature = "mutants")]
            garble: crate::rogue::Garble::default(),
        }
    }

    /// For reading a group's public side from its parts: the signature of the
    /// GroupInfo that OpenMLS wants around them is not looked at. All other
    /// signatures are. What is read must be proven otherwise.
    pub(crate) fn for_checkpoints() -> Self {
        Self { takes_unsigned_info: true, ..Self::new(Secret::new([0; 32])) }
    }

    fn labeled_extract(
        &self,
        suite: &[u8],
        salt: &[u8],
        label: &[u8],
        ikm: &[u8],
    ) -> Result<SecretVLBytes, CryptoError> {
        let input = Zeroizing::new([b"HPKE-v1", suite, label, ikm].concat());
        self.inner.hkdf_extract(SHA, salt, &input)
    }

    fn labeled_expand(
        &self,
        suite: &[u8],
        prk: &[u8],
        label: &[u8],
        info: &[u8],
        len: u16,
    ) -> Result<SecretVLBytes, CryptoError> {
        let input = [&len.to_be_bytes(), b"HPKE-v1".as_slice(), suite, label, info].concat();
        self.inner.hkdf_expand(SHA, prk, &input, usize::from(len))
    }

    /// RFC 9180 single-shot encryption, mode base, with a given ephemeral key.
    pub(crate) fn hpke_seal_with(
        &self,
        aead: HpkeAeadType,
        ephemeral: &StaticSecret,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        let (alg, aead_id) = match aead {
            HpkeAeadType::ChaCha20Poly1305 => (AeadType::ChaCha20Poly1305, 3u8),
            _ => return Err(CryptoError::UnsupportedAeadAlgorithm),
        };
        let pk: [u8; 32] = pk_r.try_into().map_err(|_| CryptoError::InvalidLength)?;
        let dh = ephemeral.diffie_hellman(&PublicKey::from(pk));
        if !dh.was_contributory() {
            return Err(CryptoError::InvalidPublicKey);
        }
        let enc = PublicKey::from(ephemeral).to_bytes();
        let kem = b"KEM\x00\x20".as_slice();
        let eae = self.labeled_extract(kem, b"", b"eae_prk", dh.as_bytes())?;
        let context = [enc, pk].concat();
        let shared = self.labeled_expand(kem, eae.as_slice(), b"shared_secret", &context, 32)?;
        let suite = [b"HPKE\x00\x20\x00\x01\x00".as_slice(), &[aead_id]].concat();
        let psk_id_hash = self.labeled_extract(&suite, b"", b"psk_id_hash", b"")?;
        let info_hash = self.labeled_extract(&suite, b"", b"info_hash", info)?;
        let schedule = [&[0u8], psk_id_hash.as_slice(), info_hash.as_slice()].concat();
        let secret = self.labeled_extract(&suite, shared.as_slice(), b"secret", b"")?;
        let key = self.labeled_expand(&suite, secret.as_slice(), b"key", &schedule, 32)?;
        let nonce = self.labeled_expand(&suite, secret.as_slice(), b"base_nonce", &schedule, 12)?;
        let ciphertext = self.inner.aead_encrypt(alg, key.as_slice(), ptxt, nonce.as_slice(), aad)?;
        Ok(HpkeCiphertext { kem_output: enc.to_vec().into(), ciphertext: ciphertext.into() })
    }

    fn ephemeral(
        &self,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<StaticSecret, CryptoError> {
        let mut input = Zeroizing::new(Vec::with_capacity(ptxt.len() + info.len() + 128));
        for part in [pk_r, info, aad, ptxt] {
            input.extend_from_slice(&(part.len() as u64).to_be_bytes());
            input.extend_from_slice(part);
        }
        let prk = self.inner.hkdf_extract(SHA, self.seed.expose(), &input)?;
        let key: [u8; 32] = prk.as_slice().try_into().map_err(|_| CryptoError::InvalidLength)?;
        Ok(StaticSecret::from(key))
    }
}

impl OpenMlsCrypto for Crypto {
    fn supports(&self, ciphersuite: Ciphersuite) -> Result<(), CryptoError> {
        if ciphersuite == SUITE { Ok(()) } else { Err(CryptoError::UnsupportedCiphersuite) }
    }
    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        vec![SUITE]
    }
    fn hkdf_extract(&self, hash: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        self.inner.hkdf_extract(hash, salt, ikm)
    }
    fn hmac(&self, hash: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        self.inner.hmac(hash, key, message)
    }
    fn hkdf_expand(
        &self,
        hash: HashType,
        prk: &[u8],
        info: &[u8],
        okm_len: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        self.inner.hkdf_expand(hash, prk, info, okm_len)
    }
    fn hash(&self, hash: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.hash(hash, data)
    }
    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.inner.aead_encrypt(alg, key, data, nonce, aad)
    }
    fn aead_decrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        ct_tag: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.inner.aead_decrypt(alg, key, ct_tag, nonce, aad)
    }
    fn signature_key_gen(&self, _: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        // Device keys are made elsewhere and handed in.
        Err(CryptoError::UnsupportedSignatureScheme)
    }
    fn verify_signature(
        &self,
        alg: SignatureScheme,
        data: &[u8],
        pk: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        if self.takes_unsigned_info && data.get(1..).is_some_and(|d| d.starts_with(GROUP_INFO)) {
            return Ok(());
        }
        if alg != SignatureScheme::ED25519 {
            return Err(CryptoError::UnsupportedSignatureScheme);
        }
        let (Ok(pk), Ok(signature)) = (pk.try_into(), signature.try_into()) else {
            return Err(CryptoError::InvalidSignature);
        };
        kith_wire::crypto::verify_bytes(pk, data, signature).map_err(|_| CryptoError::InvalidSignature)
    }
    fn sign(&self, alg: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.sign(alg, data, key)
    }
    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        if config.0 != HpkeKemType::DhKem25519 || config.1 != HpkeKdfType::HkdfSha256 {
            return Err(CryptoError::UnsupportedCiphersuite);
        }
        let ephemeral = self.ephemeral(pk_r, info, aad, ptxt)?;
        #[cfg(feature = "mutants")]
        if self.garble.hits(pk_r) {
            let garbage = vec![0x5a; ptxt.len()];
            return self.hpke_seal_with(config.2, &ephemeral, pk_r, info, b"garbage", &garbage);
        }
        self.hpke_seal_with(config.2, &ephemeral, pk_r, info, aad, ptxt)
    }
    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        sk_r: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.inner.hpke_open(config, input, sk_r, info, aad)
    }
    fn hpke_setup_sender_and_export(
        &self,
        _: HpkeConfig,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: usize,
    ) -> Result<(Vec<u8>, ExporterSecret), CryptoError> {
        // Only external commits need it, and those are not in version 1.
        Err(CryptoError::SenderSetupError)
    }
    fn hpke_setup_receiver_and_export(
        &self,
        _: HpkeConfig,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        Err(CryptoError::ReceiverSetupError)
    }
    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        self.inner.derive_hpke_keypair(config, ikm)
    }
}

/// The engine's generator, seeded by the caller.
pub(crate) struct Rand(RefCell<ChaCha20Rng>);

impl Rand {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(RefCell::new(ChaCha20Rng::from_seed(seed)))
    }
    #[cfg(feature = "mutants")]
    pub(crate) fn state(&self) -> ChaCha20Rng {
        self.0.borrow().clone()
    }
    #[cfg(feature = "mutants")]
    pub(crate) fn restore(&self, state: ChaCha20Rng) {
        self.0.replace(state);
    }
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.0.borrow_mut().fill_bytes(&mut out);
        out
    }
}

impl OpenMlsRand for Rand {
    type Error = core::convert::Infallible;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], Self::Error> {
        Ok(self.array())
    }
    fn random_vec(&self, len: usize) -> Result<Vec<u8>, Self::Error> {
        let mut out = vec![0; len];
        self.0.borrow_mut().fill_bytes(&mut out);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    /// RFC 9180 A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base.
    #[test]
    fn hpke_matches_the_vector_of_rfc_9180() {
        let crypto = Crypto::new(Secret::new([0; 32]));
        let sk: [u8; 32] =
            hex("f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600").try_into().unwrap();
        let pk_r = hex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a");
        let info = hex("4f6465206f6e2061204772656369616e2055726e");
        let aad = hex("436f756e742d30");
        let pt = hex("4265617574792069732074727574682c20747275746820626561757479");
        let sealed = crypto
            .hpke_seal_with(HpkeAeadType::ChaCha20Poly1305, &StaticSecret::from(sk), &pk_r, &info, &aad, &pt)
            .unwrap();
        assert_eq!(
            sealed.kem_output.as_slice(),
            hex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
        );
        assert_eq!(
            sealed.ciphertext.as_slice(),
            hex("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28")
        );
    }

    #[test]
    fn what_is_sealed_here_opens_with_the_other_implementation() {
        let crypto = Crypto::new(Secret::new([3; 32]));
        let config = SUITE.hpke_config();
        let pair = crypto.derive_hpke_keypair(config, &[9; 32]).unwrap();
        let config = SUITE.hpke_config();
        let sealed = crypto.hpke_seal(config, &pair.public, b"info", b"aad", b"text").unwrap();
        let config = SUITE.hpke_config();
        assert_eq!(crypto.hpke_open(config, &sealed, &pair.private, b"info", b"aad").unwrap(), b"text");
        let other = crypto.hpke_seal(SUITE.hpke_config(), &pair.public, b"info", b"aad", b"texu").unwrap();
        assert_ne!(other.kem_output.as_slice(), sealed.kem_output.as_slice());
        assert!(crypto.hpke_seal(SUITE.hpke_config(), &[0; 32], b"", b"", b"").is_err());
    }
}
