use serde_json::json;

use super::*;
use crate::testing::{Issuer, key_set};

fn error(text: &str) -> KeyError {
    public(text).map(|keys| keys.len()).unwrap_err()
}

#[test]
fn a_file_may_hold_several_keys() {
    let (old, new) = (Issuer::es256(), Issuer::eddsa());
    let both = format!("# since May\n{}\n# the old one\n{}", new.file, old.file);
    let algorithms: Vec<_> = public(&both).unwrap().iter().map(|key| key.algorithms[0]).collect();
    assert_eq!(algorithms, [Algorithm::EdDSA, Algorithm::ES256]);
    assert!(public(&both.replace('\n', "\r\n")).is_ok());
    assert_eq!(error(&old.file.repeat(MAX_KEYS + 1)), KeyError::TooMany);
}

#[test]
fn what_is_no_public_key_is_refused_in_words() {
    for empty in ["", "ssh-ed25519 AAAA", "{\"keys\": []}"] {
        assert_eq!(error(empty), KeyError::Empty, "{empty}");
    }
    let block = |label: &str, content: &str| format!("-----BEGIN {label}-----\n{content}\n-----END {label}-----\n");
    assert_eq!(error(&block("EC PRIVATE KEY", "AA==")), KeyError::Private("EC PRIVATE KEY".to_owned()));
    assert_eq!(error(&block("CERTIFICATE", "AA==")), KeyError::Unusable("CERTIFICATE".to_owned()));
    assert_eq!(error(&block("PUBLIC KEY", "AA==")), KeyError::Unusable("PUBLIC KEY".to_owned()));
    assert_eq!(error("-----BEGIN PUBLIC KEY-----\nAA"), KeyError::Unusable("PUBLIC KEY".to_owned()));
    assert!(matches!(error("{\"kees\": []}"), KeyError::Json(_)));
    assert_eq!(error(&json!({"keys": [{"kty": "oct", "k": "AAAA"}]}).to_string()), KeyError::Secret);
}

#[test]
fn a_set_may_hold_more_than_keys_that_are_known() {
    let (ec, rsa) = (Issuer::es256().named("ec"), Issuer::rsa(false).named("rsa"));
    let mut encryption = ec.jwk();
    encryption["use"] = json!("enc");
    let mut of_the_future = ec.jwk();
    of_the_future["kty"] = json!("AKP");
    let mut strange = ec.jwk();
    strange["alg"] = json!("ES256K");
    let set = json!({"keys": [encryption, of_the_future, strange, rsa.jwk(), ec.jwk()]}).to_string();
    let names: Vec<_> = public(&set).unwrap().into_iter().map(|key| key.id.unwrap()).collect();
    assert_eq!(names, ["rsa", "ec"]);
    let mut private = ec.jwk();
    private["d"] = json!("AAAA");
    assert!(matches!(error(&json!({"keys": [private]}).to_string()), KeyError::Private(_)));
    // Without names it would not be known which of them a token means.
    let nameless = public(&key_set([&Issuer::es256(), &ec])).unwrap();
    assert_eq!(nameless.iter().map(|key| key.id.as_deref()).collect::<Vec<_>>(), [Some("ec")]);
}

#[test]
fn the_algorithm_that_a_set_gives_a_key_is_the_only_one() {
    let keys = public(&key_set([&Issuer::rsa(true)])).unwrap();
    assert_eq!(keys[0].algorithms, [Algorithm::PS256]);
    let mut open = Issuer::rsa(true).jwk();
    open.as_object_mut().unwrap().remove("alg");
    let keys = public(&json!({"keys": [open]}).to_string()).unwrap();
    assert_eq!(keys[0].algorithms, [Algorithm::RS256, Algorithm::PS256]);
}

#[test]
fn a_short_rsa_key_is_refused() {
    let short = json!({"keys": [{"kty": "RSA", "n": "A".repeat(1024 / 6 + 1), "e": "AQAB"}]}).to_string();
    assert!(matches!(error(&short), KeyError::WeakRsa(..2048)));
    assert!(public(&Issuer::rsa(false).file).is_ok());
}

#[test]
fn a_secret_is_a_line_that_cannot_be_guessed() {
    let long = "s".repeat(MIN_SECRET);
    assert_eq!(secrets(&format!("{long}\n\n  {long}x \r\n")).unwrap().len(), 2);
    for (text, wrong) in [
        ("", KeyError::NoSecret),
        ("\n \n", KeyError::NoSecret),
        (&format!("{long}\nhunter2"), KeyError::ShortSecret(2)),
    ] {
        assert_eq!(secrets(text).map(|keys| keys.len()), Err(wrong), "{text}");
    }
}
