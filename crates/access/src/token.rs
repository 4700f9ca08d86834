//! A token, from its text to the rights that it carries.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation, decode, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::{claims, keys::Key, rights::Rights};

/// The longest token, in bytes.
const MAX_LEN: usize = 8 * 1024;

/// How far the clocks of issuer and gateway may be apart, for `exp` and `nbf`.
const LEEWAY: Duration = Duration::from_secs(30);

/// The values of `typ` that a token may have, if it has one (RFC 7519, section 5.1; RFC 9068, section 2.1).
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// What is asked of every token.
#[derive(Debug, Clone)]
pub struct TokenOptions {
    /// What `iss` has to be.
    pub issuer: Option<String>,
    /// What `aud` has to be, or to contain.
    pub audience: Option<String>,
    /// How far ahead `exp` may be.
    pub lifetime: Duration,
    /// The claim that holds the rights.
    pub claim: String,
}

/// Why a token is not taken. The text says what is wrong, and repeats nothing of the token but what its issuer has to
/// mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than tokens may be.
    #[error("it has more than {MAX_LEN} bytes")]
    TooLong,
    /// Two tokens in one request.
    #[error("the request has two tokens: one header, or one cookie, is enough")]
    GivenTwice,
    /// No JSON Web Token.
    #[error("it is no JSON Web Token (RFC 7519)")]
    Malformed,
    /// Another type of token.
    #[error("its type (\"typ\") is another one: JWT and at+jwt are taken")]
    Type,
    /// Extensions that are not known here.
    #[error("it has critical header parameters (\"crit\"), of which none is known here")]
    Critical,
    /// No key is for this algorithm.
    #[error("no key of this gateway is for its algorithm (\"alg\")")]
    Algorithm,
    /// No key has this name.
    #[error("unknown key: no key of this gateway has the name that it gives (\"kid\")")]
    UnknownKey,
    /// The signature is of another key or another text.
    #[error("its signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("it is expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet (\"nbf\")")]
    NotYet,
    /// It would be valid for too long.
    #[error("its \"exp\" is more than {0:?} ahead (--token-lifetime)")]
    Lifetime(Duration),
    /// Of another issuer.
    #[error("wrong issuer: its \"iss\" is not that of --token-issuer")]
    Issuer,
    /// For another audience.
    #[error("wrong audience: its \"aud\" does not name this gateway (--token-audience)")]
    Audience,
    /// A claim is missing or has a wrong form.
    #[error("its claims are wrong: {0}")]
    Claim(String),
}

impl TokenError {
    /// Returns one word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::TooLong | Self::GivenTwice | Self::Malformed | Self::Type | Self::Critical => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Lifetime(_) => "lifetime",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claim(_) => "claims",
        }
    }
}

/// What the choice of a key needs of a header. The library reads it once more, for the signature.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Header {
    fn of(token: &str) -> Result<Self, TokenError> {
        let encoded = token.split('.').next().unwrap_or_default();
        let decoded = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Malformed)?;
        serde_json::from_slice(&decoded).map_err(|_| TokenError::Malformed)
    }
}

/// Checks a token and returns what it allows.
pub(crate) fn verify(token: &str, keys: &[Key], options: &TokenOptions) -> Result<Rights, TokenError> {
    if token.len() > MAX_LEN {
        return Err(TokenError::TooLong);
    }
    let header = Header::of(token)?;
    if header.crit.is_some() {
        return Err(TokenError::Critical);
    }
    if header.typ.is_some_and(|typ| !TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known))) {
        return Err(TokenError::Type);
    }
    let algorithm: Algorithm = header.alg.parse().map_err(|_| TokenError::Algorithm)?;
    let of_algorithm: Vec<&Key> = keys.iter().filter(|key| key.algorithms.contains(&algorithm)).collect();
    if of_algorithm.is_empty() {
        return Err(TokenError::Algorithm);
    }
    let is_meant = |key: &&&Key| match (&key.id, &header.kid) {
        (Some(id), Some(kid)) => id == kid,
        // A token that names no key means the only one.
        (Some(_), None) => keys.len() == 1,
        (None, _) => true,
    };
    let validation = validation(algorithm, options);
    let mut outcome = Err(TokenError::UnknownKey);
    for key in of_algorithm.iter().filter(is_meant) {
        outcome = match decode::<Map<String, Value>>(token, &key.decoding, &validation) {
            Ok(decoded) => Ok(decoded.claims),
            Err(error) => Err(refusal(error.into_kind())),
        };
        if outcome != Err(TokenError::Signature) {
            break;
        }
    }
    let claims = outcome?;
    let remaining = remaining(&claims, options)?;
    let rights = claims::rights(&claims, &options.claim).map_err(TokenError::Claim)?;
    Ok(Rights { expires: Some(Instant::now() + remaining), ..rights })
}

fn validation(algorithm: Algorithm, options: &TokenOptions) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY.as_secs();
    validation.validate_nbf = true;
    if let Some(issuer) = &options.issuer {
        validation.required_spec_claims.insert("iss".to_owned());
        validation.set_issuer(&[issuer]);
    }
    if let Some(audience) = &options.audience {
        validation.required_spec_claims.insert("aud".to_owned());
        validation.set_audience(&[audience]);
    }
    validation
}

/// Returns how long a token is taken from now on, with the leeway.
fn remaining(claims: &Map<String, Value>, options: &TokenOptions) -> Result<Duration, TokenError> {
    let wrong = || TokenError::Claim("exp: it is no time in seconds since 1970".to_owned());
    // Numbers of dates may have a fraction (RFC 7519, section 2).
    let expires = claims.get("exp").and_then(Value::as_f64).ok_or_else(wrong)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let remaining = expires - now.as_secs_f64() + LEEWAY.as_secs_f64();
    if remaining > (options.lifetime + LEEWAY).as_secs_f64() {
        return Err(TokenError::Lifetime(options.lifetime));
    }
    // The library counts whole seconds, and a poll that is held until it is over must not come back within the last one.
    Duration::try_from_secs_f64(remaining).ok().filter(|remaining| !remaining.is_zero()).ok_or(TokenError::Expired)
}

fn refusal(kind: ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYet,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => TokenError::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            TokenError::Claim(format!("{claim}: it is missing, or has a wrong form"))
        }
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        // The signature was right.
        ErrorKind::Json(_) => TokenError::Claim("they are no JSON object, or a time is no number".to_owned()),
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests;
