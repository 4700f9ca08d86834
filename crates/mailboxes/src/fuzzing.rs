//! What fuzz targets see of tokens.

use super::LastSeen;

/// Makes a token anew from what was read out of one that names a place; `None` for others.
#[must_use]
pub fn remade(token: &LastSeen) -> Option<LastSeen> {
    let (event, place) = (token.event.as_ref()?, token.place?);
    Some(LastSeen::new(event.id.clone(), place, event.check?))
}

/// Tells whether both tokens name the same event at the same place.
#[must_use]
pub fn names_the_same(one: &LastSeen, other: &LastSeen) -> bool {
    (&one.event, one.place) == (&other.event, other.place)
}
