//! Which topics are feeds, as people write it.

use std::str::FromStr;

use events::{TopicError, TopicPattern};

/// What stands in the place of topics where there shall be no feeds. A topic of this name alone can be none.
const NONE: &str = "none";

/// One word of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FeedTopic {
    None,
    Of(TopicPattern),
}

impl FromStr for FeedTopic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == NONE { Ok(Self::None) } else { text.parse().map(Self::Of) }
    }
}

/// Returns the patterns of a list; `None` if it names some and says that there are none.
pub(super) fn patterns(list: Vec<FeedTopic>) -> Option<Vec<TopicPattern>> {
    let length = list.len();
    let patterns: Vec<_> = list
        .into_iter()
        .filter_map(|topic| match topic {
            FeedTopic::None => None,
            FeedTopic::Of(pattern) => Some(pattern),
        })
        .collect();
    (patterns.is_empty() || patterns.len() == length).then_some(patterns)
}
