//! The paths of the gateway.
//!
//! One table says what exists: the operations of a path with their names in the log and the metrics, its methods for
//! `Allow` and `OPTIONS`, and the paths of the `OpenAPI` document come from it.

use std::borrow::Cow;

use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use super::{metrics::Operation, problem::Problem, split::split_once, sse};

/// The most parameters that a path has.
const MAX_PARAMETERS: usize = 2;

/// What the sender of a request needs a right to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Nothing,
    /// The mailbox of the path, and all topics that it is to be bound to.
    Mailbox,
    /// All topics of the path.
    Read,
    /// The topic of the path, or those of a batch.
    Publish,
}

/// A path, and what each of its methods does.
#[derive(Debug)]
pub(super) struct Route {
    /// As documents write it: a name in braces stands for one segment, of any text.
    pub(super) path: &'static str,
    /// A GET that is there twice is a poll, and a stream for clients that accept one.
    pub(super) operations: &'static [(Method, Operation, Right)],
}

/// Every path that exists.
pub(super) static ROUTES: [Route; 11] = [
    Route {
        path: "/clients/{client}/events",
        operations: &[
            (Method::GET, Operation::MailboxPoll, Right::Mailbox),
            (Method::GET, Operation::MailboxStream, Right::Mailbox),
        ],
    },
    Route {
        path: "/topics/{topic}/events",
        operations: &[
            (Method::GET, Operation::FeedPoll, Right::Read),
            (Method::GET, Operation::FeedStream, Right::Read),
            (Method::POST, Operation::Publish, Right::Publish),
        ],
    },
    Route {
        path: "/clients/{client}",
        operations: &[
            (Method::GET, Operation::MailboxStatus, Right::Mailbox),
            (Method::DELETE, Operation::MailboxDelete, Right::Mailbox),
        ],
    },
    Route {
        path: "/clients/{client}/topics/{pattern}",
        operations: &[
            (Method::PUT, Operation::MailboxBind, Right::Mailbox),
            (Method::DELETE, Operation::MailboxUnbind, Right::Mailbox),
        ],
    },
    Route { path: "/events", operations: &[(Method::POST, Operation::PublishBatch, Right::Publish)] },
    Route {
        path: "/",
        operations: &[(Method::GET, Operation::Page, Right::Nothing), (Method::HEAD, Operation::Page, Right::Nothing)],
    },
    Route {
        path: "/client.js",
        operations: &[
            (Method::GET, Operation::BrowserClient, Right::Nothing),
            (Method::HEAD, Operation::BrowserClient, Right::Nothing),
        ],
    },
    Route {
        path: "/openapi.json",
        operations: &[
            (Method::GET, Operation::OpenApi, Right::Nothing),
            (Method::HEAD, Operation::OpenApi, Right::Nothing),
        ],
    },
    Route {
        path: "/live",
        operations: &[(Method::GET, Operation::Live, Right::Nothing), (Method::HEAD, Operation::Live, Right::Nothing)],
    },
    Route {
        path: "/ready",
        operations: &[
            (Method::GET, Operation::Ready, Right::Nothing),
            (Method::HEAD, Operation::Ready, Right::Nothing),
        ],
    },
    Route {
        path: "/metrics",
        operations: &[
            (Method::GET, Operation::Metrics, Right::Nothing),
            (Method::HEAD, Operation::Metrics, Right::Nothing),
        ],
    },
];

/// `*`, the gateway as a whole, which only OPTIONS has (RFC 9110, section 9.3.7).
static SERVER: Route = Route { path: "*", operations: &[] };

/// The methods that there are, in the order in which `Allow` has them.
const METHODS: [Method; 5] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];

/// The route of a path, with the text of its parameters.
pub(super) struct Found<'a> {
    pub(super) route: &'static Route,
    pub(super) parameters: [Cow<'a, str>; MAX_PARAMETERS],
}

impl<'a> Found<'a> {
    /// Finds the route of a path. Each path has one spelling, so that a proxy that checks paths checks the same path.
    pub(super) fn of(path: &'a str) -> Result<Self, Problem> {
        let exact = || (path == "*").then_some((&SERVER, [""; MAX_PARAMETERS]));
        let of_table = || ROUTES.iter().find_map(|route| Some((route, route.matches(path)?)));
        let (route, [first, second]) = exact().or_else(of_table).ok_or_else(|| no_such_path(path))?;
        Ok(Self { route, parameters: [decoded(first)?, decoded(second)?] })
    }
}

fn decoded(segment: &str) -> Result<Cow<'_, str>, Problem> {
    if !segment.bytes().any(|byte| byte == b'%') {
        return Ok(segment.into());
    }
    let wrong = |_| Problem::BadRequest("path: its percent-encoding is not UTF-8".to_owned());
    percent_decode_str(segment).decode_utf8().map_err(wrong)
}

impl Route {
    /// Returns the segments that stand for the parameters, if the path is of this route.
    fn matches<'a>(&self, path: &'a str) -> Option<[&'a str; MAX_PARAMETERS]> {
        let mut parameters = [""; MAX_PARAMETERS];
        let (mut expected, mut given) = (self.path, path);
        for parameter in &mut parameters {
            let Some((fixed, named)) = split_once(expected, b'{') else { break };
            given = given.strip_prefix(fixed)?;
            let end = given.bytes().position(|byte| byte == b'/').unwrap_or(given.len());
            (*parameter, given) = given.split_at(end);
            expected = split_once(named, b'}')?.1;
        }
        (given == expected).then_some(parameters)
    }

    /// Returns what a request of this method asks for here.
    pub(super) fn operation(&self, method: &Method, headers: &HeaderMap) -> Operation {
        if method == Method::OPTIONS {
            return Operation::Options;
        }
        let mut operations =
            self.operations.iter().filter(|(known, ..)| known == method).map(|(_, operation, _)| *operation);
        let first = operations.next().unwrap_or(Operation::Unknown);
        operations.find(|other| other.is_stream() && sse::is_accepted(headers)).unwrap_or(first)
    }

    /// Returns the right that an operation of this path needs.
    pub(super) fn right(&self, operation: Operation) -> Right {
        let named = self.operations.iter().find(|(_, known, _)| *known == operation);
        named.map_or(Right::Nothing, |(.., right)| *right)
    }

    /// Returns the methods that the path answers to, besides OPTIONS, as `Allow` has them.
    pub(super) fn allowed(&self) -> String {
        let has = |route: &Self, method: &Method| route.operations.iter().any(|(known, ..)| known == method);
        let is_server = self.operations.is_empty();
        let is_allowed =
            |method: &&Method| if is_server { ROUTES.iter().any(|each| has(each, method)) } else { has(self, method) };
        let allowed: Vec<_> = METHODS.iter().filter(is_allowed).map(Method::as_str).collect();
        allowed.join(", ")
    }
}

/// Says where what is asked for may be.
pub(super) fn no_such_path(path: &str) -> Problem {
    Problem::NoSuchPath(match path.trim_start_matches('/').split('/').next() {
        Some("topics") => "/topics/{topic}/events (POST publishes, GET follows topics or patterns)",
        Some("clients") => {
            "/clients/{client}/events (GET polls), /clients/{client} and /clients/{client}/topics/{pattern}"
        }
        Some("events") => "/events (POST publishes a batch)",
        _ => "/clients/{client}/events (GET polls a mailbox) and /topics/{topic}/events (POST publishes, GET follows)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::metrics::Words;

    fn parameters(path: &str) -> Option<(&'static str, [String; MAX_PARAMETERS])> {
        let found = Found::of(path).ok()?;
        Some((found.route.path, found.parameters.map(Cow::into_owned)))
    }

    #[test]
    fn a_path_has_one_spelling_and_its_parameters_are_decoded() {
        let some = |path, first: &str, second: &str| Some((path, [first.to_owned(), second.to_owned()]));
        assert_eq!(parameters("/"), some("/", "", ""));
        assert_eq!(parameters("*"), some("*", "", ""));
        assert_eq!(parameters("/clients/a%2Fb"), some("/clients/{client}", "a/b", ""));
        assert_eq!(parameters("/clients//events"), some("/clients/{client}/events", "", ""));
        assert_eq!(parameters("/clients/a/topics/%23"), some("/clients/{client}/topics/{pattern}", "a", "#"));
        for path in
            ["", "live", "//live", "/live/", "/Live", "/%6Cive", "/clients", "/clients/a/events/", "/clients/a/topics"]
        {
            assert_eq!(parameters(path), None, "{path}");
        }
        assert!(matches!(Found::of("/clients/%ff"), Err(Problem::BadRequest(_))));
    }

    #[test]
    fn each_operation_stands_in_the_table_and_has_a_method_that_is_allowed() {
        let known: Vec<_> = ROUTES.iter().flat_map(|route| route.operations).collect();
        let beside = [Operation::Options, Operation::Unknown];
        for operation in Operation::ALL.iter().filter(|each| !beside.contains(each)) {
            assert!(known.iter().any(|(_, named, _)| named == operation), "{operation:?}");
        }
        assert!(known.iter().all(|(method, ..)| METHODS.contains(method)));
        let allowed: Vec<_> = ROUTES.iter().chain([&SERVER]).map(Route::allowed).collect();
        assert_eq!(allowed[..4], ["GET", "GET, POST", "GET, DELETE", "PUT, DELETE"]);
        assert_eq!(allowed[4], "POST");
        assert!(allowed[5..11].iter().all(|each| each == "GET, HEAD"));
        assert_eq!(allowed[11], "GET, HEAD, POST, PUT, DELETE");
    }

    #[test]
    fn a_client_that_accepts_a_stream_gets_one_where_there_is_one() {
        let accepting = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("accept", text.parse().unwrap());
            ROUTES[..3].iter().map(move |route| route.operation(&Method::GET, &headers)).collect::<Vec<_>>()
        };
        let status = Operation::MailboxStatus;
        assert_eq!(accepting("*/*"), [Operation::MailboxPoll, Operation::FeedPoll, status]);
        assert_eq!(accepting("text/event-stream"), [Operation::MailboxStream, Operation::FeedStream, status]);
        assert_eq!(ROUTES[0].operation(&Method::PATCH, &HeaderMap::new()), Operation::Unknown);
    }
}
