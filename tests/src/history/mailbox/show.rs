//! The steps of a client as people read them.

use super::{MailboxHistory, Step};
use crate::history::{listed, short};

impl MailboxHistory {
    pub(super) fn show(&self, step: &Step) -> String {
        let Self { now, sure, maybe, .. } = self;
        let text = match step {
            Step::Asked { request, how, token } => match token {
                Some(token) => {
                    let to = self.tokens.get(token).map_or("?".to_owned(), |token| self.place_name(token.to));
                    format!("{request} asks {how}, has seen {to} (…{})", short(token))
                }
                None => format!("{request} asks {how}, without a token"),
            },
            Step::Events { request, events, token } => {
                format!("{request}   got {} (…{})", listed(events), short(token))
            }
            Step::Reset { request, token } => format!("{request}   got reset (…{})", short(token)),
            Step::Nothing { request } => format!("{request}   nothing"),
            Step::Refused { request, status } => format!("{request}   refused: {status}"),
            Step::Ended { request, how } => format!("{request}   over: {how}"),
            Step::Broken { request, how } => format!("{request}   broken off: {how}"),
            Step::Breaks(how) => format!("breaks: {how}"),
            Step::Disturbed(how) => format!("disturbed: {how}"),
            Step::Changed(how) => format!("changed: {how}"),
            Step::Drains => "is about to read until there is nothing more".to_owned(),
            Step::Drained => "was told that there is nothing more".to_owned(),
            Step::Dropped => "the mailbox was dropped".to_owned(),
        };
        format!("{now} [{sure}..{maybe}] {text}")
    }

    fn place_name(&self, to: usize) -> String {
        to.checked_sub(1).map_or("nothing".to_owned(), |last| self.log.name(last))
    }
}
