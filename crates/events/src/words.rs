//! The words of a topic, or of a pattern: what its dots separate.

/// Goes through the words of a text. One that is empty has one empty word.
///
/// `str::split` is made for separators of any kind, and costs several times as much for words that are as short as these;
/// a poll of a feed goes through words ten times.
#[derive(Debug, Clone)]
pub(crate) struct Words<'a> {
    /// What is left; `None` after the last word.
    rest: Option<&'a str>,
}

impl<'a> Words<'a> {
    /// Returns the words of a text.
    pub(crate) const fn of(text: &'a str) -> Self {
        Self { rest: Some(text) }
    }

    /// Returns no words.
    pub(crate) const fn none() -> Self {
        Self { rest: None }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let dot = rest.bytes().position(|byte| byte == b'.');
        self.rest = dot.map(|dot| &rest[dot + 1..]);
        Some(dot.map_or(rest, |dot| &rest[..dot]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_dots_separate() {
        for text in ["", ".", "a", "a.b", "a..ü.", ".a"] {
            assert!(Words::of(text).eq(text.split('.')), "{text:?}");
        }
        assert_eq!(Words::none().next(), None);
    }
}
