//! The keys that signatures are checked by. The algorithm follows from the key, never from the token alone: a token
//! that calls a public key a secret finds no key.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// How many keys there may be in one file, or one set.
pub(crate) const MAX_KEYS: usize = 32;

/// The shortest secret, in bytes: as long as the digest (RFC 7518, section 3.2).
pub(crate) const MIN_SECRET: usize = 32;

/// The shortest modulus of an RSA key, in bits (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;

const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";

/// A key, and what it may check.
#[derive(Clone)]
pub(crate) struct Key {
    /// Its name in a set. A key without a name is tried for every token of its algorithms.
    pub(crate) id: Option<String>,
    pub(crate) algorithms: &'static [Algorithm],
    pub(crate) decoding: DecodingKey,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let is_same_key = match (self.decoding.kind(), other.decoding.kind()) {
            (SecretOrDer(one), SecretOrDer(other)) => one == other,
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: other_n, e: other_e }) => {
                (n, e) == (other_n, other_e)
            }
            _ => false,
        };
        is_same_key && self.id == other.id && self.algorithms == other.algorithms
    }
}

/// Why a text holds no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PEM nor a set.
    #[error("it holds no key: it should be PEM (-----BEGIN PUBLIC KEY-----) or a JSON Web Key Set ({{\"keys\": […]}})")]
    Empty,
    /// Too many.
    #[error("it holds more than {MAX_KEYS} keys")]
    TooMany,
    /// A private key, which should not leave its issuer.
    #[error("it holds a private key ({0}): tokens are checked by the public one alone (openssl pkey -pubout)")]
    Private(String),
    /// A PEM block of something else.
    #[error("it holds {0:?}, which is no public key that can check a token: RSA, EC (P-256, P-384) and Ed25519 can")]
    Unusable(String),
    /// A weak RSA key.
    #[error("it holds an RSA key of {0} bits: at least {MIN_RSA_BITS} are needed (RFC 7518, section 3.3)")]
    WeakRsa(usize),
    /// A set that cannot be read.
    #[error("it is no JSON Web Key Set: {0}")]
    Json(String),
    /// A secret in a set of public keys.
    #[error("it holds a secret (\"kty\": \"oct\"): a set is public; give a secret by --token-secret-file")]
    Secret,
    /// A secret that could be guessed.
    #[error("its line {0} has fewer than {MIN_SECRET} bytes: openssl rand -hex 32 makes a secret")]
    ShortSecret(usize),
    /// No secret at all.
    #[error("it holds no secret: each line that is not empty is one, of at least {MIN_SECRET} bytes")]
    NoSecret,
}

/// Reads public keys, as PEM blocks one after another or as a set.
pub(crate) fn public(text: &str) -> Result<Vec<Key>, KeyError> {
    let keys = if text.trim_start().starts_with('{') { set(text)? } else { pem(text)? };
    match keys.len() {
        0 => Err(KeyError::Empty),
        1..=MAX_KEYS => Ok(keys),
        _ => Err(KeyError::TooMany),
    }
}

/// Reads secrets, one on each line.
pub(crate) fn secrets(text: &str) -> Result<Vec<Key>, KeyError> {
    let lines =
        text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())).filter(|(_, line)| !line.is_empty());
    let keys: Vec<Key> = lines
        .map(|(number, line)| match DecodingKey::from_secret(line.as_bytes()) {
            Ok(decoding) if line.len() >= MIN_SECRET => Ok(Key { id: None, algorithms: &[Algorithm::HS256], decoding }),
            _ => Err(KeyError::ShortSecret(number)),
        })
        .collect::<Result<_, _>>()?;
    match keys.len() {
        0 => Err(KeyError::NoSecret),
        1..=MAX_KEYS => Ok(keys),
        _ => Err(KeyError::TooMany),
    }
}

fn pem(text: &str) -> Result<Vec<Key>, KeyError> {
    let blocks = text.match_indices(PEM_BEGIN).map(|(start, _)| {
        let block = &text[start..];
        let label = block[PEM_BEGIN.len()..].split("-----").next().unwrap_or_default();
        let end = block.find(PEM_END).map(|end| end + block[end..].find('\n').unwrap_or(block.len() - end));
        (label, &block[..end.unwrap_or(block.len())])
    });
    blocks.map(|(label, block)| pem_block(label, block)).collect()
}

fn pem_block(label: &str, block: &str) -> Result<Key, KeyError> {
    if label.ends_with("PRIVATE KEY") {
        return Err(KeyError::Private(label.to_owned()));
    }
    let bytes = block.as_bytes();
    let unusable = || KeyError::Unusable(label.to_owned());
    if !matches!(label, "PUBLIC KEY" | "RSA PUBLIC KEY") {
        return Err(unusable());
    }
    // Each refuses what is of another family.
    let readers = [DecodingKey::from_ec_pem, DecodingKey::from_ed_pem, DecodingKey::from_rsa_pem];
    let decoding = readers.iter().find_map(|read| read(bytes).ok()).ok_or_else(unusable)?;
    // In the form of a set its size is known.
    let jwk = Jwk::from_decoding_key(&decoding, None).map_err(|_| unusable())?;
    Ok(Key { id: None, algorithms: algorithms(&jwk)?.ok_or_else(unusable)?, decoding })
}

fn set(text: &str) -> Result<Vec<Key>, KeyError> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_str(text).map_err(|error| KeyError::Json(error.to_string()))?;
    if set.keys.len() > MAX_KEYS {
        return Err(KeyError::TooMany);
    }
    let mut keys = Vec::new();
    for key in set.keys {
        if key.get("kty").is_some_and(|kind| kind == "oct") {
            return Err(KeyError::Secret);
        }
        if key.get("d").is_some() {
            return Err(KeyError::Private("\"d\"".to_owned()));
        }
        // A set may hold keys for other purposes, and of kinds that come later: they are left alone (RFC 7517,
        // section 5).
        let Ok(jwk) = Jwk::deserialize(&key) else { continue };
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        if let (true, Some(algorithms), Ok(decoding)) = (signs, algorithms(&jwk)?, DecodingKey::from_jwk(&jwk)) {
            keys.push(Key { id: jwk.common.key_id, algorithms, decoding });
        }
    }
    // Without names it would not be known which of them a token means.
    if keys.len() > 1 {
        keys.retain(|key| key.id.is_some());
    }
    Ok(keys)
}

/// Returns what a key may check; nothing if that is nothing that is known here.
fn algorithms(jwk: &Jwk) -> Result<Option<&'static [Algorithm]>, KeyError> {
    let of_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => {
            // Four characters are three bytes; the first may be a sign.
            let bits = key.n.len() * 6 / 8 * 8;
            if bits < MIN_RSA_BITS {
                return Err(KeyError::WeakRsa(bits));
            }
            &[Algorithm::RS256, Algorithm::PS256]
        }
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return Ok(None),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return Ok(None),
    };
    let Some(named) = jwk.common.key_algorithm else { return Ok(Some(of_kind)) };
    let named = Algorithm::try_from(named).ok();
    Ok(of_kind.iter().position(|known| Some(*known) == named).map(|at| &of_kind[at..=at]))
}

#[cfg(test)]
mod tests;
