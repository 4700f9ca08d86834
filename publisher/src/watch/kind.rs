//! What kind of content a file holds: its name says so, where it says anything.

use std::path::Path;

use events::ContentType;

/// The type of the event that says that there is no file. Its payload is empty; no content can be mistaken for it.
pub(crate) const DELETED: &str = "application/vnd.postern.deleted";

/// Returns [`DELETED`].
pub(super) fn deleted() -> ContentType {
    ContentType::new(DELETED).unwrap_or_else(|_| ContentType::bytes())
}

/// Returns the type that a file's name promises, or `None` where the content has to be looked at.
///
/// Text that is no UTF-8 could not be shown as text. A type of JSON is not judged here: content that breaks it is no
/// event.
pub(super) fn of(path: &Path, content: &[u8]) -> Option<ContentType> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    let subtype = match extension.as_str() {
        "json" => return Some(ContentType::json()),
        "yaml" | "yml" => "yaml",
        "toml" => "toml",
        "txt" | "conf" | "cfg" | "ini" | "properties" | "env" | "log" => "plain",
        "md" => "markdown",
        "html" | "htm" => "html",
        "csv" => "csv",
        "xml" => "xml",
        _ => return None,
    };
    let is_text = std::str::from_utf8(content).is_ok();
    Some(if is_text { ContentType::new(&format!("text/{subtype}; charset=utf-8")).ok()? } else { ContentType::bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_promises_a_type() {
        let of = |name: &str, content: &[u8]| of(name.as_ref(), content).map(|kind| kind.as_str().to_owned());
        for (name, content, expected) in [
            ("a.json", &b"{nope"[..], Some("application/json")),
            ("a.YML", b"a: 1", Some("text/yaml; charset=utf-8")),
            ("a.toml", b"a = 1", Some("text/toml; charset=utf-8")),
            ("a.txt", b"17", Some("text/plain; charset=utf-8")),
            ("a.txt", b"\xff", Some("application/octet-stream")),
            ("a.bin", b"{}", None),
            ("json", b"{}", None),
            (".env", b"A=1", None),
        ] {
            assert_eq!(of(name, content).as_deref(), expected, "{name}");
        }
        assert_eq!(deleted().as_str(), DELETED);
    }
}
