//! The token of a request, and what it may do.
//!
//! A token comes in `Authorization: Bearer` (RFC 6750, section 2.1), or in a cookie that the application has set. It is
//! never in the query: URLs are logged, remembered and passed on (RFC 9700, section 4.3.2).

use std::sync::Arc;

use access::{Access, Denied, NotAllowed, Rights, TokenError};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE},
};

use super::problem::{At, Problem};

/// The scheme of a token, in lower case.
const BEARER: &str = "bearer";

/// The names of the cookies that a token is taken from.
#[derive(Debug, Clone, Default)]
pub struct TokenCookies(pub Vec<String>);

/// Who sends a request, as far as is known without waiting.
pub(super) enum Caller {
    Known(Arc<Rights>),
    /// With a token of a key that may have come since the keys were fetched.
    OfUnknownKey(Box<str>),
    Refused(NotAllowed),
}

impl Caller {
    /// Reads the token of a request. Cookies count only if the request comes from a page that is trusted with them.
    pub(super) fn of(headers: &HeaderMap, access: &Access, cookies: &TokenCookies, may_use_cookies: bool) -> Self {
        let token = match token(headers, cookies, may_use_cookies) {
            Ok(token) => token,
            Err(error) => return Self::Refused(NotAllowed::Token(error)),
        };
        match (access.rights(token), token) {
            (Ok(rights), _) => Self::Known(rights),
            (Err(NotAllowed::Token(TokenError::UnknownKey | TokenError::Algorithm)), Some(token)) => {
                Self::OfUnknownKey(token.into())
            }
            (Err(error), _) => Self::Refused(error),
        }
    }

    /// Returns the name of the sender, as far as it is known without waiting.
    pub(super) fn subject(&self) -> Option<&Arc<str>> {
        match self {
            Self::Known(rights) => rights.subject.as_ref(),
            Self::OfUnknownKey(_) | Self::Refused(_) => None,
        }
    }

    /// Tells whether the sender would be let in with a token that is newer, or once the keys are: it has to get to know
    /// that, whatever others at its address do.
    pub(super) const fn may_renew(&self) -> bool {
        matches!(self, Self::OfUnknownKey(_) | Self::Refused(NotAllowed::Token(TokenError::Expired)))
    }

    /// Returns what the request may do.
    pub(super) async fn rights(self, access: &Access) -> Result<Arc<Rights>, Problem> {
        let rights = match self {
            Self::Known(rights) => Ok(rights),
            Self::OfUnknownKey(token) => access.rights_with_new_keys(Some(&token)).await,
            Self::Refused(error) => Err(error),
        };
        rights.map_err(|error| refused(access, error))
    }
}

fn refused(access: &Access, error: NotAllowed) -> Problem {
    match error {
        NotAllowed::NoToken => Problem::NoToken(None),
        NotAllowed::NoKeys => Problem::NoKeys,
        NotAllowed::Token(error) => {
            access.metrics().refused(&error);
            Problem::BadToken(error)
        }
    }
}

/// Refuses what rights do not include. A client without a token may have one, and gets to know that.
pub(super) fn not_included(access: &Access, rights: &Rights, denied: Denied) -> Problem {
    if access.takes_tokens() && rights.is_anonymous {
        return Problem::NoToken(Some(denied));
    }
    access.metrics().denied(&denied);
    Problem::Denied(denied)
}

/// Refuses an event of a batch whose topic rights do not include.
pub(super) fn not_included_in_batch(access: &Access, rights: &Rights, at: At, denied: Denied) -> Problem {
    match not_included(access, rights, denied) {
        Problem::Denied(denied) => Problem::DeniedEvent(at, denied),
        problem => problem,
    }
}

/// Returns the token of a request. One in the header comes before one in a cookie.
fn token<'a>(
    headers: &'a HeaderMap,
    cookies: &TokenCookies,
    may_use_cookies: bool,
) -> Result<Option<&'a str>, TokenError> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    if let (Some(value), more) = (given.next(), given.next()) {
        let text = value.to_str().map_err(|_| TokenError::Malformed)?;
        // Which of two would count is not known.
        if more.is_some() {
            return Err(TokenError::GivenTwice);
        }
        // Other schemes are of a proxy in front.
        if let Some((scheme, token)) = text.split_once(' ')
            && scheme.eq_ignore_ascii_case(BEARER)
        {
            return Ok(Some(token.trim()));
        }
    }
    if !may_use_cookies {
        return Ok(None);
    }
    let lists = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lists.flat_map(|list| list.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut tokens = pairs.filter(|(name, _)| cookies.0.iter().any(|known| known == name)).map(|(_, value)| value);
    match (tokens.next(), tokens.next()) {
        (Some(_), Some(_)) => Err(TokenError::GivenTwice),
        (token, _) => Ok(token.filter(|token| !token.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &str)], may_use_cookies: bool) -> Result<Option<String>, TokenError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let cookies = TokenCookies(vec!["__Host-postern".to_owned(), "postern".to_owned()]);
        token(&map, &cookies, may_use_cookies).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn a_token_is_in_the_header_or_in_a_cookie() {
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(of(&[("authorization", "Bearer a.b.c")], true), some("a.b.c"));
        assert_eq!(of(&[("authorization", "bearer  a.b.c ")], true), some("a.b.c"));
        assert_eq!(of(&[("cookie", "x=1; postern=a.b.c; y")], true), some("a.b.c"));
        assert_eq!(of(&[("cookie", "x=1"), ("cookie", "__Host-postern=a.b.c")], true), some("a.b.c"));
        assert_eq!(of(&[("cookie", "postern=a.b.c")], false), Ok(None));
        assert_eq!(of(&[("authorization", "Bearer h"), ("cookie", "postern=c")], true), some("h"));
        // Of a proxy in front, and of other applications.
        assert_eq!(of(&[("authorization", "Basic YTpi"), ("cookie", "postern=c")], true), some("c"));
        for none in [("authorization", "Basic YTpi"), ("cookie", "postern="), ("cookie", "xpostern=c"), ("x", "y")] {
            assert_eq!(of(&[none], true), Ok(None), "{none:?}");
        }
    }

    #[test]
    fn two_tokens_are_none() {
        for twice in [
            [("authorization", "Bearer a"), ("authorization", "Bearer a")],
            [("cookie", "postern=a"), ("cookie", "postern=b")],
            [("cookie", "postern=a; __Host-postern=b"), ("x", "y")],
        ] {
            assert_eq!(of(&twice, true), Err(TokenError::GivenTwice), "{twice:?}");
        }
    }
}
