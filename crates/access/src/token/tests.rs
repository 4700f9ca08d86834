use serde_json::json;

use super::*;
use crate::{
    keys,
    testing::{Issuer, key_set, seconds_from_now},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn options() -> TokenOptions {
    TokenOptions { issuer: None, audience: None, lifetime: Duration::from_hours(24), claim: "postern".to_owned() }
}

fn of_file(issuer: &Issuer) -> Vec<Key> {
    if issuer.file.starts_with("-----") { keys::public(&issuer.file) } else { keys::secrets(&issuer.file) }.unwrap()
}

fn word(token: &str, keys: &[Key]) -> &'static str {
    match verify(token, keys, &options()) {
        Ok(_) => "taken",
        Err(error) => error.word(),
    }
}

fn all() -> [Issuer; 6] {
    [Issuer::hs256(SECRET), Issuer::es256(), Issuer::es384(), Issuer::eddsa(), Issuer::rsa(false), Issuer::rsa(true)]
}

#[tokio::test]
async fn each_algorithm_is_taken_by_its_own_key_alone() {
    let claims = json!({"sub": "alice", "exp": seconds_from_now(60)});
    let issuers = all();
    for (number, issuer) in issuers.iter().enumerate() {
        for (other, checked_by) in issuers.iter().enumerate() {
            let word = word(&issuer.token(&claims), &of_file(checked_by));
            let expected = match (number, other) {
                (number, other) if number == other => "taken",
                // Both are RSA keys, so the algorithm fits.
                (4, 5) | (5, 4) => "signature",
                _ => "algorithm",
            };
            assert_eq!(word, expected, "{number} {other}");
        }
        let all_keys: Vec<Key> = issuers.iter().flat_map(of_file).collect();
        assert_eq!(word(&issuer.token(&claims), &all_keys), "taken", "{number}");
    }
}

#[tokio::test]
async fn the_header_cannot_choose_how_it_is_checked() {
    let rsa = Issuer::rsa(false);
    let keys = of_file(&rsa);
    let claims = json!({"sub": "alice", "exp": seconds_from_now(60)});
    let header = |changed: Value| {
        let mut header = rsa.header();
        header.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        header
    };
    for (changed, expected) in [
        (json!({"alg": "none"}), "algorithm"),
        (json!({"alg": "None"}), "algorithm"),
        (json!({"alg": "RS512"}), "algorithm"),
        (json!({"alg": "PS256"}), "signature"),
        (json!({"alg": "HS256"}), "algorithm"),
        (json!({"alg": 7}), "malformed"),
        (json!({"crit": ["exp"], "exp": 1}), "malformed"),
        (json!({"crit": ["b64"], "b64": true}), "malformed"),
        (json!({"crit": []}), "malformed"),
        (json!({"b64": false}), "malformed"),
        (json!({"typ": "at+jwt"}), "taken"),
        (json!({"typ": "application/at+jwt"}), "taken"),
        (json!({"typ": "jwt"}), "taken"),
        (json!({"typ": "dpop+jwt"}), "malformed"),
        // They are not even looked at.
        (json!({"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/"}), "taken"),
    ] {
        assert_eq!(word(&rsa.token_with(&header(changed.clone()), &claims), &keys), expected, "{changed}");
    }
    // The text of the public key is no secret.
    let confused = Issuer::hs256(&rsa.file);
    assert_eq!(word(&confused.token(&claims), &keys), "algorithm");
    assert_eq!(word(&confused.token(&claims), &[keys, of_file(&Issuer::hs256(SECRET))].concat()), "signature");
    // Nor is a key that comes along.
    let own = Issuer::es256();
    let header = json!({"alg": "ES256", "jwk": own.jwk()});
    assert_eq!(word(&own.token_with(&header, &claims), &of_file(&Issuer::es256())), "signature");
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let issuer = Issuer::hs256(SECRET);
    let keys = of_file(&issuer);
    let good = issuer.token_for_an_hour(&json!({"sub": "alice"}));
    assert_eq!(word(&good, &keys), "taken");
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    for (token, expected) in [
        (String::new(), "malformed"),
        ("a.b.c".to_owned(), "malformed"),
        (format!("{header}.{claims}"), "malformed"),
        (format!("{header}.{claims}."), "signature"),
        (format!("{none}.{claims}."), "algorithm"),
        (format!("{good}.x"), "malformed"),
        (format!("{good}="), "malformed"),
        (format!("{header}.{claims}x.{signature}"), "signature"),
        (format!("{}.{claims}.{signature}", URL_SAFE_NO_PAD.encode("[]")), "malformed"),
        (format!("{}.{claims}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","alg":"none"}"#)), "malformed"),
        (issuer.token_for_an_hour(&json!({"pad": "x".repeat(9 * 1024)})), "malformed"),
    ] {
        let shown = &token[..token.len().min(60)];
        assert_eq!(word(&token, &keys), expected, "{shown}");
    }
    assert_eq!(verify(&"x".repeat(9 * 1024), &keys, &options()).unwrap_err(), TokenError::TooLong);
}

#[tokio::test(start_paused = true)]
async fn a_token_has_its_time_with_a_leeway_of_half_a_minute() {
    let issuer = Issuer::hs256(SECRET);
    let keys = of_file(&issuer);
    let at = seconds_from_now;
    for (claims, expected) in [
        (json!({"exp": at(60)}), "taken"),
        (json!({"exp": at(-20)}), "taken"),
        (json!({"exp": at(-40)}), "expired"),
        (json!({"exp": 0}), "expired"),
        (json!({"exp": -1}), "claims"),
        (json!({"exp": at(60), "nbf": at(20)}), "taken"),
        (json!({"exp": at(60), "nbf": at(40)}), "not_yet"),
        (json!({"exp": at(60), "nbf": "now"}), "claims"),
        (json!({}), "claims"),
        (json!({"exp": null}), "claims"),
        (json!({"exp": at(60).to_string()}), "claims"),
        (json!({"exp": [at(60)]}), "claims"),
        (json!({"exp": f64::from(i32::try_from(at(60)).unwrap()) + 0.5}), "taken"),
        (json!({"exp": at(24 * 3600)}), "taken"),
        (json!({"exp": at(24 * 3600 + 60)}), "lifetime"),
        (json!({"exp": u64::MAX}), "lifetime"),
        (json!({"exp": 1e300}), "claims"),
    ] {
        assert_eq!(word(&issuer.token(&claims), &keys), expected, "{claims}");
    }
    let rights = verify(&issuer.token(&json!({"exp": at(60)})), &keys, &options()).unwrap();
    let remaining = rights.expires.unwrap() - Instant::now();
    assert!((Duration::from_secs(88)..=Duration::from_secs(90)).contains(&remaining), "{remaining:?}");
}

#[tokio::test]
async fn issuer_and_audience_have_to_be_those_that_are_configured() {
    let issuer = Issuer::hs256(SECRET);
    let keys = of_file(&issuer);
    let wanted =
        TokenOptions { issuer: Some("https://id.example".to_owned()), audience: Some("push".to_owned()), ..options() };
    for (claims, of_wanted, of_any) in [
        (json!({"iss": "https://id.example", "aud": "push"}), "taken", "audience"),
        (json!({"iss": "https://id.example", "aud": ["web", "push"]}), "taken", "audience"),
        (json!({"iss": "https://id.example", "aud": ["web"]}), "audience", "audience"),
        (json!({"iss": "https://id.example", "aud": []}), "audience", "audience"),
        (json!({"iss": "https://id.example", "aud": 7}), "audience", "claims"),
        (json!({"iss": "https://id.example"}), "audience", "taken"),
        (json!({"iss": "https://id.example/", "aud": "push"}), "issuer", "audience"),
        (json!({"iss": 7, "aud": "push"}), "issuer", "audience"),
        (json!({"aud": "push"}), "issuer", "audience"),
        (json!({}), "issuer", "taken"),
    ] {
        let token = issuer.token_for_an_hour(&claims);
        let outcome = |options| verify(&token, &keys, &options).map_or_else(|error| error.word(), |_| "taken");
        // Which of two faults is told first does not matter.
        let told = outcome(wanted.clone());
        assert!(
            told == of_wanted || (of_wanted != "taken" && ["issuer", "audience"].contains(&told)),
            "{claims}: {told}"
        );
        let told = outcome(options());
        assert!(told == of_any || (of_any == "audience" && told == "claims"), "{claims}: {told}");
    }
}

#[tokio::test]
async fn a_key_of_a_set_checks_the_tokens_that_name_it() {
    let [one, two] = ["one", "two"].map(|id| Issuer::es256().named(id));
    let keys = keys::public(&key_set([&one, &two])).unwrap();
    let claims = json!({"exp": seconds_from_now(60)});
    assert_eq!([&one, &two].map(|issuer| word(&issuer.token(&claims), &keys)), ["taken"; 2]);
    let named = |id: &str| json!({"alg": "ES256", "kid": id});
    // The key of another one does not stand for it, and none is looked for by trying.
    assert_eq!(word(&one.token_with(&named("two"), &claims), &keys), "signature");
    assert_eq!(word(&one.token_with(&named("three"), &claims), &keys), "unknown_key");
    assert_eq!(word(&one.token_with(&json!({"alg": "ES256"}), &claims), &keys), "unknown_key");
    let alone = keys::public(&key_set([&one])).unwrap();
    assert_eq!(word(&one.token_with(&json!({"alg": "ES256"}), &claims), &alone), "taken");
    // A file of PEM has no names; the issuer may give one all the same.
    assert_eq!(word(&one.token(&claims), &of_file(&one)), "taken");
}
