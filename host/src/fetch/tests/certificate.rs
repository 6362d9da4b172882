//! A self-signed certificate from a fresh Ed25519 key, written by hand: some thirty lines of DER.

use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig, SignatureScheme};
use std::sync::Arc;

const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
const ED25519: [u8; 7] = [SEQUENCE, 5, OBJECT, 3, 0x2b, 0x65, 0x70];

/// A server that is `localhost`, and those who trust it.
pub(super) fn localhost() -> (Arc<ServerConfig>, RootCertStore) {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("random bytes");
    // Source: RFC 8410, section 7.
    let seed = der(0x04, &[&der(0x04, &[&seed])]);
    let key = PrivatePkcs8KeyDer::from(der(SEQUENCE, &[&[0x02, 1, 0], &ED25519, &seed]));
    let signer = any_eddsa_type(&key).expect("an Ed25519 key");
    let public = signer.public_key().expect("its public half");

    let common_name = der(SEQUENCE, &[&[OBJECT, 3, 0x55, 4, 3], &der(0x0c, &[b"test"])]);
    let name = der(SEQUENCE, &[&der(0x31, &[&common_name])]);
    let validity = der(SEQUENCE, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"491231235959Z"])]);
    let alternative = der(0x04, &[&der(SEQUENCE, &[&der(0x82, &[b"localhost"])])]);
    let extension = der(SEQUENCE, &[&[OBJECT, 3, 0x55, 0x1d, 0x11], &alternative]);
    let extensions = der(0xa3, &[&der(SEQUENCE, &[&extension])]);
    let version_and_serial = [0xa0, 3, 0x02, 1, 2, 0x02, 1, 1];
    // Source: RFC 5280, section 4.1.
    let to_sign = der(SEQUENCE, &[&version_and_serial, &ED25519, &name, &validity, &name, &public, &extensions]);
    let signature =
        signer.choose_scheme(&[SignatureScheme::ED25519]).expect("its scheme").sign(&to_sign).expect("signed");
    let certificate = CertificateDer::from(der(SEQUENCE, &[&to_sign, &ED25519, &der(0x03, &[&[0], &signature])]));

    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("well-formed");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .expect("they belong together");
    (Arc::new(config), roots)
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut whole = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => whole.push(short),
        Ok(long) => whole.extend([0x81, long]),
        Err(_) => {
            whole.push(0x82);
            whole.extend(u16::try_from(content.len()).expect("a small certificate").to_be_bytes());
        }
    }
    whole.extend(content);
    whole
}
