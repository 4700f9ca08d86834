//! What a reader selects: one pattern, or several together.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{Topic, TopicError, TopicPattern};

/// One to [`Selection::MAX`] patterns; an event is selected if any of them selects its topic. The same patterns in another
/// order are the same selection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selection(Arc<[TopicPattern]>);

/// Why a text is no [`Selection`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// One of the patterns is none.
    #[error("{error} (in {pattern:?})")]
    Pattern {
        /// The text of it.
        pattern: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// More patterns than a selection may have.
    #[error("at most {max} patterns, separated by commas, not {0}", max = Selection::MAX)]
    TooMany(usize),
}

impl Selection {
    /// The most patterns of a selection.
    pub const MAX: usize = 64;

    /// Selects every topic.
    #[must_use]
    pub fn all() -> Self {
        TopicPattern::all().into()
    }

    /// Returns the patterns, in the order of their texts.
    #[must_use]
    pub fn patterns(&self) -> &[TopicPattern] {
        &self.0
    }

    /// Tells whether it is a list of topics: no pattern has a wildcard.
    #[must_use]
    pub fn is_of_topics(&self) -> bool {
        self.0.iter().all(TopicPattern::is_topic)
    }

    /// Tells whether any of its patterns selects a topic.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.0.iter().any(|pattern| pattern.matches(topic))
    }
}

impl From<TopicPattern> for Selection {
    fn from(pattern: TopicPattern) -> Self {
        Self([pattern].into())
    }
}

impl FromStr for Selection {
    type Err = SelectionError;

    /// Reads patterns that are separated by commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |pattern: &str| {
            pattern.parse().map_err(|error| SelectionError::Pattern { pattern: pattern.to_owned(), error })
        };
        let count = text.bytes().filter(|byte| *byte == b',').count() + 1;
        if count == 1 {
            return parse(text).map(TopicPattern::into);
        }
        if count > Self::MAX {
            return Err(SelectionError::TooMany(count));
        }
        let mut patterns = text.split(',').map(parse).collect::<Result<Vec<TopicPattern>, _>>()?;
        patterns.sort_unstable();
        patterns.dedup();
        Ok(Self(patterns.into()))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pattern) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{pattern}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_in_any_order_and_however_often_are_the_same_selection() {
        let read = |text: &str| text.parse::<Selection>();
        let selection = read("b.#,a.*").unwrap();
        assert_eq!(read("a.*,b.#,a.*").unwrap(), selection);
        assert_eq!(selection.to_string(), "a.*,b.#");
        let selects = |topic: &str| selection.matches(&topic.parse().unwrap());
        assert_eq!(["a.1", "b", "b.2.3", "a", "c"].map(selects), [true, true, true, false, false]);
        assert!(read("a,b.c").unwrap().is_of_topics() && !selection.is_of_topics());
    }

    #[test]
    fn what_is_no_selection_is_told_with_the_pattern() {
        let of = |count: usize| vec!["a"; count].join(",").parse::<Selection>();
        assert!(of(64).is_ok());
        assert_eq!(of(65), Err(SelectionError::TooMany(65)));
        for (text, wrong) in [("", ""), ("a,", ""), ("a,b c", "b c"), (" a", " a")] {
            let error = text.parse::<Selection>().unwrap_err();
            assert!(matches!(&error, SelectionError::Pattern { pattern, .. } if pattern == wrong), "{error}");
        }
    }
}
