//! Topics and the patterns that select them.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use crate::words::Words;

/// The longest topic or pattern, in bytes: an AMQP short string (AMQP 0-9-1, section 4.2.5.3).
const MAX_LEN: usize = 255;

/// The most words of a pattern. Every publish walks the words of all patterns that could still select it.
const MAX_PATTERN_WORDS: usize = 32;

/// The most `#` of a pattern: each multiplies the ways in which it can select a topic. RabbitMQ takes no more from 4.3
/// on.
const MAX_HASHES: usize = 2;

/// The pattern that selects every topic.
const EVERYTHING: &str = "#";

/// What an event is about: words of `[A-Za-z0-9_-]+` joined by `.`, at most 255 bytes, e.g. `jobs.42.status`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Takes the routing key of a message of another publisher.
    ///
    /// It may be any text: it is shown to clients as it came, never parsed, and never published again.
    #[must_use]
    pub fn from_routing_key(key: &str) -> Self {
        Self(key.into())
    }

    /// Returns the topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the words. An empty routing key has none, as in a topic exchange: only a `#` selects it.
    pub(crate) fn words(&self) -> Words<'_> {
        if self.0.is_empty() { Words::none() } else { Words::of(&self.0) }
    }
}

/// A [`Topic`] in which `*` stands for one word and `#` for any number of words, also none: at most 32 words, two of
/// them `#`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPattern(Arc<str>);

impl TopicPattern {
    /// Returns `#`, which selects every topic.
    #[must_use]
    pub fn all() -> Self {
        Self(EVERYTHING.into())
    }

    /// Tells whether it is `#`.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self.0 == *EVERYTHING
    }

    /// Reads a pattern that was accepted and stored before patterns had limits on their words.
    ///
    /// Errors as parsing does, but for [`TopicError::PatternWords`] and [`TopicError::Hashes`].
    pub fn from_stored(text: &str) -> Result<Self, TopicError> {
        match first_bad_word(text, |word| matches!(word, "*" | "#") || is_word(word))? {
            Some(word) => Err(TopicError::PatternWord(word)),
            None => Ok(Self(text.into())),
        }
    }

    /// Returns the pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the words before the first wildcard; empty if the first word is one.
    #[must_use]
    pub fn literal_beginning(&self) -> &str {
        let wildcard = self.0.find(['*', '#']);
        wildcard.map_or(&*self.0, |at| self.0[..at].trim_end_matches('.'))
    }

    /// Tells whether the pattern has no wildcard and so selects one topic.
    #[must_use]
    pub fn is_topic(&self) -> bool {
        !self.0.bytes().any(|byte| matches!(byte, b'*' | b'#'))
    }

    /// Tells whether the pattern selects a topic, by the rules of an AMQP topic exchange (AMQP 0-9-1, section 3.1.3.3).
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        // Each wildcard also selects the word that it is itself.
        self.is_all() || self.0 == topic.0 || self.matches_in_steps(topic, || {})
    }

    /// Does what [`Self::matches`] does, and tells of each step.
    pub(crate) fn matches_in_steps(&self, topic: &Topic, mut step: impl FnMut()) -> bool {
        let (mut pattern, mut words) = (Words::of(&self.0), topic.words());
        // Where to go on when what stands after the last `#` does not fit: one word further.
        let mut retry = None;
        loop {
            step();
            let rest = words.clone();
            match (pattern.next(), words.next()) {
                (Some("#"), _) => {
                    (words, retry) = (rest.clone(), Some((pattern.clone(), rest)));
                    continue;
                }
                (Some("*"), Some(_)) => continue,
                (Some(wanted), Some(word)) if wanted == word => continue,
                (None, None) => return true,
                _ => {}
            }
            let Some((after, from)) = &mut retry else { return false };
            if from.next().is_none() {
                return false;
            }
            (pattern, words) = (after.clone(), from.clone());
        }
    }
}

impl TopicPattern {
    /// Tells whether a topic can match both patterns. Topics of any length count, also those that are longer than
    /// topics may be.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        if self.is_all() || other.is_all() {
            return true;
        }
        let [mine, theirs] = [self, other].map(|pattern| Words::of(&pattern.0).collect::<Vec<_>>());
        let can_be_empty = |rest: &[&str]| rest.iter().all(|word| *word == "#");
        // For the words from `i` of this pattern, and from each place of the other one: whether the same words match
        // both.
        let mut after: Vec<bool> = (0..=theirs.len()).map(|j| can_be_empty(&theirs[j..])).collect();
        for i in (0..mine.len()).rev() {
            let mut here = vec![can_be_empty(&mine[i..]); theirs.len() + 1];
            for j in (0..theirs.len()).rev() {
                here[j] = match (mine[i], theirs[j]) {
                    // A `#` ends here, or takes one more word, which the other pattern takes as well.
                    ("#", _) | (_, "#") => after[j] || here[j + 1],
                    (one, two) => (one == two || one == "*" || two == "*") && after[j + 1],
                };
            }
            after = here;
        }
        after[0]
    }
}

/// Why a text is no [`Topic`] or no [`TopicPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Empty or longer than 255 bytes.
    #[error("a topic has 1 to {MAX_LEN} bytes, this one has {0}")]
    Length(usize),
    /// A word is empty or has a character that words do not have.
    #[error("a topic is words of A-Z a-z 0-9 _ - joined by dots, but its word {0} is not one")]
    Word(usize),
    /// As [`TopicError::Word`], where wildcards are allowed.
    #[error("a topic pattern is words of A-Z a-z 0-9 _ -, or * or #, joined by dots, but its word {0} is not one")]
    PatternWord(usize),
    /// More words than a pattern may have.
    #[error(
        "a topic pattern has at most {MAX_PATTERN_WORDS} words, this one has {0}; # stands for any number of words"
    )]
    PatternWords(usize),
    /// More `#` than a pattern may have.
    #[error("a topic pattern has at most {MAX_HASHES} words that are #, this one has {0}")]
    Hashes(usize),
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Checks the length and returns the number (from 1) of the first invalid word.
fn first_bad_word(text: &str, is_valid: impl Fn(&str) -> bool) -> Result<Option<usize>, TopicError> {
    if text.is_empty() || text.len() > MAX_LEN {
        return Err(TopicError::Length(text.len()));
    }
    Ok(Words::of(text).position(|word| !is_valid(word)).map(|at| at + 1))
}

/// Topics are ordered as their texts are.
impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match first_bad_word(text, is_word)? {
            Some(word) => Err(TopicError::Word(word)),
            None => Ok(Self(text.into())),
        }
    }
}

impl FromStr for TopicPattern {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pattern = Self::from_stored(text)?;
        // A wildcard is a word of its own.
        let count = |wanted| text.bytes().filter(|byte| *byte == wanted).count();
        let (words, hashes) = (count(b'.') + 1, count(b'#'));
        if words > MAX_PATTERN_WORDS {
            Err(TopicError::PatternWords(words))
        } else if hashes > MAX_HASHES {
            Err(TopicError::Hashes(hashes))
        } else {
            Ok(pattern)
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.0)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicPattern({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_topic_is_dotted_words() {
        for good in ["a", "jobs.42.status", "A_b-9.x", &"w".repeat(255)] {
            assert!(good.parse::<Topic>().is_ok(), "{good}");
            assert!(good.parse::<TopicPattern>().is_ok(), "{good}");
        }
        assert_eq!("".parse::<Topic>(), Err(TopicError::Length(0)));
        assert_eq!("w".repeat(256).parse::<Topic>(), Err(TopicError::Length(256)));
        for (bad, word) in [(".", 1), ("a..b", 2), ("a.b.", 3), ("a b", 1), ("a.ü", 2), ("a.*", 2), ("#", 1)] {
            assert_eq!(bad.parse::<Topic>(), Err(TopicError::Word(word)), "{bad}");
        }
    }

    #[test]
    fn a_pattern_selects_as_a_topic_exchange_does() {
        let table = [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("*", "a", true),
            ("*", "a.b", false),
            ("a.*", "a", false),
            ("a.*.c", "a.b.c", true),
            ("#", "a", true),
            ("#", "a.b.c", true),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("a.#", "b", false),
            ("#.c", "c", true),
            ("#.c", "a.c.c", true),
            ("#.c", "a.c.b", false),
            ("a.#.c.#.e", "a.b.c.c.d.e", true),
            ("a.#.c.#.e", "a.c.e", true),
            ("a.#.c.#.e", "a.e", false),
            ("#.*", "a", true),
            ("#.*.*", "a", false),
            ("*.#", "a.b", true),
            ("#.#", "a", true),
        ];
        for (pattern, topic, selected) in table {
            let (pattern, topic): (TopicPattern, Topic) = (pattern.parse().unwrap(), topic.parse().unwrap());
            assert_eq!(pattern.matches(&topic), selected, "{pattern} {topic}");
        }
    }

    #[test]
    fn a_routing_key_of_any_form_is_selected_by_its_words() {
        let table = [
            ("#", "", true),
            ("*", "", false),
            ("*.#", "", false),
            ("*", "ü/x", true),
            ("a.*", "a.", true),
            ("a.*.b", "a..b", true),
            ("a.b", "a..b", false),
            ("a.*", "a.*", true),
        ];
        for (pattern, key, selected) in table {
            let (pattern, topic): (TopicPattern, _) = (pattern.parse().unwrap(), Topic::from_routing_key(key));
            let by_map = {
                let mut map = crate::PatternMap::default();
                map.insert(&pattern, ());
                map.take_matching(&topic).len() == 1
            };
            let by_matcher = crate::Matcher::new(&pattern).matches(&topic);
            assert_eq!(
                (pattern.matches(&topic), by_matcher, by_map),
                (selected, selected, selected),
                "{pattern} {key:?}"
            );
        }
    }

    #[test]
    fn patterns_that_share_a_topic_intersect() {
        for (one, other, shared) in [
            ("a.#", "zz.b", false),
            ("a.#", "a", true),
            ("a.#", "#.b", true),
            ("a.*", "*.b", true),
            ("a.*", "*", false),
            ("*.#.b", "a.*", true),
            ("a.#.b", "a.c", false),
            ("#", "a.b", true),
            ("stock.*", "stock.*.eu", false),
        ] {
            let [one, other] = [one, other].map(|text| text.parse::<TopicPattern>().unwrap());
            assert_eq!((one.intersects(&other), other.intersects(&one)), (shared, shared), "{one} {other}");
        }
    }

    proptest! {
        /// A shortest shared topic has no more words than both patterns together.
        #[test]
        fn patterns_intersect_if_any_topic_matches_both(one in "[ab*#](\\.[ab*#]){0,2}", other in "[ab*#](\\.[ab*#]){0,2}") {
            let (Ok(one), Ok(other)) = (one.parse::<TopicPattern>(), other.parse::<TopicPattern>()) else { return Ok(()) };
            let mut topics = vec![String::new()];
            let mut shared = false;
            for _ in 0..6 {
                topics = topics.iter().flat_map(|head| ["a", "b", "c"].map(|word| format!("{head}.{word}"))).collect();
                shared |= topics.iter().any(|topic| {
                    let topic = topic[1..].parse().unwrap();
                    one.matches(&topic) && other.matches(&topic)
                });
            }
            prop_assert_eq!(one.intersects(&other), shared, "{} {}", one, other);
        }
    }

    #[test]
    fn a_wildcard_is_a_word_of_its_own() {
        for good in ["#", "*", "jobs.#", "*.status", "a.*.b.#"] {
            assert!(good.parse::<TopicPattern>().is_ok(), "{good}");
        }
        for (bad, word) in [("a*", 1), ("a.#b", 2), ("a..#", 2), ("**", 1)] {
            assert_eq!(bad.parse::<TopicPattern>(), Err(TopicError::PatternWord(word)), "{bad}");
        }
    }

    #[test]
    fn a_pattern_is_bounded_by_what_it_costs() {
        let pattern = |words: &[&str]| words.join(".").parse::<TopicPattern>();
        assert!(pattern(&["*"; 32]).is_ok() && pattern(&["#", "a", "#"]).is_ok());
        assert_eq!(pattern(&["*"; 33]), Err(TopicError::PatternWords(33)));
        assert_eq!(pattern(&["#", "a", "#", "#"]), Err(TopicError::Hashes(3)));
        // An older gateway may have stored such a pattern.
        assert_eq!(TopicPattern::from_stored("#.a.#.#").unwrap().as_str(), "#.a.#.#");
        assert_eq!(TopicPattern::from_stored("#.a#"), Err(TopicError::PatternWord(2)));
        assert!(["a"; 128].join(".").parse::<Topic>().is_ok(), "a topic costs one walk");
    }
}
