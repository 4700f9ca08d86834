//! `GET /`: what a newcomer sees first: the live events of a mailbox, the jobs of a feed, a form that publishes, the
//! commands that do the same.
//!
//! One document that needs no other file and no other host. Its policy lets exactly its own style and its own script
//! in, each named by its hash, so that nothing that an event carries can run there.

use std::sync::LazyLock;

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use sha2::{Digest, Sha256};

use super::client_js;
use crate::http::body::{self, HttpResponse};

const DOCUMENT: &str = include_str!("page/index.html");
const STYLES: [&str; 2] = [include_str!("page/page.css"), include_str!("page/jobs.css")];
/// The page's own parts, in the order in which they run. They share one scope.
const PARTS: [&str; 7] = [
    include_str!("page/gateway.js"),
    include_str!("page/token.js"),
    include_str!("page/list.js"),
    include_str!("page/mailbox.js"),
    include_str!("page/publish.js"),
    include_str!("page/jobs.js"),
    include_str!("page/page.js"),
];

/// Where the document takes the other two in.
const STYLE_PLACE: &str = "{style}";
const SCRIPT_PLACE: &str = "{script}";

static PAGE: LazyLock<Page> = LazyLock::new(Page::assemble);

struct Page {
    document: Bytes,
    policy: HeaderValue,
}

impl Page {
    fn assemble() -> Self {
        let (style, script) = (STYLES.concat(), script());
        let document = DOCUMENT.replacen(STYLE_PLACE, &style, 1).replacen(SCRIPT_PLACE, &script, 1);
        let policy = format!(
            "default-src 'none'; connect-src 'self'; img-src data:; style-src {}; script-src {}; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            source(&style),
            source(&script),
        );
        // It is plain ASCII. Were it not, a page that does nothing would be better than one without a policy.
        let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self { document: document.into(), policy }
    }
}

/// Puts the client, as `GET /client.js` gives it, before the page's parts. Those stand in a block, so that no name of
/// theirs meets one of the client; `feed` and `mailbox` keep their names in the bundle, so that the parts can call
/// them.
fn script() -> String {
    format!("{}\n{{\n{}}}\n", client_js::MODULE, PARTS.join("\n"))
}

/// Names inline content in a policy (Content Security Policy Level 3, section 2.3.1, "hash-source").
fn source(inline: &str) -> String {
    format!("'sha256-{}'", Base64Display::new(&Sha256::digest(inline), &STANDARD))
}

/// Returns the page.
pub(crate) fn page() -> HttpResponse {
    let mut response = body::whole(PAGE.document.clone());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, PAGE.policy.clone());
    // A new gateway brings a new page.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_takes_both_in_whole() {
        let document = str::from_utf8(&PAGE.document).unwrap();
        assert!(document.contains(&format!("<style>{}</style>", STYLES.concat())));
        assert!(document.contains(&format!("<script type=\"module\">{}</script>", script())));
        // Else the document would end them earlier than the hash does.
        assert_eq!((document.matches("</style").count(), document.matches("</script").count()), (1, 1));
    }

    /// The digest of "abc" (FIPS 180-2, appendix B.1).
    #[test]
    fn a_source_is_named_as_the_standard_says() {
        assert_eq!(source("abc"), "'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='");
    }
}
