//! A certificate that is replaced: SIGHUP has the files read at once, which otherwise happens every minute.

use std::{fs, process::Command};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::*;

const REPLACED: &str = "the certificate was replaced, for new connections";
const KEPT: &str = "the certificate is not replaced; the one before is kept";

impl Secure {
    /// Has the gateway look at its files, and waits until it says what it found.
    async fn look(&self, message: &str) -> Value {
        let from = self.gateway.log().len();
        self.gateway.hang_up();
        eventually(SOON, message, async || self.gateway.log().fields(from, message).ok_or("not logged")).await
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = self.open().await.request(&Request::get("/metrics")).await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

/// Polls on one connection until it is told to stop, and counts the events.
async fn follow(secure: &Secure, number: usize, mut stop: watch::Receiver<bool>) -> u64 {
    let mut connection = secure.open().await;
    let certificate = connection.certificate();
    let (client, mut token, mut seen) = (unique(&format!("reader{number}")), None::<String>, 0);
    loop {
        let is_last = *stop.borrow_and_update();
        let poll = Poll::of(&client).topics(&secure.topic).wait(u32::from(!is_last && token.is_some()));
        let poll = token.iter().fold(poll, |poll, token| poll.last_seen(token));
        let answer = poll.send_on(&mut connection).await;
        token.get_or_insert_default();
        match answer.status {
            200 => {
                let batch = answer.batch();
                seen += batch.events.len() as u64;
                token = Some(batch.last_seen);
            }
            204 if is_last => break,
            _ => drop(answer.expect_status(204)),
        }
    }
    assert_eq!(connection.certificate(), certificate);
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_no_connection_breaks_and_new_ones_get_the_new_certificate() {
    let secure = Secure::new().await;
    let (stop, stopped) = watch::channel(false);
    let readers = (0..20).map(|number| follow(&secure, number, stopped.clone()));
    let replacing = async {
        let sessions = async || match secure.metric("postern_sessions").await {
            20 => Ok(()),
            other => Err(other),
        };
        eventually(SOON, "all readers to be there", sessions).await;
        let mut published = 0;
        for name in ["second", "third", "fourth"] {
            let before = secure.open().await.certificate();
            let next = secure.authority.issue(name);
            secure.pair.replace_by(&next);
            for _ in 0..10 {
                secure.publish("{\"n\":1}").await;
                published += 1;
            }
            secure.look(REPLACED).await;
            let shown = secure.open().await.certificate();
            assert!(shown == next.certificate() && shown != before, "{name}");
            secure.publish("{\"n\":1}").await;
            published += 1;
        }
        stop.send_replace(true);
        published
    };
    let (seen, published) = tokio::join!(join_all(readers), replacing);
    assert_eq!(seen, [published; 20], "each reader has each event once, on the connection that it began with");
    assert_eq!(secure.metric("postern_tls_reload_failures_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_cannot_be_used_keeps_the_one_before_and_is_warned_of() {
    let secure = Secure::new().await;
    let first = secure.pair.certificate();
    let other = secure.authority.issue("other");
    // Half of a renewal: the new certificate with the old key.
    fs::copy(&other.cert, &secure.pair.cert).unwrap();
    let warned = secure.look(KEPT).await;
    assert_eq!(warned["level"], "WARN");
    assert!(warned["error"].as_str().unwrap().contains("is not the key of the first certificate"), "{warned}");
    fs::remove_file(&secure.pair.key).unwrap();
    let warned = secure.look(KEPT).await;
    assert!(warned["error"].as_str().unwrap().contains("cannot be read"), "{warned}");
    assert_eq!(secure.open().await.certificate(), first);
    assert_eq!(secure.metric("postern_tls_reload_failures_total").await, 2);

    secure.pair.replace_by(&other);
    secure.look(REPLACED).await;
    assert_eq!(secure.open().await.certificate(), other.certificate());
    secure.look("the files of TLS are as they were").await;
    assert_eq!(secure.metric("postern_tls_reload_failures_total").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_certificate_is_logged_and_measured() {
    let secure = Secure::new().await;
    let asked = ["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"];
    let output = Command::new("openssl").args(asked).arg(&secure.pair.cert).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    // `notAfter=2026-12-18 21:00:00Z`
    let expected = said.trim().trim_start_matches("notAfter=").replace(' ', "T");
    let line = secure.gateway.wait_logged("serving TLS", SOON).await;
    assert_eq!(line["expires"], expected.as_str());
    let seconds = secure.metric("postern_tls_certificate_expiry_timestamp_seconds").await;
    let date = Command::new("date").args(["-u", "+%s", "-d", &expected]).output().unwrap();
    assert_eq!(seconds.to_string(), String::from_utf8(date.stdout).unwrap().trim());
}
