//! One client and its mailbox.
//!
//! The mailbox is a log that becomes known with the answers: each answer is a run of it that begins with the first
//! message that is not confirmed. Where that is, the client knows within bounds: `sure` is proven by an answer that
//! began there, or that came without events, and `maybe` is as far as any token reached that was ever sent.
//!
//! The model:
//!
//! * An answer begins in `sure..=maybe`, with `sure` as it was when its request was sent: requests may overlap.
//! * An answer goes on as the log does. At the log's end, it goes on as each topic does.
//! * A message is handed out without `redelivered` at most once, and never after an answer that had it.

mod log;
mod show;
mod step;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    iter::Sum,
};

use self::log::{At, Log, Waiting};
pub use self::step::Step;
use super::{
    Published, Seen,
    fault::{Fault, FaultKind, Judgement, Steps},
};

/// How many tokens are remembered; a client sends no older ones.
const TOKENS: usize = 512;

/// How many proofs a disturbance takes back: acknowledgements that may have been on their way.
const PROOFS: usize = 32;

/// Promises that depend on the gateways.
#[derive(Debug, Clone, Copy)]
pub struct Promises {
    /// A token that stands for exactly what is at the head of the mailbox, and that no other request of the client came
    /// in between, confirms: on any gateway, and also after its Lease is over.
    pub tokens_hold: bool,
    /// The smallest window of the gateways: a token for more cannot hold on that one.
    pub window: usize,
}

/// Events that came again although the request said by its token that they were seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Returned {
    /// The token was younger than the last disturbance. It did not have to hold, for one of the reasons of
    /// [`Promises::tokens_hold`], or else that is a fault.
    pub quietly: u64,
    /// The others.
    pub after_faults: u64,
}

impl Sum for Returned {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            quietly: sum.quietly + one.quietly,
            after_faults: sum.after_faults + one.after_faults,
        })
    }
}

/// See the module.
#[derive(Debug)]
pub struct MailboxHistory {
    client: String,
    promises: Promises,
    log: Log,
    sure: usize,
    maybe: usize,
    /// Former values of `sure`, oldest first.
    proofs: VecDeque<usize>,
    tokens: HashMap<String, Token>,
    /// The tokens in the order in which they came.
    order: VecDeque<String>,
    /// The newest token, as long as no request came in between that did not send it.
    calm: Option<String>,
    open: BTreeMap<u64, Request>,
    /// When the mailbox was dropped, as long as the client was not told.
    dropped: Option<u64>,
    /// What was stored when the client began to drain its mailbox.
    waiting: Vec<Waiting>,
    returned: Returned,
    disturbed_at: u64,
    /// Acknowledgements get lost.
    breaks: bool,
    now: u64,
    has_failed: bool,
    steps: Steps,
}

#[derive(Debug, Clone, Copy)]
struct Token {
    from: usize,
    to: usize,
    /// When it came.
    at: u64,
}

/// A request without an end yet.
#[derive(Debug)]
struct Request {
    began: u64,
    /// What its token confirms.
    to: Option<usize>,
    /// `sure` when it was sent.
    floor: usize,
    must_hold: bool,
    disturbed: bool,
    /// There was a disturbance since its token came.
    is_token_disturbed: bool,
    /// Where its answer began, and what follows.
    from: Option<usize>,
    next: usize,
}

impl MailboxHistory {
    /// Begins the history of a mailbox that is bound to these topics, in which nothing is yet.
    pub fn new(client: &str, topics: &[String], promises: Promises) -> Self {
        Self {
            client: client.to_owned(),
            promises,
            log: Log::new(topics),
            sure: 0,
            maybe: 0,
            proofs: VecDeque::new(),
            tokens: HashMap::new(),
            order: VecDeque::new(),
            calm: None,
            open: BTreeMap::new(),
            dropped: None,
            waiting: Vec::new(),
            returned: Returned::default(),
            disturbed_at: 0,
            breaks: false,
            now: 0,
            has_failed: false,
            steps: Steps::default(),
        }
    }

    /// Returns the client.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Takes the next step; what was published before it must be known. After a fault nothing is judged any more: a
    /// stream goes on when it has shown one, and what follows from it is none.
    pub fn record(&mut self, step: &Step, published: &Published) -> Result<(), Fault> {
        if self.has_failed {
            return Ok(());
        }
        self.now += 1;
        self.steps.push(self.show(step));
        let judged = self.judge(step, published);
        self.has_failed = judged.is_err();
        judged.map_err(|fault| self.fault(fault))
    }

    /// Tells whether everything that is surely stored was handed out.
    pub fn has_all(&self, published: &Published) -> bool {
        self.log.unseen(published).0 == 0
    }

    /// Returns what came again although the client had said that it has seen it.
    pub fn returned(&self) -> Returned {
        self.returned
    }

    /// Tells whether the mailbox was dropped and the client was not told yet.
    pub fn is_dropped(&self) -> bool {
        self.dropped.is_some()
    }

    /// Returns how many messages are known to be in the mailbox, confirmed or not.
    pub fn known(&self) -> usize {
        self.log.len()
    }

    /// Ends the history: what was published is confirmed, or among the messages that wait.
    pub fn finish(&self, published: &Published, waiting: usize) -> Result<(), Fault> {
        let (missing, possible) = self.log.unseen(published);
        let least = missing + (self.log.len() - self.maybe);
        let most = missing + possible + (self.log.len() - self.sure);
        let known = format!("{} handed out, {}..={} of them confirmed", self.log.len(), self.sure, self.maybe);
        if least > waiting {
            let first = self.log.first_unseen(published).unwrap_or_default();
            let detail = format!("{known}; {missing} stored and never handed out, first {first}; {waiting} wait");
            return Err(self.fault((FaultKind::Missing, detail)));
        }
        if waiting > most {
            let detail = format!("{known}; at most {most} should wait, and {waiting} do");
            return Err(self.fault((FaultKind::Surplus, detail)));
        }
        self.log.resets(published).map_err(|detail| self.fault((FaultKind::ResetWithoutLoss, detail)))
    }

    fn fault(&self, (kind, detail): (FaultKind, String)) -> Fault {
        Fault { reader: self.client.clone(), kind, detail, steps: self.steps.shown() }
    }

    fn judge(&mut self, step: &Step, published: &Published) -> Judgement {
        match step {
            Step::Asked { request, token, .. } => self.asked(*request, token.as_deref()),
            Step::Events { request, events, token } => return self.events(*request, events, token, published),
            Step::Reset { request, token } => self.reset(*request, token),
            Step::Nothing { request } => {
                let request = self.open.remove(request).expect("an answer has a request");
                if let (Some(to), false) = (request.to, request.disturbed) {
                    self.prove(to);
                }
            }
            Step::Refused { request, status } => {
                self.open.remove(request);
                if matches!(status, 404 | 410) && self.dropped.is_none() {
                    return Err((FaultKind::Absent, format!("{status}, and the mailbox was not dropped")));
                }
            }
            Step::Ended { request, .. } | Step::Broken { request, .. } => {
                self.open.remove(request);
            }
            Step::Breaks(_) | Step::Disturbed(_) => {
                self.disturbed();
                self.breaks = matches!(step, Step::Breaks(_));
            }
            Step::Changed(_) => {}
            Step::Drains => self.waiting = self.log.waiting(published),
            Step::Drained => {
                if let Some(withheld) = self.log.withheld(&self.waiting) {
                    return Err((FaultKind::Withheld, format!("{withheld} was stored before the client began")));
                }
            }
            Step::Dropped => (self.dropped, self.calm) = (Some(self.now), None),
        }
        Ok(())
    }

    fn asked(&mut self, request: u64, token: Option<&str>) {
        let sent =
            token.map(|token| *self.tokens.get(token).expect("a client echoes what it got, and not too long ago"));
        if !self.open.is_empty() || self.calm.as_deref() != token {
            self.calm = None;
            self.open.values_mut().for_each(|other| other.must_hold = false);
        }
        // Of a run that is confirmed in part, the rest does not fit its token. A request that was broken off may do
        // that late.
        let fits = |sent: Token| {
            let whole = sent.from == self.sure && (self.maybe == sent.from || self.maybe == sent.to);
            whole && sent.to - sent.from <= self.promises.window
        };
        let must_hold = self.promises.tokens_hold && !self.breaks && self.calm.is_some() && sent.is_some_and(fits);
        let to = sent.map(|sent| sent.to);
        self.maybe = self.maybe.max(to.unwrap_or(0));
        let (began, floor) = (self.now, self.sure);
        let is_token_disturbed = sent.is_some_and(|sent| sent.at <= self.disturbed_at);
        let asked =
            Request { began, to, floor, must_hold, disturbed: self.breaks, is_token_disturbed, from: None, next: 0 };
        self.open.insert(request, asked);
    }

    fn events(&mut self, id: u64, events: &[Seen], token: &str, published: &Published) -> Judgement {
        let mut request = self.open.remove(&id).expect("an answer has a request");
        if events.is_empty() {
            return Err((FaultKind::Empty, "a batch without events and without reset".to_owned()));
        }
        for event in events {
            if self.dropped.is_some() && request.to.is_none() && self.log.find(event).is_none() {
                // A client that says that it saw nothing is not told that something is gone.
                (self.dropped, self.sure, self.maybe) = (None, self.log.len(), self.log.len());
                self.log.excuse();
            }
            let At { index, resent } = self.log.place(event, published)?;
            match request.from {
                None => self.begins(index, &request)?,
                Some(_) => self.log.follows(request.next, index)?,
            }
            request.from.get_or_insert(index);
            request.next = index + 1;
            if request.to.is_some_and(|to| index < to) {
                let Returned { quietly, after_faults } = &mut self.returned;
                *if request.disturbed || request.is_token_disturbed { after_faults } else { quietly } += 1;
            }
            if resent && !event.redelivered {
                return Err((FaultKind::UnflaggedResend, event.to_string()));
            }
            self.log.handed_out(index, event.redelivered, request.began, self.now)?;
        }
        self.keep_token(token, &request);
        self.open.insert(id, request);
        Ok(())
    }

    /// Judges the first message of an answer.
    fn begins(&mut self, index: usize, request: &Request) -> Judgement {
        if index < request.floor {
            let detail = format!("{}, which an answer before had proven confirmed", self.log.name(index));
            return Err((FaultKind::ConfirmedAgain, detail));
        }
        // A client that says that it saw nothing is not told that something is gone.
        let maybe = if request.to.is_none() { self.log.after_resets(self.maybe) } else { self.maybe };
        if index > maybe {
            let (came, first) = (self.log.name(index), self.log.name(maybe));
            return Err((FaultKind::Skipped, format!("{came} came though {first} was not confirmed")));
        }
        if request.must_hold && request.to.is_some_and(|to| index < to) {
            let detail = format!("{} came again; the token stood for exactly the head", self.log.name(index));
            return Err((FaultKind::TokenIgnored, detail));
        }
        if !request.disturbed {
            self.prove(index);
        }
        Ok(())
    }

    fn reset(&mut self, id: u64, token: &str) {
        let mut request = self.open.remove(&id).expect("an answer has a request");
        let candidates = match request.from {
            // One that the token has surely confirmed does not come again.
            None => {
                let from = if request.must_hold { request.to.unwrap_or(0) } else { 0 };
                from.max(request.floor)..self.maybe.saturating_add(1)
            }
            Some(_) => request.next..request.next + 1,
        };
        // The markers of a mailbox go with it: a reset that was asked for after that is one of the next.
        let is_new = request.from.is_none() && self.dropped.is_some_and(|dropped| dropped < request.began);
        let found = if is_new { None } else { self.log.find_reset(candidates) };
        let index = found.unwrap_or_else(|| {
            let certain = self.dropped.is_some() || self.maybe < self.log.len();
            (self.dropped, self.sure, self.maybe) = (None, self.log.len(), self.log.len());
            self.log.add_reset(certain, self.steps.shown().pop().unwrap_or_default())
        });
        request.from.get_or_insert(index);
        request.next = index + 1;
        self.keep_token(token, &request);
        self.open.insert(id, request);
    }

    fn keep_token(&mut self, token: &str, request: &Request) {
        let kept = Token { from: request.from.unwrap_or(request.next), to: request.next, at: self.now };
        if self.tokens.insert(token.to_owned(), kept).is_none() {
            self.order.push_back(token.to_owned());
            if self.order.len() > TOKENS
                && let Some(oldest) = self.order.pop_front()
            {
                self.tokens.remove(&oldest);
            }
        }
        // The request of this answer is taken out of the open ones.
        self.calm = self.open.is_empty().then(|| token.to_owned());
    }

    fn prove(&mut self, to: usize) {
        if to > self.sure {
            self.proofs.push_back(self.sure);
            if self.proofs.len() > PROOFS {
                self.proofs.pop_front();
            }
            self.sure = to;
        }
        self.maybe = self.maybe.max(self.sure);
    }

    /// Acknowledgements that were on their way may be lost.
    fn disturbed(&mut self) {
        if let Some(oldest) = self.proofs.front() {
            self.sure = self.sure.min(*oldest);
        }
        (self.calm, self.disturbed_at) = (None, self.now);
        for request in self.open.values_mut() {
            (request.floor, request.must_hold, request.disturbed) = (request.floor.min(self.sure), false, true);
        }
    }
}

#[cfg(test)]
mod tests;
