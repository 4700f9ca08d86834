//! Whether patterns together select all that another one selects, exactly.
//!
//! Topics of any length count, and any words, because foreign publishers choose their routing keys freely. A word that
//! no allowed pattern names is the hardest one for them: it passes their wildcards only, and every other word passes
//! those as well. So it is enough to try that word for each wildcard of the request: once for `*`, and for `#` as often
//! as that makes a difference. What is left are sets of positions in the allowed patterns, each of which must be able
//! to end where the request does.

use crate::{TopicPattern, matcher::States};

/// The most steps of one question. Against one pattern the hardest takes about 1,100 (32 words, two `#`), and patterns
/// leave the search at the first word that they do not share. More steps are answered with no, in about a millisecond.
const MAX_STEPS: usize = 100_000;

/// Tells whether every topic that the request selects is selected by one of the allowed patterns.
///
/// It may be one pattern for some topics and another one for others. A pattern of more than 63 words, which only a
/// stored one can be, allows nothing, and a question that takes too many steps is answered with `false`.
#[must_use]
pub fn covers(allowed: &[TopicPattern], request: &TopicPattern) -> bool {
    covers_in_steps(allowed, request).0
}

/// Does what [`covers`] does, and tells how many steps it took.
pub(crate) fn covers_in_steps(allowed: &[TopicPattern], request: &TopicPattern) -> (bool, usize) {
    let mut search = Search { allowed: allowed.iter().filter_map(States::of).collect(), steps: 0 };
    let is_covered = search.covers(request);
    (is_covered == Some(true), search.steps)
}

/// The positions in the allowed patterns that the same words lead to: the number of each pattern that still takes part,
/// in order, and where it stands.
type Positions = Vec<(usize, u64)>;

struct Search<'a> {
    allowed: Vec<States<'a>>,
    /// One for each pattern of positions that are looked at.
    steps: usize,
}

/// What the words of the request so far can lead to, each harder than all that was left out: a smaller set is harder.
type Front = Vec<Positions>;

impl Search<'_> {
    /// Returns nothing if the question takes too many steps.
    fn covers(&mut self, request: &TopicPattern) -> Option<bool> {
        let start = self.allowed.iter().map(States::start).enumerate().collect();
        let mut front = Front::new();
        self.add(start, &mut front)?;
        for word in request.as_str().split('.') {
            let mut next = Front::new();
            for mut positions in front {
                if word != "#" {
                    let literal = (word != "*").then_some(word);
                    positions = self.after(&positions, literal)?;
                    self.add(positions, &mut next)?;
                    continue;
                }
                // The positions come to rest: a `#` that was reached stays reached, and all else moves to an end.
                loop {
                    let after = self.after(&positions, None)?;
                    let at_rest = after == positions;
                    self.add(positions, &mut next)?;
                    if at_rest {
                        break;
                    }
                    positions = after;
                }
            }
            if next.iter().any(Vec::is_empty) {
                return Some(false);
            }
            front = next;
        }
        let can_end = |positions: &Positions| positions.iter().any(|(at, place)| self.allowed[*at].is_end(*place));
        Some(front.iter().all(can_end))
    }

    /// Returns where a word leads to; `None` is a word that no pattern names.
    fn after(&mut self, positions: &Positions, word: Option<&str>) -> Option<Positions> {
        self.take_steps(positions.len())?;
        let after = positions.iter().map(|(at, place)| (*at, self.allowed[*at].after(*place, word)));
        Some(after.filter(|(_, place)| *place != 0).collect())
    }

    /// Adds positions to a front, unless they are sure to be covered, or as soon as harder ones are.
    fn add(&mut self, positions: Positions, front: &mut Front) -> Option<()> {
        self.take_steps(positions.len() * (1 + 2 * front.len()))?;
        let is_covered = positions.iter().any(|(at, place)| self.allowed[*at].takes_all_after(*place));
        if !is_covered && !front.iter().any(|harder| is_subset(harder, &positions)) {
            front.retain(|easier| !is_subset(&positions, easier));
            front.push(positions);
        }
        Some(())
    }

    fn take_steps(&mut self, steps: usize) -> Option<()> {
        self.steps += steps;
        (self.steps <= MAX_STEPS).then_some(())
    }
}

fn is_subset(smaller: &Positions, larger: &Positions) -> bool {
    let mut larger = larger.iter();
    smaller.iter().all(|(at, place)| {
        larger
            .by_ref()
            .find(|(other, _)| other >= at)
            .is_some_and(|(other, others)| other == at && place & !others == 0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Topic;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::from_stored(text).unwrap()
    }

    fn patterns(texts: &[&str]) -> Vec<TopicPattern> {
        texts.iter().map(|text| pattern(text)).collect()
    }

    #[test]
    fn what_simple_rules_get_wrong() {
        let table: [(&[&str], &str, bool); 27] = [
            (&["#"], "#", true),
            (&["#"], "a.*.b", true),
            (&["a.#"], "a", true),
            (&["a.#"], "a.#", true),
            (&["a.#"], "#", false),
            (&["a.#"], "*.b", false),
            (&["a.*"], "a.b", true),
            (&["a.b"], "a.*", false),
            // A wildcard is not a literal, and not the other wildcard.
            (&["*"], "#", false),
            (&["a.*"], "a.#", false),
            (&["a.*"], "a.*.#", false),
            (&["a.*.#"], "a.*", true),
            (&["a.*.#"], "a.#", false),
            // In either order a `#` and a `*` stand for at least one word.
            (&["*.#"], "#.*", true),
            (&["#.*"], "*.#", true),
            (&["*.#"], "#.a.#", true),
            (&["*.*.#"], "#.a.#", false),
            // A foreign routing key can be empty.
            (&["*.#"], "#", false),
            // One end says nothing of the other one.
            (&["a.#.b"], "a.b.#", false),
            (&["a.#.b"], "a.b.#.b", true),
            (&["a.#.b"], "a.b", true),
            (&["a.#.b"], "a", false),
            (&["#.a.#"], "b.#.a", true),
            // Only together.
            (&["a", "a.*.#"], "a.#", true),
            (&["a.b", "a.c"], "a.*", false),
            (&["*.b.#", "a.*"], "a.b", true),
            (&[], "a", false),
        ];
        for (allowed, request, covered) in table {
            assert_eq!(covers(&patterns(allowed), &pattern(request)), covered, "{allowed:?} {request}");
        }
    }

    #[test]
    fn a_pattern_that_is_too_long_to_be_followed_allows_nothing() {
        let long = ["a"; 128].join(".");
        assert!(!covers(&patterns(&[&long]), &pattern(&long)));
        assert!(covers(&patterns(&[&long, "a.#"]), &pattern(&long)), "and takes nothing from the others");
        assert!(covers(&patterns(&[&["a"; 63].join(".")]), &pattern(&["a"; 63].join("."))));
    }

    #[test]
    fn the_hardest_question_about_one_pattern_is_answered() {
        let mut most = 0;
        for filling in ["a", "*"] {
            for place in 1..31 {
                let mut words = [filling; 32];
                (words[0], words[place]) = ("#", "#");
                let one = words.join(".");
                for other in ["#.a.#", "*.#", "#.*.a.#", &["*"; 32].join("."), &one, &one.replace('a', "*")] {
                    for (allowed, request) in [(other, one.as_str()), (&one, other)] {
                        let (covered, steps) = covers_in_steps(&patterns(&[allowed]), &pattern(request));
                        assert!(covered || allowed != request, "{request}");
                        most = most.max(steps);
                    }
                }
            }
        }
        assert!((100..MAX_STEPS / 20).contains(&most), "{most} steps");
    }

    #[test]
    fn a_question_of_any_size_ends() {
        let text = |place: usize| {
            let mut words = ["*"; 32];
            (words[0], words[place]) = ("#", "#");
            format!("{}.b{place}", words[..31].join("."))
        };
        let allowed: Vec<TopicPattern> = (1..=30).cycle().take(2000).map(|place| pattern(&text(place))).collect();
        let request = pattern(&format!("{}.#", ["#"; 60].join(".a.")));
        let (covered, steps) = covers_in_steps(&allowed, &request);
        // The step that is too much is the last one.
        assert!(!covered && steps <= MAX_STEPS + allowed.len() * 200, "{steps} steps");
    }

    /// All topics of up to 7 words of two that patterns name and one that they do not; also of none.
    fn topics() -> Vec<Topic> {
        let (mut all, mut longest) = (vec![String::new()], vec![String::new()]);
        for words in 1..=7 {
            let dot = if words == 1 { "" } else { "." };
            longest =
                longest.iter().flat_map(|head| ["a", "b", "z"].map(|word| format!("{head}{dot}{word}"))).collect();
            all.extend_from_slice(&longest);
        }
        all.iter().map(|key| Topic::from_routing_key(key)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

        /// Patterns of up to 4 words differ by topics of at most 7 words, if they differ.
        #[test]
        fn it_agrees_with_trying_all_topics(
            allowed in prop::collection::vec("[ab*#](\\.[ab*#]){0,3}", 1..4),
            request in "[ab*#](\\.[ab*#]){0,3}",
        ) {
            thread_local!(static TOPICS: Vec<Topic> = topics());
            let (allowed, request): (Vec<_>, _) = (allowed.iter().map(|text| pattern(text)).collect(), pattern(&request));
            let not_allowed = TOPICS.with(|topics| {
                let mut topics = topics.iter().filter(|topic| request.matches(topic));
                topics.find(|topic| !allowed.iter().any(|pattern| pattern.matches(topic))).cloned()
            });
            prop_assert_eq!(covers(&allowed, &request), not_allowed.is_none(), "{:?} {} {:?}", allowed, request, not_allowed);
        }

        #[test]
        fn what_is_covered_is_allowed(
            allowed in prop::collection::vec("[ab*#](\\.[ab*#]){0,9}", 1..6),
            request in "[ab*#](\\.[ab*#]){0,9}",
            topics in prop::collection::vec("[abz](\\.[abz]){0,12}", 20),
        ) {
            let (allowed, request): (Vec<_>, _) = (allowed.iter().map(|text| pattern(text)).collect(), pattern(&request));
            if covers(&allowed, &request) {
                for topic in topics.iter().map(|topic| topic.parse().unwrap()).filter(|topic| request.matches(topic)) {
                    prop_assert!(allowed.iter().any(|pattern| pattern.matches(&topic)), "{:?} {} {}", allowed, request, topic);
                }
            }
        }
    }
}
