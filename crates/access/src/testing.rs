//! An issuer of tokens, for tests: keys that are made anew, and tokens of any shape.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair, RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign, jwk::Jwk};
use serde_json::{Value, json};

/// An issuer with one key.
pub struct Issuer {
    algorithm: Algorithm,
    key: EncodingKey,
    /// As a file holds it: PEM, or the secret itself.
    pub file: String,
    /// What its tokens name their key by.
    pub id: Option<String>,
}

impl Issuer {
    /// With a secret.
    pub fn hs256(secret: &str) -> Self {
        Self::of(Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes()).expect("a secret"), secret.to_owned())
    }

    /// With a key on P-256.
    pub fn es256() -> Self {
        Self::ec(Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    /// With a key on P-384.
    pub fn es384() -> Self {
        Self::ec(Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(algorithm: Algorithm, signing: &'static EcdsaSigningAlgorithm) -> Self {
        let pair = EcdsaKeyPair::generate(signing).expect("a key");
        let private = pair.to_pkcs8v1().expect("PKCS #8");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key");
        Self::of(algorithm, EncodingKey::from_ec_der(private.as_ref()), pem(public.as_ref()))
    }

    /// With an Ed25519 key.
    pub fn eddsa() -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS #8");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key");
        Self::of(Algorithm::EdDSA, EncodingKey::from_ed_der(private.as_ref()), pem(public.as_ref()))
    }

    /// With an RSA key, signing with PKCS #1 v1.5 (`RS256`) or PSS (`PS256`).
    pub fn rsa(is_pss: bool) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS #8");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key");
        let algorithm = if is_pss { Algorithm::PS256 } else { Algorithm::RS256 };
        // The library wants the key inside (PKCS #1).
        let private = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines(private.as_ref()));
        let key = EncodingKey::from_rsa_pem(private.as_bytes()).expect("an RSA key");
        Self::of(algorithm, key, pem(public.as_ref()))
    }

    fn of(algorithm: Algorithm, key: EncodingKey, file: String) -> Self {
        Self { algorithm, key, file, id: None }
    }

    /// Names the key.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..self }
    }

    /// Returns its public key as a member of a set.
    pub fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a JWK");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        if let Some(id) = &self.id {
            jwk["kid"] = json!(id);
        }
        jwk
    }

    /// Returns the header of its tokens.
    pub fn header(&self) -> Value {
        let mut header = json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT"});
        if let Some(id) = &self.id {
            header["kid"] = json!(id);
        }
        header
    }

    /// Makes a token of these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    /// Makes a token of these claims that ends in an hour.
    pub fn token_for_an_hour(&self, claims: &Value) -> String {
        let mut claims = claims.clone();
        claims["exp"] = json!(seconds_from_now(3600));
        self.token(&claims)
    }

    /// Makes a token with a header of its own.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = sign(message.as_bytes(), &self.key, self.algorithm).expect("a signature");
        format!("{message}.{signature}")
    }
}

/// Returns a set of keys.
pub fn key_set<'a>(issuers: impl IntoIterator<Item = &'a Issuer>) -> String {
    json!({"keys": issuers.into_iter().map(Issuer::jwk).collect::<Vec<_>>()}).to_string()
}

/// Returns a time as claims have it.
pub fn seconds_from_now(seconds: i64) -> i64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs();
    i64::try_from(now).expect("a time") + seconds
}

fn pem(public: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines(public))
}

fn lines(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    lines.join("\n")
}
