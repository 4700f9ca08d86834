//! Taking short texts apart.

/// Does what `str::split_once` does, for one byte of ASCII. That is made for texts of any length, and costs several times as
/// much where a text is as short as those of a request line.
pub(super) fn split_once(text: &str, at: u8) -> Option<(&str, &str)> {
    debug_assert!(at.is_ascii(), "a text cannot be split within a character");
    let place = text.bytes().position(|byte| byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_where_the_byte_stands_first() {
        for text in ["", "=", "a", "a=b", "ü=ä=", "=b"] {
            assert_eq!(split_once(text, b'='), text.split_once('='), "{text:?}");
        }
    }
}
